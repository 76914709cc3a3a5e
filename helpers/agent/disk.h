/* SPDX-License-Identifier: Apache-2.0 */
/* The whole-disk node, read and written past the page cache. A regular file can stand in for it in
 * tests and benchmarks. */
#ifndef DISK_H
#define DISK_H

#include "protocol/protocol.h"

#include <sys/types.h>

#define DISK_ALIGN 4096u /* of every buffer handed to these functions */

struct disk {
    int fd; /* -1: not open */
    bool is_device;
    char path[256];
    dev_t device;
    uint64_t size;           /* bytes */
    uint32_t logical_sector; /* bytes */
    uint32_t align;          /* offsets and sizes of single reads and writes are multiples of it */
    uint8_t *sector;         /* one sector of scratch, owned */
};

/* Opens path O_RDWR|O_DIRECT; it stays open to the end, since udev rescans when such a node is
 * closed. Faults: FAILCODE_DISK, FAILCODE_BUSY (another program has it locked), FAILCODE_REFUSED
 * (the kernel forbids writing to disks with mounted file systems). */
int disk_open(struct disk *disk, const char *path, struct fail *fail);
/* The same with one that another agent had open; it is owned from then on. */
int disk_adopt(struct disk *disk, int fd, struct fail *fail);
void disk_close(struct disk *disk);

/* flock(LOCK_EX), which tells udev and other programs that partition to keep away (systemd's
 * "Locking Block Device Access"). Not longer than it has to be: systemd itself waits for it in
 * every daemon-reload, and no one can log in meanwhile. Faults: FAILCODE_BUSY
 * after 3 s, FAILCODE_DISK (the kernel grants no lock). */
int disk_lock(struct disk *disk, struct fail *fail);
void disk_unlock(struct disk *disk);

/* size bytes from offset (a multiple of align); reads up to the next multiple of align, so the
 * buffer needs room for that. 0, or -1 and errno. */
int disk_read(struct disk *disk, void *buffer, size_t size, uint64_t offset);
/* Writes exactly size bytes; the rest of a last partial sector keeps what it holds. */
int disk_write(struct disk *disk, const void *buffer, size_t size, uint64_t offset);
/* Zeros, in steps of at most 64 MiB, by BLKZEROOUT where it works and by writing where it does not.
 * scratch: aligned, scratch_size bytes (a multiple of align), left zeroed where it was used. */
int disk_zero(struct disk *disk, uint64_t offset, uint64_t size, uint8_t *scratch,
              size_t scratch_size);
/* All the way onto the medium. */
int disk_flush(struct disk *disk);

#endif
