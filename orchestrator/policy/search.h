/* SPDX-License-Identifier: Apache-2.0 */
/* The folders policies are looked for in, and the files there. */
#ifndef POLICY_SEARCH_H
#define POLICY_SEARCH_H

#include <stddef.h>

/* A colon list of folders: $FLEETFLASH_POLICY_PATH, or what fits the running program. Allocated;
 * NULL when memory is short. */
char *policy_search_path(void);

/* A path made absolute, links kept: the name a policy's file is called by counts. Allocated; NULL
 * when memory is short. */
char *policy_search_absolute(const char *file);

/* The absolute path of the first NAME.so in a colon list; allocated, NULL when there is none. */
char *policy_search_file(const char *path, const char *name);

/* All base names (without ".so") in a colon list, sorted, each once. Allocated, as is each of them;
 * *count of them. NULL when memory is short. */
char **policy_search_names(const char *path, size_t *count);
void policy_search_names_free(char **names, size_t count);

#endif
