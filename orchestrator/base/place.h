/* SPDX-License-Identifier: Apache-2.0 */
/* Where the files are that belong to the program: agents, policies. */
#ifndef BASE_PLACE_H
#define BASE_PLACE_H

/* A program that runs from its build tree (an absolute path) takes them from the folder in_build of
 * it; any other one those that were installed beside it, `relative` to its own folder, so that an
 * installation can be moved, and that no build tree which is left somewhere is believed. For the
 * caller to free; NULL when memory is short. */
char *place_find(const char *build_tree, const char *in_build, const char *relative);

#endif
