/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks from the controller: which to ask for, and what becomes of those that come. Belongs to the
 * main thread. */
#ifndef INTAKE_H
#define INTAKE_H

#include "flash.h"

typedef struct ZSTD_DCtx_s ZSTD_DCtx;

struct intake {
    struct flash *flash;
    ZSTD_DCtx *zstd;
    uint8_t *scratch; /* one block */
    uint32_t scratch_size;
};

int intake_init(struct intake *intake, struct flash *flash);
void intake_free(struct intake *intake);

/* The next ranges to ask for within what may be under way; they count as asked for. Returns how
 * many (at most max). */
uint32_t intake_next(struct intake *intake, struct want_range *ranges, uint32_t max);
/* The link was replaced: everything open has to be asked for again. */
void intake_forget(struct intake *intake);
/* Takes one BLOCK. 0, also for one that was not asked for (dropped) or is wrong (asked for again);
 * -1 and a fault when it cannot go on. */
int intake_block(struct intake *intake, const struct block_header *block, const uint8_t *data,
                 uint32_t size, struct fail *fail);
/* Plain bytes of a staged block; out holds block_size bytes. -1: it is damaged. For the worker it
 * needs a context of its own. */
int intake_unpack(ZSTD_DCtx *zstd, const struct staged *staged, uint8_t *out, uint32_t size);

#endif
