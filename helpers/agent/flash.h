/* SPDX-License-Identifier: Apache-2.0 */
/* What is being flashed, shared by the main thread (which talks to the controller) and the worker
 * (which alone touches the disk): manifest, what is known of each block, blocks on their way.
 *
 * A block that the worker needs is marked NEED; the main thread asks for it (WANTED), checks what
 * comes, and leaves it either staged (compressed, in locked memory: all of them in stage mode, the
 * head in stream mode) or decompressed in a pool buffer that the worker takes with flash_take. */
#ifndef FLASH_H
#define FLASH_H

#include "memory.h"
#include "protocol/protocol.h"

#include <pthread.h>
#include <stdatomic.h>

#define FLASH_HEAD_SIZE                                                                            \
    (1024u * 1024u)            /* erased first, written last; rounded up to whole blocks           \
                                */
#define FLASH_TAIL_SECTORS 33u /* a backup GPT: 32 of entries and the header (UEFI 2.10, 5.3) */
#define FLASH_TAIL_MAX     4u /* blocks that these touch at most: 33 sectors of 4096, 64 KiB each */
#define FLASH_POOL_MAX     16u
#define FLASH_STAGE_WINDOW (4u * 1024u * 1024u) /* wire bytes under way in stage mode */
#define FLASH_BAD_MAX      3u                   /* wrong arrivals of one block before giving up */

enum {
    BLOCK_SAME = 1,    /* the disk held it when last looked at */
    BLOCK_NEED = 2,    /* must come from the controller */
    BLOCK_WANTED = 4,  /* has been asked for */
    BLOCK_WRITTEN = 8, /* by us, at least once */
    BLOCK_BAD_STEP = 16,
    BLOCK_BAD_MASK = 48, /* two bits: how often it came wrong */
};

struct ready_block {
    uint32_t index;
    uint8_t *data; /* a pool buffer */
};

struct flash {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something the worker may wait for */
    int wake_fd;            /* eventfd: something the main thread should look at */

    /* Fixed once the manifest is complete. */
    struct manifest manifest;
    struct manifest_entry *entries;
    uint32_t entries_filled; /* in order, 0 … block_count */
    uint32_t head_blocks;    /* withheld to the very end: those below, from first_block on */
    uint32_t tail_first;     /* from here on as well: they hold the disk's backup partition table */
    uint8_t zero_hash[PROTOCOL_HASH_SIZE], tail_zero_hash[PROTOCOL_HASH_SIZE];
    bool force;

    /* Under lock. */
    uint8_t *state;
    struct staged **staged; /* staged_count entries */
    uint32_t staged_count;  /* blocks below this index are staged, and those of the tail; the others
                               go to the pool */
    struct staged *tail[FLASH_TAIL_MAX]; /* of those that staged does not hold */
    struct arena arena;
    uint32_t need_count;   /* blocks with NEED */
    uint32_t wanted_count; /* … that were asked for */
    uint64_t wanted_bytes;
    uint32_t want_cursor; /* no NEED without WANTED below it */
    uint8_t *pool;
    uint8_t *pool_free[FLASH_POOL_MAX];
    unsigned pool_free_count;
    struct ready_block ready[FLASH_POOL_MAX];
    unsigned ready_first, ready_count;
    struct tally tally;
    bool cancelled;    /* the worker gives up as soon as it may */
    bool committed;    /* the first byte may be written: an abort comes too late */
    struct fail fault; /* why, if not just asked to */

    /* Progress of the running step, in blocks. */
    _Atomic uint32_t done, total;
};

int flash_init(struct flash *flash, int wake_fd);
void flash_free(struct flash *flash);

/* Takes MANIFEST. Fault when it does not fit into memory. */
int flash_set_manifest(struct flash *flash, const struct manifest *manifest, struct fail *fail);
/* Takes one entry; they come in order. False: out of order. Completes the manifest with the last.
 */
bool flash_add_entry(struct flash *flash, uint32_t index, const struct manifest_entry *entry);
bool flash_is_complete(const struct flash *flash);
/* Does image_id fit the sizes and hashes? */
bool flash_id_matches(const struct flash *flash);

uint32_t flash_block_size(const struct flash *flash, uint32_t index); /* real bytes of a block */
/* Where a block is on the disk, in bytes. */
uint64_t flash_offset(const struct flash *flash, uint32_t index);
/* The first byte behind the image on the disk. */
uint64_t flash_end(const struct flash *flash);
/* Does the disk's beginning, with the boot loader in it, stay as it is? */
bool flash_is_shifted(const struct flash *flash);
bool flash_is_unmapped(const struct flash *flash, uint32_t index);
bool flash_is_zero(const struct flash *flash, uint32_t index);
/* data holds flash_block_size bytes: is it block index of the image? */
bool flash_matches(const struct flash *flash, uint32_t index, const uint8_t *data);
/* Wire bytes of all blocks that have to travel, and how many these are. */
uint64_t flash_wire_total(const struct flash *flash, uint32_t *blocks);

/* Finds out which blocks are the tail, once the disk is known; before anything is staged. */
void flash_set_tail(struct flash *flash, uint64_t disk_size, uint32_t sector);
/* Head or tail: erased first, written last. */
bool flash_is_withheld(const struct flash *flash, uint32_t index);
/* Held in locked memory until it is written (else it goes through the pool). Under lock, or on the
 * worker. */
bool flash_is_staging(const struct flash *flash, uint32_t index);
/* Where the staged block is or will be; NULL: it is not one that is staged. Under lock. */
struct staged **flash_slot(struct flash *flash, uint32_t index);

/* Blocks below count, and the tail, will be staged in locked memory. */
int flash_prepare_staging(struct flash *flash, uint32_t count, struct fail *fail);
int flash_prepare_pool(struct flash *flash, struct fail *fail);

/* The worker asks for a block (no-op when it is staged or under way). */
void flash_need(struct flash *flash, uint32_t index);
void flash_set_state(struct flash *flash, uint32_t index, uint8_t set, uint8_t clear);
uint8_t flash_state(struct flash *flash, uint32_t index);
/* Counts bytes that went to the disk; flash_bytes_written is their sum so far. */
void flash_count_written(struct flash *flash, uint64_t bytes);
uint64_t flash_bytes_written(struct flash *flash);
struct staged *flash_staged(struct flash *flash, uint32_t index);
/* Keeps a block's plain bytes in locked memory (blocks that are staged). */
int flash_keep(struct flash *flash, uint32_t index, const uint8_t *data, struct fail *fail);

/* Waits until nothing is needed any more. -1: cancelled (fail says why). */
int flash_wait_held(struct flash *flash, struct fail *fail);
enum flash_take { TAKE_BLOCK, TAKE_NOTHING, TAKE_ALL_DONE, TAKE_CANCELLED };
/* The next block that has come. wait: until one comes or all have been taken. */
enum flash_take flash_take_ready(struct flash *flash, bool wait, struct ready_block *block);
void flash_release(struct flash *flash, uint8_t *buffer);
/* Makes the worker give up; fault may be NULL. False: too late, the first byte may be written. */
bool flash_abort(struct flash *flash, const struct fail *fault);
/* The same after that point, for faults that leave the disk incomplete. */
void flash_cancel(struct flash *flash, const struct fail *fault);
/* The worker is about to write the first byte: 0, or -1 when it was told to give up. */
int flash_commit(struct flash *flash, struct fail *fail);
/* Before a write begins anew: what an earlier one asked for and did not use is forgotten. No job
 * may run, and the caller must be the thread that takes blocks in. */
void flash_restart(struct flash *flash);
/* Before a new job: forgets a cancellation. */
void flash_resume(struct flash *flash);
bool flash_is_cancelled(struct flash *flash, struct fail *fail);
void flash_wake(const struct flash *flash);

#endif
