/* SPDX-License-Identifier: Apache-2.0 */
/* Where runs are recorded and images are kept unless the command line says otherwise. */
#ifndef CLI_DIRECTORIES_H
#define CLI_DIRECTORIES_H

#include <sys/types.h>

enum directory { DIRECTORY_STATE, DIRECTORY_CACHE };

/* xdg: $XDG_STATE_HOME or $XDG_CACHE_HOME, which holds when it is an absolute path (XDG base
 * directory specification); else /var/lib or /var/cache for root, else below home. Any of the
 * strings may be NULL. Returns a path (the caller frees it), or NULL when there is no home either.
 */
char *directory_default(enum directory directory, uid_t uid, const char *xdg, const char *home);

/* The same for this process: its environment, its user, its user's home. */
char *directory_mine(enum directory directory);

#endif
