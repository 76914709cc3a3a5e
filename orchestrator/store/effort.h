/* SPDX-License-Identifier: Apache-2.0 */
/* How hard the builder's workers compress: as hard as they can without anybody waiting for it. */
#ifndef STORE_EFFORT_H
#define STORE_EFFORT_H

#include <stdbool.h>

/* zstd levels. Beyond the upper one, blocks of 128 KiB get hardly smaller: on a Debian system 29.2,
 * 28.6, 28.1 % for levels 1 to 3 in 0.64, 0.72 and 0.96 s, 27.1 % for level 5 in 1.89 s. */
#define EFFORT_LEAST 1
#define EFFORT_MOST  3

/* The level of a worker's next block. level: that of its last one. waited: the worker had to wait
 * for this block, so the decoder is what takes the time; behind: the decoder waits for workers, so
 * they are (both may be true of different moments; then nobody shall wait). */
int effort_next(int level, bool waited, bool behind);

#endif
