/* SPDX-License-Identifier: Apache-2.0 */
/* A boot loader that lives in the first partition of the disk that is flashed, behind which the
 * image goes: it and the disk's partition table stay as they are. */
#ifndef LOADER_H
#define LOADER_H

#include "disk.h"

#define LOADER_NAME_MAX 16u /* with the terminating zero */

/* By the table on the disk itself (MBR: Linux's block/partitions/msdos.c), not on the controller's
 * word: the first partition ends before the first byte that would be written, the second one begins
 * exactly there, and none is in between. scratch: DISK_ALIGN bytes, aligned. 0, or -1 with fail. */
int loader_check(struct disk *disk, const struct manifest *manifest, uint8_t *scratch,
                 struct fail *fail);

/* Looks through the root directory of a FAT file system (Microsoft's FAT specification, 1.03) for a
 * file that says that a U-Boot starts from it: u-boot*, uboot*, boot.scr, boot.scr.uimg. fd: the
 * partition. name gets LOADER_NAME_MAX bytes: the file's short name in lower case, "" for none. */
void loader_find(int fd, char *name);

#endif
