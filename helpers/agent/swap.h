/* SPDX-License-Identifier: Apache-2.0 */
/* Swap on the disk that is about to be overwritten (/proc/swaps). */
#ifndef SWAP_H
#define SWAP_H

#include "layers.h"
#include "memory.h"

#include <stdint.h>

#define SWAPS_MAX 16u

struct swap {
    char path[512];
    bool is_file;
    uint64_t size, used; /* bytes */
    int priority;
    bool on_disk; /* rests on the target disk */
    bool is_off;  /* we switched it off */
};

struct swap_table {
    struct swap items[SWAPS_MAX];
    unsigned count;
};

/* From /proc/swaps's text; on_disk is left false. */
void swaps_parse(struct swap_table *swaps, const char *text);
/* Reads it and finds out which rest on disk; zram does when it writes back to it. */
int swaps_read(struct swap_table *swaps, const struct mount_table *table, dev_t disk);
/* Is there memory for what is swapped out to the disk (used, in bytes), and some to spare? */
bool swap_fits(const struct swap_table *swaps, const struct memory_info *memory, uint64_t *used);
/* Switches those on the disk off. Returns the first that could not be (errno), NULL: all are off.
 */
const struct swap *swaps_off(struct swap_table *swaps);
void swaps_on(struct swap_table *swaps);

#endif
