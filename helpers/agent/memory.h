/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the device has, and memory that is never paged out. */
#ifndef MEMORY_H
#define MEMORY_H

#include "protocol/protocol.h"

struct memory_info {
    uint64_t total, available; /* bytes; available as /proc/meminfo's MemAvailable estimates it */
};

int memory_read(struct memory_info *info);
/* From /proc/meminfo's text. 0, or -1 when a line is missing. */
int memory_parse(const char *text, struct memory_info *info);

/* A staged block as it came over the wire. */
struct staged {
    uint32_t size;
    uint8_t encoding; /* enum block_encoding */
    uint8_t data[];
};

#define STAGED_OVERHEAD                                                                            \
    16u /* what a staged block takes besides its bytes: header, rounding, pointer */

/* Grows in locked chunks and is only freed as a whole. */
struct arena {
    struct arena_chunk *chunks;
    uint8_t *at;
    size_t left;
    uint64_t total;
    uint64_t floor; /* MemAvailable must stay above this many bytes; 0: do not look */
    bool must_lock; /* memory that cannot be locked is an error */
};

/* A copy of data; NULL and a fault (FAILCODE_MEMORY) when there is no room. */
struct staged *arena_add(struct arena *arena, const void *data, uint32_t size, uint8_t encoding,
                         struct fail *fail);
void arena_free(struct arena *arena);

#endif
