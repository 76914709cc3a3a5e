/* SPDX-License-Identifier: Apache-2.0 */
/* The spool file: the blocks of one image, compressed, with an index. docs/store.md describes it
 * byte by byte. Nothing here knows where the file lives or what it is called. */
#ifndef STORE_SPOOL_H
#define STORE_SPOOL_H

#include "base/error.h"
#include "protocol/protocol.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Larger images are refused: a decoder fed with a bomb must end some day. */
#define SPOOL_IMAGE_MAX (8ull << 40)

/* Where a block lies. A block of zeros takes no bytes. */
struct spool_place {
    uint64_t offset;
    uint64_t check;   /* CRC-64 (ECMA-182, as in xz) of the stored bytes */
    uint8_t encoding; /* enum block_encoding */
};

struct spool_head {
    uint64_t image_size;
    uint32_t block_size, block_count, zero_blocks;
    uint64_t wire_bytes;  /* sum of the stored sizes */
    uint64_t data_end;    /* where the index begins */
    uint64_t source_size; /* bytes of the image file as given */
    uint8_t source_sha256[32];
    char format[16];
    uint8_t image_id[PROTOCOL_HASH_SIZE];
};

struct spool {
    int fd;
    struct spool_head head;
    uint32_t capacity;              /* entries allocated */
    struct manifest_entry *entries; /* head.block_count of them */
    struct spool_place *places;
};

/* Room for blocks of a file that is being written; data_end starts behind the header. */
void spool_init(struct spool *spool, int fd, uint32_t block_size);

/* Makes room for index in the tables. 0 or -1 with err. */
int spool_reserve(struct spool *spool, uint32_t index, struct error *err);

/* Writes all of data at offset. 0, or -1 with errno. */
int spool_write(int fd, const uint8_t *data, size_t size, uint64_t offset);

/* Fills the counts and the image id, writes index, header and trailer, and flushes the file to
 * disk. 0 or -1; on failure errno says why. */
int spool_seal(struct spool *spool);

/* Reads header and index of a sealed file and checks all of it. 0, or -1 with err when it is no
 * such file, or damaged; the spool is empty then, fd stays the caller's. */
int spool_load(struct spool *spool, int fd, struct error *err);

/* Reads every stored block once and compares its checksum. done counts stored bytes. 0 or -1 with
 * err (ERROR_CANCELLED when *cancelled became true). */
int spool_verify(const struct spool *spool, const atomic_bool *cancelled, _Atomic uint64_t *done,
                 struct error *err);

/* The block's real size: block_size, or less for the last one. */
uint32_t spool_block_size(const struct spool *spool, uint32_t index);

/* The stored bytes of a block (entries[index].wire_size of them; nothing for a block of zeros),
 * checked. 0 or -1 with err. Thread-safe, as is the next one. */
int spool_read_wire(const struct spool *spool, uint32_t index, uint8_t *out, struct error *err);

/* The same without waiting for the disk: true when the bytes were in the kernel's memory and are
 * whole; otherwise nothing is known, and spool_read_wire will tell. */
bool spool_try_wire(const struct spool *spool, uint32_t index, uint8_t *out);

/* The decoded bytes; out holds block_size. Returns the real size or -1 with err. */
int spool_read_block(const struct spool *spool, uint32_t index, uint8_t *out, struct error *err);

/* Frees the tables; closes fd unless it is -1. */
void spool_close(struct spool *spool);

#endif
