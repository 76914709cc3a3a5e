/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is taken in many small pieces and given back at once. */
#ifndef INVENTORY_ARENA_H
#define INVENTORY_ARENA_H

#include <stddef.h>

struct arena;

/* An inventory takes a few hundred KiB at most: when not even that is left the process ends with a
 * message, so none of these returns NULL. */
struct arena *arena_new(void);
void arena_free(struct arena *arena);

/* size zeroed bytes, aligned for any type. */
void *arena_alloc(struct arena *arena, size_t size);

/* A terminated copy of length bytes of text. */
char *arena_copy(struct arena *arena, const char *text, size_t length);

#endif
