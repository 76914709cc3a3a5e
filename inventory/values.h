/* SPDX-License-Identifier: Apache-2.0 */
/* From a key's text to its value. */
#ifndef INVENTORY_VALUES_H
#define INVENTORY_VALUES_H

#include "arena.h"
#include "keys.h"
#include "mistakes.h"

#include <stdbool.h>

/* What every reader of a part of the file needs. */
struct context {
    struct arena *arena;
    struct mistakes *mistakes;
};

/* Reads text, which stands at a place, as key's type into the member of base that the key names
 * (types with a size only). Returns 0, or -1 after noting the mistake; then nothing was written. */
int value_read(const struct context *context, const struct key *key, const char *text,
               struct position at, void *base);

/* Is that what U-Boot calls a disk: an interface and a number, as in "mmc 0"? */
bool value_is_disk(const char *text);

/* A host's or group's name: letters, digits, '-', '_' and '.', at most 253. Returns 0, or -1 and
 * the end of a sentence ("… has a blank in it"). */
int value_check_name(const char *text, char *why, size_t why_size);

#endif
