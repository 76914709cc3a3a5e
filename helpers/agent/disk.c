/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include "fault.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ZERO_STEP (64u * 1024u * 1024u)

static int open_refused(const char *path, struct fail *fail)
{
    if (errno == EBUSY || errno == EPERM) {
        fault_set(fail, FAILCODE_REFUSED, "the kernel does not let %s be opened for writing: %s",
                  path, strerror(errno));
        return fault_remedy(fail, "boot it with bdev_allow_write_mounted=1 on the kernel command "
                                  "line, or use netboot mode");
    }
    return fault_set(fail, FAILCODE_DISK, "cannot open %s for writing: %s", path, strerror(errno));
}

/* udev takes a shared lock for moments while it looks at a disk; and for moments there may be no
 * memory for a lock (flock(2): ENOLCK). Other errors stay what they are. */
int disk_lock(struct disk *disk, struct fail *fail)
{
    int error = EWOULDBLOCK;
    for (int i = 0; i < 30; i++) {
        if (flock(disk->fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        error = errno;
        if (error != EWOULDBLOCK && error != ENOLCK && error != EINTR)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    if (error != EWOULDBLOCK) {
        fault_set(fail, FAILCODE_DISK, "%s cannot be locked: %s", disk->path, strerror(error));
        return fault_remedy(fail, "see what the device's kernel says (dmesg); without the lock its "
                                  "udev would look at the disk while it is written");
    }
    fault_set(fail, FAILCODE_BUSY, "%s is locked by another program", disk->path);
    return fault_remedy(fail, "end the program that partitions or writes this disk");
}

void disk_unlock(struct disk *disk)
{
    flock(disk->fd, LOCK_UN);
}

static int measure_device(struct disk *disk, const struct stat *st, struct fail *fail)
{
    int sector = 0;
    disk->is_device = true;
    disk->device = st->st_rdev;
    if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) != 0 ||
        ioctl(disk->fd, BLKSSZGET, &sector) != 0 || sector < 512 || sector > (int)DISK_ALIGN)
        return fault_set(fail, FAILCODE_DISK, "cannot learn size and sectors of %s: %s", disk->path,
                         strerror(errno));
    disk->logical_sector = disk->align = (uint32_t)sector;
    return 0;
}

/* A file takes O_DIRECT only where its own file system does, and only in whole blocks. */
static int measure_file(struct disk *disk, const struct stat *st, struct fail *fail)
{
    void *probe = NULL;
    disk->size = (uint64_t)st->st_size;
    disk->logical_sector = 512;
    disk->align = DISK_ALIGN;
    if (posix_memalign(&probe, DISK_ALIGN, DISK_ALIGN) != 0)
        return fault_set(fail, FAILCODE_MEMORY, "out of memory");
    bool direct = disk->size % DISK_ALIGN == 0 && pread(disk->fd, probe, DISK_ALIGN, 0) >= 0;
    free(probe);
    if (!direct) {
        fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_DIRECT);
        disk->align = 1;
    }
    return 0;
}

static int measure(struct disk *disk, struct fail *fail)
{
    struct stat st;
    int status = -1;
    if (fstat(disk->fd, &st) != 0)
        fault_set(fail, FAILCODE_DISK, "cannot look at %s: %s", disk->path, strerror(errno));
    else if (S_ISBLK(st.st_mode))
        status = measure_device(disk, &st, fail);
    else if (S_ISREG(st.st_mode))
        status = measure_file(disk, &st, fail);
    else
        fault_set(fail, FAILCODE_DISK, "%s is not a disk", disk->path);
    if (status == 0 && posix_memalign((void **)&disk->sector, DISK_ALIGN, DISK_ALIGN) != 0) {
        disk->sector = NULL;
        status = fault_set(fail, FAILCODE_MEMORY, "out of memory");
    }
    return status;
}

int disk_open(struct disk *disk, const char *path, struct fail *fail)
{
    memset(disk, 0, sizeof *disk);
    text_copy(disk->path, sizeof disk->path, path);
    disk->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk->fd < 0 && errno == EINVAL)
        disk->fd = open(path, O_RDWR | O_CLOEXEC);
    if (disk->fd < 0)
        return open_refused(path, fail);
    int status = measure(disk, fail);
    if (status == 0)
        status = disk_lock(disk, fail);
    if (status == 0)
        disk_unlock(disk);
    else
        disk_close(disk);
    return status;
}

int disk_adopt(struct disk *disk, int fd, struct fail *fail)
{
    char link[64];
    memset(disk, 0, sizeof *disk);
    disk->fd = fd;
    text_format(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, disk->path, sizeof disk->path - 1);
    disk->path[n > 0 ? n : 0] = '\0';
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && measure(disk, fail) == 0)
        return 0;
    disk_close(disk);
    return -1;
}

void disk_close(struct disk *disk)
{
    if (disk->fd >= 0)
        close(disk->fd);
    free(disk->sector);
    disk->sector = NULL;
    disk->fd = -1;
}

int disk_read(struct disk *disk, void *buffer, size_t size, uint64_t offset)
{
    size_t whole = (size + disk->align - 1) / disk->align * disk->align, at = 0;
    while (at < whole) {
        ssize_t n = pread(disk->fd, (uint8_t *)buffer + at, whole - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return -1;
        }
        at += (size_t)n;
    }
    return 0;
}

static int write_whole(struct disk *disk, const uint8_t *data, size_t size, uint64_t offset)
{
    size_t at = 0;
    while (at < size) {
        ssize_t n = pwrite(disk->fd, data + at, size - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return -1;
        }
        at += (size_t)n;
    }
    return 0;
}

int disk_write(struct disk *disk, const void *buffer, size_t size, uint64_t offset)
{
    size_t rest = size % disk->align, whole = size - rest;
    if (write_whole(disk, buffer, whole, offset) != 0)
        return -1;
    if (rest == 0)
        return 0;
    if (disk_read(disk, disk->sector, disk->align, offset + whole) != 0)
        return -1;
    memcpy(disk->sector, (const uint8_t *)buffer + whole, rest);
    return write_whole(disk, disk->sector, disk->align, offset + whole);
}

/* What the kernel can do by itself; -1: write it. Offset and size are whole sectors. */
static int zero_by_kernel(struct disk *disk, uint64_t offset, uint64_t size)
{
    uint64_t range[2] = {offset, size};
    if (disk->is_device)
        return ioctl(disk->fd, BLKZEROOUT, range);
    return fallocate(disk->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)size);
}

static int zero_by_writing(struct disk *disk, uint64_t offset, uint64_t size, uint8_t *scratch,
                           size_t scratch_size)
{
    memset(scratch, 0, size < scratch_size ? size : scratch_size);
    while (size > 0) {
        size_t n = size < scratch_size ? (size_t)size : scratch_size;
        if (disk_write(disk, scratch, n, offset) != 0)
            return -1;
        offset += n;
        size -= n;
    }
    return 0;
}

int disk_zero(struct disk *disk, uint64_t offset, uint64_t size, uint8_t *scratch,
              size_t scratch_size)
{
    /* A last partial sector is written: only its part of the image becomes zero. */
    uint64_t rest = size % disk->align, whole = size - rest;
    while (whole > 0) {
        uint64_t n = whole < ZERO_STEP ? whole : ZERO_STEP;
        if (zero_by_kernel(disk, offset, n) != 0 &&
            zero_by_writing(disk, offset, n, scratch, scratch_size) != 0)
            return -1;
        offset += n;
        whole -= n;
    }
    return rest == 0 ? 0 : zero_by_writing(disk, offset, rest, scratch, scratch_size);
}

int disk_flush(struct disk *disk)
{
    return fsync(disk->fd);
}
