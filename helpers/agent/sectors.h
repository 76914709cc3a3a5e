/* SPDX-License-Identifier: Apache-2.0 */
/* Partition tables count in sectors: an image made for another sector size has everything in the
 * wrong place. The controller looks as well; the agent believes the bytes. */
#ifndef SECTORS_H
#define SECTORS_H

#include "disk.h"

/* first: the size bytes that the image begins with. -1 with fail when their table was made for
 * other sectors than the disk's; 0 when it fits, or there is none, or too little of it to tell.
 * (MBR: Linux's block/partitions/msdos.c; GPT: UEFI 2.10, 5.3.2.) */
int sectors_check(const struct disk *disk, const uint8_t *first, size_t size, uint64_t image_size,
                  struct fail *fail);

#endif
