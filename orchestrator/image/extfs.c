/* SPDX-License-Identifier: Apache-2.0 */
#include "image/extfs.h"

#include <endian.h>
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One visit may ask for so many reads: a directory without end or a maze of links ends there. */
#define READS_MAX      4096u
#define READ_BYTES_MAX (1u << 20)

/* The library opens by name only, so the name carries this thing's address. */
struct window {
    const struct image_reader *reader;
    uint64_t start, size;
    unsigned reads;
};

struct extfs {
    struct window window;
    ext2_filsys fs;
};

static errcode_t window_open(const char *name, int flags, io_channel *channel);

static errcode_t window_close(io_channel channel)
{
    if (--channel->refcount > 0)
        return 0;
    free(channel);
    return 0;
}

static errcode_t window_set_block_size(io_channel channel, int block_size)
{
    channel->block_size = block_size;
    return 0;
}

/* count is in blocks, or in bytes when negative. */
static errcode_t window_read64(io_channel channel, unsigned long long block, int count, void *out)
{
    struct window *window = channel->private_data;
    uint64_t block_size = (uint64_t)channel->block_size;
    uint64_t size = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * block_size;
    if (window->reads++ >= READS_MAX || size > READ_BYTES_MAX ||
        block > window->size / block_size || size > window->size - block * block_size)
        return EXT2_ET_SHORT_READ;
    if (image_read(window->reader, window->start + block * block_size, out, size) < 0)
        return EXT2_ET_SHORT_READ;
    return 0;
}

static errcode_t window_read(io_channel channel, unsigned long block, int count, void *out)
{
    return window_read64(channel, block, count, out);
}

static errcode_t window_write64(io_channel channel, unsigned long long block, int count,
                                const void *data)
{
    (void)channel;
    (void)block;
    (void)count;
    (void)data;
    return EXT2_ET_RO_FILSYS;
}

static errcode_t window_write(io_channel channel, unsigned long block, int count, const void *data)
{
    return window_write64(channel, block, count, data);
}

static errcode_t window_flush(io_channel channel)
{
    (void)channel;
    return 0;
}

static const struct struct_io_manager window_manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "image",
    .open = window_open,
    .close = window_close,
    .set_blksize = window_set_block_size,
    .read_blk = window_read,
    .write_blk = window_write,
    .flush = window_flush,
    .read_blk64 = window_read64,
    .write_blk64 = window_write64,
};

static errcode_t window_open(const char *name, int flags, io_channel *channel)
{
    void *window = NULL;
    (void)flags;
    if (sscanf(name, "%p", &window) != 1)
        return EXT2_ET_BAD_DEVICE_NAME;
    io_channel opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return EXT2_ET_NO_MEMORY;
    opened->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    opened->manager = (io_manager)&window_manager;
    opened->name = (char *)window_manager.name;
    opened->block_size = 1024;
    opened->refcount = 1;
    opened->private_data = window;
    *channel = opened;
    return 0;
}

/* What the library sizes its tables by must fit the partition. */
static bool superblock_plausible(const struct window *window)
{
    uint8_t super[1024];
    uint32_t low, high, log_size, per_group, features;
    if (window->size < 2048 || image_read(window->reader, window->start + 1024, super, 1024) < 0)
        return false;
    memcpy(&low, super + 4, 4);
    memcpy(&log_size, super + 24, 4);
    memcpy(&per_group, super + 32, 4);
    memcpy(&features, super + 96, 4);
    memcpy(&high, super + 0x150, 4);
    uint64_t blocks = le32toh(low);
    if ((le32toh(features) & EXT4_FEATURE_INCOMPAT_64BIT) != 0)
        blocks |= (uint64_t)le32toh(high) << 32;
    log_size = le32toh(log_size);
    return log_size <= 6 && le32toh(per_group) >= 8 && blocks <= window->size >> (10 + log_size);
}

struct extfs *extfs_open(const struct image_reader *reader, const struct image_partition *partition)
{
    char name[32];
    struct extfs *fs = calloc(1, sizeof *fs);
    if (fs == NULL)
        return NULL;
    fs->window.reader = reader;
    fs->window.start = partition->start;
    fs->window.size = partition->size;
    snprintf(name, sizeof name, "%p", (void *)&fs->window);
    if (superblock_plausible(&fs->window) &&
        ext2fs_open(name, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0, (io_manager)&window_manager,
                    &fs->fs) == 0)
        return fs;
    free(fs);
    return NULL;
}

void extfs_close(struct extfs *fs)
{
    if (fs == NULL)
        return;
    ext2fs_free(fs->fs);
    free(fs);
}

static bool path_inode(struct extfs *fs, const char *path, ext2_ino_t *number,
                       struct ext2_inode *inode)
{
    return ext2fs_namei_follow(fs->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, number) == 0 &&
           ext2fs_read_inode(fs->fs, *number, inode) == 0;
}

bool extfs_exists(struct extfs *fs, const char *path)
{
    ext2_ino_t number;
    struct ext2_inode inode;
    return path_inode(fs, path, &number, &inode);
}

bool extfs_is_filled(struct extfs *fs, const char *path)
{
    ext2_ino_t number;
    struct ext2_inode inode;
    return path_inode(fs, path, &number, &inode) && LINUX_S_ISREG(inode.i_mode) &&
           EXT2_I_SIZE(&inode) > 0;
}

int extfs_read(struct extfs *fs, const char *path, uint64_t offset, void *out, size_t size)
{
    ext2_ino_t number;
    struct ext2_inode inode;
    ext2_file_t file;
    unsigned got = 0;
    if (!path_inode(fs, path, &number, &inode) || !LINUX_S_ISREG(inode.i_mode) ||
        ext2fs_file_open(fs->fs, number, 0, &file) != 0)
        return -1;
    if (size > READ_BYTES_MAX)
        size = READ_BYTES_MAX;
    errcode_t result = ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, NULL);
    if (result == 0)
        result = ext2fs_file_read(file, out, (unsigned)size, &got);
    ext2fs_file_close(file);
    return result != 0 ? -1 : (int)got;
}
