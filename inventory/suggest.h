/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean …?" */
#ifndef INVENTORY_SUGGEST_H
#define INVENTORY_SUGGEST_H

#include <stddef.h>

/* How many letters must be changed, added, dropped or swapped with their neighbour to get from one
 * word to the other; words longer than 40 bytes are as far apart as their longer length. */
unsigned suggest_distance(const char *one, const char *other);

/* Looks for the nearest candidate one by one. */
struct suggestion {
    const char *word;    /* what was written */
    const char *nearest; /* NULL: nothing is near enough */
    unsigned distance;
};
void suggest_consider(struct suggestion *suggestion, const char *candidate);

/* Writes " (did you mean 'host'?)", or nothing when nothing is near; returns out. */
char *suggest_text(const struct suggestion *suggestion, char *out, size_t out_size);

#endif
