/* SPDX-License-Identifier: Apache-2.0 */
/* What ssh's configuration said about a host a moment ago. Each `ssh -G` forks this program, which
 * holds up the loop by some milliseconds (measured: the longest of all its turns), and a device is
 * connected to several times in a row: at first, by the agent's own way, and while it reboots. */
#ifndef LINK_SETTINGS_CACHE_H
#define LINK_SETTINGS_CACHE_H

#include <stdint.h>

/* ms; after that ssh is asked again: `Match exec` and the files may say something else by then. */
#define SETTINGS_CACHE_AGE (60u * 1000u)

struct settings_cache;
struct settings_query;

/* NULL when memory is short. */
struct settings_cache *settings_cache_new(void);

/* Keeps a copy of what ssh printed; all that is too old goes. Not kept when memory is short. now:
 * ms of a clock that never goes back. */
void settings_cache_keep(struct settings_cache *cache, const struct settings_query *query,
                         const char *text, uint64_t now);

/* What was kept for the same host, user, port and configuration file, valid until the next call; or
 * NULL. The query's name does not matter. */
const char *settings_cache_find(struct settings_cache *cache, const struct settings_query *query,
                                uint64_t now);

/* NULL is allowed. */
void settings_cache_free(struct settings_cache *cache);

#endif
