/* SPDX-License-Identifier: Apache-2.0 */
/* The destructive part, in the order of DESIGN: head (and a backup partition table at the disk's
 * end) erased, blocks written, all read back, what the image has at the disk's end, head last. Runs
 * on the worker; can be started again after a fault. */
#ifndef WRITER_H
#define WRITER_H

#include "guard.h"
#include "scan.h"
#include "switches.h"

typedef struct ZSTD_DCtx_s ZSTD_DCtx;

struct writer {
    struct disk *disk;
    struct flash *flash;
    const struct report *report;
    const struct switches *switches;
    struct guard *guard; /* hears that the disk is incomplete before the first byte; or NULL */
    bool stage;          /* everything that differs is held before the first byte is written */
    bool fresh;          /* the disk need not be compared */
    bool destroyed;      /* out: the first byte may have been written */
    struct scan scan;
    ZSTD_DCtx *zstd;
    uint8_t *block; /* one block, aligned */
    bool *spoiled;  /* test switch: corrupt-write has been done */
};

/* 0: the disk holds the image, flushed and read back. -1: fail says why; fail->state is
 * FAIL_INCOMPLETE once the first byte may have been written. */
int writer_run(struct writer *writer, struct fail *fail);

#endif
