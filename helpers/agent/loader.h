/* SPDX-License-Identifier: Apache-2.0 */
/* A boot loader that lives in the first partition of the disk that is flashed, behind which the
 * image goes: it and the disk's partition table stay as they are. */
#ifndef LOADER_H
#define LOADER_H

#include "disk.h"

#define LOADER_NAME_MAX 16u /* with the terminating zero */

struct loader_entry {
    uint64_t start, size; /* bytes; size 0: there is none */
};

/* Are the four entries of an MBR the kernel's first four partitions (Linux's
 * block/partitions/msdos.c: an extended one is known with the size of its table, one that is longer
 * than the disk is cut off)? sector: 512 bytes; disk_size in bytes. */
bool loader_is_known(const uint8_t *sector, const struct loader_entry known[4], uint64_t disk_size);

/* Whether somebody has written another MBR since the kernel read it: what is known of the
 * partitions is then not what the next boot finds. */
bool loader_is_stale(struct disk *disk);

/* By the table on the disk itself (MBR: Linux's block/partitions/msdos.c), not on the controller's
 * word: the first partition ends before the first byte that would be written, the second one begins
 * exactly there, none is in between, and the kernel knows of no other ones. scratch: DISK_ALIGN
 * bytes, aligned. 0, or -1 with fail. */
int loader_check(struct disk *disk, const struct manifest *manifest, uint8_t *scratch,
                 struct fail *fail);

/* Looks through the root directory of a FAT file system (Microsoft's FAT specification, 1.03) for a
 * file that says that a U-Boot starts from it: u-boot*, uboot*, boot.scr, boot.scr.uimg. fd: the
 * partition. name gets LOADER_NAME_MAX bytes: the file's short name in lower case, "" for none. */
void loader_find(int fd, char *name);

#endif
