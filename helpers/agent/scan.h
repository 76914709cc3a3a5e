/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing the disk with the image, block by block. Runs on the worker. */
#ifndef SCAN_H
#define SCAN_H

#include "disk.h"
#include "flash.h"
#include "report.h"

#define SCAN_CHUNK (1024u * 1024u) /* bytes of one read */

/* Reads blocks in large pieces. */
struct scan {
    struct disk *disk;
    struct flash *flash;
    uint8_t *buffer; /* SCAN_CHUNK, aligned */
};

int scan_init(struct scan *scan, struct disk *disk, struct flash *flash, struct fail *fail);
void scan_free(struct scan *scan);

/* One look at a chunk of blocks from first. */
struct scan_chunk {
    uint32_t first, count;
    bool compared[SCAN_CHUNK / (64u * 1024u)]; /* false: unmapped, nothing was read */
    bool same[SCAN_CHUNK / (64u * 1024u)];
    const uint8_t *data[SCAN_CHUNK / (64u * 1024u)];
};

/* Reads and compares the blocks from first up to the end of its chunk, limit or image; a read error
 * of one block counts as different when tolerant (it is going to be written), as a fault otherwise.
 */
int scan_next(struct scan *scan, uint32_t first, uint32_t limit, bool tolerant,
              struct scan_chunk *chunk, struct fail *fail);

/* What a whole comparison found; blocks that have to be written, as far as known. */
struct scan_result {
    bool fresh;          /* little in common (or not looked at): everything counts as differing */
    uint32_t differing;  /* blocks to write */
    uint32_t travelling; /* of them, those that must be sent */
    uint64_t wire_bytes; /* what these take */
    bool whole;          /* the last two are of the whole image: all of it is to be held */
};

/* Samples the disk first; goes through it wholly unless force is set or it has little in common.
 * Marks BLOCK_SAME. need: blocks that differ are asked for as they are found. */
int scan_run(struct scan *scan, bool need, const struct report *report, struct scan_result *result,
             struct fail *fail);

#endif
