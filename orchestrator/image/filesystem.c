/* SPDX-License-Identifier: Apache-2.0 */
/* File systems by their superblocks, as far as it takes to name them. Offsets are those of the
 * kernel's headers (fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/linux/f2fs_fs.h, …). */
#include "image/facts.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

/* A superblock with a magic number, and where it has its UUID and label (0: it has none). */
struct superblock {
    const char *name;
    uint32_t at; /* of everything below, from the partition's start */
    uint32_t magic_at;
    const char *magic;
    uint32_t magic_size;
    uint32_t uuid_at, label_at, label_size;
};

#define MAGIC(text) text, sizeof(text) - 1
static const struct superblock superblocks[] = {
    {"xfs", 0, 0, MAGIC("XFSB"), 32, 108, 12},
    {"btrfs", 65536, 64, MAGIC("_BHRfS_M"), 32, 299, 32},
    {"f2fs", 1024, 0, MAGIC("\x10\x20\xf5\xf2"), 108, 0, 0},
    {"squashfs", 0, 0, MAGIC("hsqs"), 0, 0, 0},
    {"erofs", 1024, 0, MAGIC("\xe2\xe1\xf5\xe0"), 48, 64, 16},
    {"swap", 0, 4086, MAGIC("SWAPSPACE2"), 1036, 1052, 16},
    {"swap", 0, 16374, MAGIC("SWAPSPACE2"), 1036, 1052, 16},
    {"swap", 0, 65526, MAGIC("SWAPSPACE2"), 1036, 1052, 16},
    {"luks", 0, 0, MAGIC("LUKS\xba\xbe"), 0, 0, 0},
    {"lvm2", 512, 24, MAGIC("LVM2 001"), 0, 0, 0},
    {"ntfs", 0, 3, MAGIC("NTFS    "), 0, 0, 0},
    {"exfat", 0, 3, MAGIC("EXFAT   "), 0, 0, 0},
    {"iso9660", 32768, 1, MAGIC("CD001"), 0, 40, 32},
};

/* Reads inside the partition. */
static int partition_read(const struct image_reader *reader,
                          const struct image_partition *partition, uint64_t offset, void *out,
                          size_t size)
{
    if (offset > partition->size || size > partition->size - offset)
        return -1;
    return image_read(reader, partition->start + offset, out, size);
}

static uint32_t get32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return le32toh(value);
}

/* ext2, ext3 or ext4 is a matter of features. */
static bool probe_ext(const struct image_reader *reader, struct image_partition *partition)
{
    uint8_t super[256];
    if (partition_read(reader, partition, 1024, super, sizeof super) < 0 || super[56] != 0x53 ||
        super[57] != 0xef)
        return false;
    uint32_t compat = get32(super + 92), incompat = get32(super + 96), ro = get32(super + 100);
    bool ext4 = (incompat & ~0x16u) != 0 || (ro & ~0x7u) != 0; /* what ext3 does not know */
    bool journal = (compat & 0x4u) != 0;
    strcpy(partition->filesystem, ext4 ? "ext4" : journal ? "ext3" : "ext2");
    image_format_uuid(super + 104, partition->uuid);
    image_copy_text(super + 120, 16, partition->label, sizeof partition->label);
    return true;
}

/* A FAT has no magic number; its boot sector must make sense. */
static bool probe_fat(const struct image_reader *reader, struct image_partition *partition)
{
    uint8_t boot[512];
    if (partition_read(reader, partition, 0, boot, sizeof boot) < 0 || boot[510] != 0x55 ||
        boot[511] != 0xaa)
        return false;
    unsigned sector = boot[11] | boot[12] << 8, cluster = boot[13];
    if (sector < 512 || sector > 4096 || (sector & (sector - 1)) != 0 || cluster == 0 ||
        (cluster & (cluster - 1)) != 0 || (boot[14] | boot[15]) == 0 || boot[16] == 0 ||
        boot[16] > 2 || boot[21] < 0xf0)
        return false;
    bool fat32 = memcmp(boot + 82, "FAT32", 5) == 0;
    if (!fat32 && memcmp(boot + 54, "FAT", 3) != 0)
        return false;
    const uint8_t *serial = boot + (fat32 ? 67 : 39);
    strcpy(partition->filesystem, "vfat");
    snprintf(partition->uuid, sizeof partition->uuid, "%02X%02X-%02X%02X", serial[3], serial[2],
             serial[1], serial[0]);
    if (memcmp(serial + 4, "NO NAME    ", 11) != 0)
        image_copy_text(serial + 4, 11, partition->label, sizeof partition->label);
    return true;
}

static bool probe_superblock(const struct image_reader *reader, struct image_partition *partition,
                             const struct superblock *super)
{
    uint8_t magic[16], uuid[16];
    char label[32];
    if (partition_read(reader, partition, super->at + super->magic_at, magic, super->magic_size) <
            0 ||
        memcmp(magic, super->magic, super->magic_size) != 0)
        return false;
    strcpy(partition->filesystem, super->name);
    if (super->uuid_at != 0 &&
        partition_read(reader, partition, super->at + super->uuid_at, uuid, sizeof uuid) == 0)
        image_format_uuid(uuid, partition->uuid);
    if (super->label_at != 0 && partition_read(reader, partition, super->at + super->label_at,
                                               label, super->label_size) == 0)
        image_copy_text(label, super->label_size, partition->label, sizeof partition->label);
    return true;
}

void filesystem_probe(const struct image_reader *reader, struct image_partition *partition)
{
    if (probe_ext(reader, partition) || probe_fat(reader, partition))
        return;
    for (size_t i = 0; i < sizeof superblocks / sizeof *superblocks; i++) {
        if (probe_superblock(reader, partition, &superblocks[i]))
            return;
    }
}
