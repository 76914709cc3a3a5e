/* SPDX-License-Identifier: Apache-2.0 */
/* Which file system is on a partition, by its super block alone. */
#ifndef FILESYSTEM_H
#define FILESYSTEM_H

#include <stdbool.h>

struct filesystem {
    char type[16]; /* "ext4", "vfat", "swap", "xfs", "btrfs", "f2fs", "LVM2_member", "crypto_LUKS";
                      "" */
    char label[64];
    char uuid[40];
};

/* Reads up to 128 KiB from the descriptor. False: nothing known (type is ""). */
bool filesystem_read(int fd, struct filesystem *filesystem);

struct partition_table {
    char kind[8];       /* "mbr", "gpt" or "" */
    char signature[12]; /* MBR: 8 hex digits */
    char guid[40];
};
/* The table at the start of a disk with sectors of this size. */
void partition_table_read(int fd, unsigned sector, struct partition_table *table);

#endif
