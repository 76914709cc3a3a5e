/* SPDX-License-Identifier: Apache-2.0 */
#include "flash.h"

#include "disk.h"
#include "fault.h"

#include <endian.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int flash_init(struct flash *flash, int wake_fd)
{
    memset(flash, 0, sizeof *flash);
    flash->wake_fd = wake_fd;
    if (pthread_mutex_init(&flash->lock, NULL) != 0)
        return -1;
    return pthread_cond_init(&flash->changed, NULL) == 0 ? 0 : -1;
}

static void drop_manifest(struct flash *flash)
{
    free(flash->entries);
    free(flash->state);
    free(flash->staged);
    free(flash->pool);
    arena_free(&flash->arena);
    flash->entries = NULL;
    flash->state = NULL;
    flash->staged = NULL;
    flash->pool = NULL;
    flash->staged_count = 0;
    memset(flash->tail, 0, sizeof flash->tail);
    flash->entries_filled = 0;
}

void flash_free(struct flash *flash)
{
    drop_manifest(flash);
    pthread_cond_destroy(&flash->changed);
    pthread_mutex_destroy(&flash->lock);
}

void flash_wake(const struct flash *flash)
{
    uint64_t one = 1;
    ssize_t ignored = write(flash->wake_fd, &one, sizeof one);
    (void)ignored;
}

/* --- manifest --------------------------------------------------------------------------------- */

int flash_set_manifest(struct flash *flash, const struct manifest *manifest, struct fail *fail)
{
    drop_manifest(flash);
    flash->manifest = *manifest;
    flash->entries = reallocarray(NULL, manifest->block_count, sizeof *flash->entries);
    flash->state = calloc(manifest->block_count, 1);
    if (flash->entries == NULL || flash->state == NULL)
        return fault_set(fail, FAILCODE_MEMORY, "no memory for the hashes of %u blocks",
                         manifest->block_count);
    uint32_t head = (FLASH_HEAD_SIZE + manifest->block_size - 1) / manifest->block_size;
    uint32_t blocks = manifest->block_count - manifest->first_block;
    flash->head_blocks = manifest->first_block + (head < blocks ? head : blocks);
    flash->tail_first = manifest->block_count;
    uint8_t *zeros = calloc(1, manifest->block_size);
    if (zeros == NULL)
        return fault_set(fail, FAILCODE_MEMORY, "out of memory");
    crypto_generichash(flash->zero_hash, PROTOCOL_HASH_SIZE, zeros, manifest->block_size, NULL, 0);
    crypto_generichash(flash->tail_zero_hash, PROTOCOL_HASH_SIZE, zeros,
                       flash_block_size(flash, manifest->block_count - 1), NULL, 0);
    free(zeros);
    return 0;
}

bool flash_add_entry(struct flash *flash, uint32_t index, const struct manifest_entry *entry)
{
    if (flash->entries == NULL || index != flash->entries_filled ||
        index >= flash->manifest.block_count ||
        entry->wire_size > flash_block_size(flash, index)) /* what room is reckoned with */
        return false;
    flash->entries[index] = *entry;
    flash->entries_filled++;
    return true;
}

bool flash_is_complete(const struct flash *flash)
{
    return flash->entries != NULL && flash->entries_filled == flash->manifest.block_count;
}

bool flash_id_matches(const struct flash *flash)
{
    crypto_generichash_state state;
    uint8_t id[PROTOCOL_HASH_SIZE];
    uint64_t size = htole64(flash->manifest.image_size);
    uint32_t block_size = htole32(flash->manifest.block_size);
    crypto_generichash_init(&state, NULL, 0, sizeof id);
    crypto_generichash_update(&state, (const uint8_t *)&size, sizeof size);
    crypto_generichash_update(&state, (const uint8_t *)&block_size, sizeof block_size);
    for (uint32_t i = 0; i < flash->manifest.block_count; i++)
        crypto_generichash_update(&state, flash->entries[i].hash, PROTOCOL_HASH_SIZE);
    crypto_generichash_final(&state, id, sizeof id);
    return memcmp(id, flash->manifest.image_id, sizeof id) == 0;
}

uint32_t flash_block_size(const struct flash *flash, uint32_t index)
{
    uint64_t start = (uint64_t)index * flash->manifest.block_size;
    uint64_t left = flash->manifest.image_size - start;
    return left < flash->manifest.block_size ? (uint32_t)left : flash->manifest.block_size;
}

uint64_t flash_offset(const struct flash *flash, uint32_t index)
{
    return (uint64_t)index * flash->manifest.block_size + flash->manifest.shift;
}

uint64_t flash_end(const struct flash *flash)
{
    return flash->manifest.image_size + flash->manifest.shift;
}

bool flash_is_shifted(const struct flash *flash)
{
    return flash->manifest.first_block != 0;
}

bool flash_is_unmapped(const struct flash *flash, uint32_t index)
{
    return index < flash->manifest.first_block ||
           sodium_is_zero(flash->entries[index].hash, PROTOCOL_HASH_SIZE) != 0;
}

void flash_set_tail(struct flash *flash, uint64_t disk_size, uint32_t sector)
{
    const struct manifest *manifest = &flash->manifest;
    uint64_t table = (uint64_t)FLASH_TAIL_SECTORS * sector;
    flash->tail_first = manifest->block_count;
    if (flash_is_shifted(flash)) /* an MBR disk: what is at its end is no table */
        return;
    if (disk_size < table || manifest->image_size <= disk_size - table)
        return;
    uint32_t first = (uint32_t)((disk_size - table) / manifest->block_size);
    flash->tail_first = first > flash->head_blocks ? first : flash->head_blocks;
}

bool flash_is_withheld(const struct flash *flash, uint32_t index)
{
    return index < flash->head_blocks || index >= flash->tail_first;
}

bool flash_is_staging(const struct flash *flash, uint32_t index)
{
    return index < flash->staged_count || index >= flash->tail_first;
}

struct staged **flash_slot(struct flash *flash, uint32_t index)
{
    if (index < flash->staged_count)
        return &flash->staged[index];
    return index >= flash->tail_first ? &flash->tail[index - flash->tail_first] : NULL;
}

bool flash_is_zero(const struct flash *flash, uint32_t index)
{
    const uint8_t *zero = flash_block_size(flash, index) == flash->manifest.block_size
                              ? flash->zero_hash
                              : flash->tail_zero_hash;
    return memcmp(flash->entries[index].hash, zero, PROTOCOL_HASH_SIZE) == 0;
}

bool flash_matches(const struct flash *flash, uint32_t index, const uint8_t *data)
{
    uint32_t size = flash_block_size(flash, index);
    if (flash_is_zero(flash, index)) /* cheaper than a hash, and just as sure */
        return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
    uint8_t hash[PROTOCOL_HASH_SIZE];
    crypto_generichash(hash, sizeof hash, data, size, NULL, 0);
    return memcmp(hash, flash->entries[index].hash, sizeof hash) == 0;
}

uint64_t flash_wire_total(const struct flash *flash, uint32_t *blocks)
{
    uint64_t bytes = 0;
    *blocks = 0;
    for (uint32_t i = 0; i < flash->manifest.block_count; i++)
        if (!flash_is_unmapped(flash, i) && !flash_is_zero(flash, i)) {
            bytes += flash->entries[i].wire_size;
            (*blocks)++;
        }
    return bytes;
}

/* --- memory ----------------------------------------------------------------------------------- */

int flash_prepare_staging(struct flash *flash, uint32_t count, struct fail *fail)
{
    if (flash->staged_count >= count)
        return 0;
    struct staged **staged = calloc(count, sizeof *staged);
    if (staged == NULL)
        return fault_set(fail, FAILCODE_MEMORY, "no memory to stage %u blocks", count);
    pthread_mutex_lock(&flash->lock);
    if (flash->staged != NULL)
        memcpy(staged, flash->staged, flash->staged_count * sizeof *staged);
    free(flash->staged);
    flash->staged = staged;
    flash->staged_count = count;
    pthread_mutex_unlock(&flash->lock);
    return 0;
}

int flash_prepare_pool(struct flash *flash, struct fail *fail)
{
    size_t block = flash->manifest.block_size;
    uint8_t *pool = NULL;
    if (flash->pool != NULL)
        return 0;
    if (posix_memalign((void **)&pool, DISK_ALIGN, FLASH_POOL_MAX * block) != 0)
        return fault_set(fail, FAILCODE_MEMORY, "no memory for %u blocks", FLASH_POOL_MAX);
    pthread_mutex_lock(&flash->lock);
    flash->pool = pool;
    for (unsigned i = 0; i < FLASH_POOL_MAX; i++)
        flash->pool_free[i] = pool + i * block;
    flash->pool_free_count = FLASH_POOL_MAX;
    pthread_mutex_unlock(&flash->lock);
    return 0;
}

/* --- blocks ----------------------------------------------------------------------------------- */

void flash_need(struct flash *flash, uint32_t index)
{
    pthread_mutex_lock(&flash->lock);
    struct staged **slot = flash_slot(flash, index);
    bool held = slot != NULL && *slot != NULL;
    if (!held && !(flash->state[index] & BLOCK_NEED)) {
        flash->state[index] |= BLOCK_NEED;
        flash->need_count++;
        if (index < flash->want_cursor)
            flash->want_cursor = index;
    }
    pthread_mutex_unlock(&flash->lock);
    flash_wake(flash);
}

void flash_set_state(struct flash *flash, uint32_t index, uint8_t set, uint8_t clear)
{
    pthread_mutex_lock(&flash->lock);
    flash->state[index] = (uint8_t)((flash->state[index] & ~clear) | set);
    pthread_mutex_unlock(&flash->lock);
}

uint8_t flash_state(struct flash *flash, uint32_t index)
{
    pthread_mutex_lock(&flash->lock);
    uint8_t state = flash->state[index];
    pthread_mutex_unlock(&flash->lock);
    return state;
}

void flash_count_written(struct flash *flash, uint64_t bytes)
{
    pthread_mutex_lock(&flash->lock);
    flash->tally.bytes_written += bytes;
    pthread_mutex_unlock(&flash->lock);
}

uint64_t flash_bytes_written(struct flash *flash)
{
    pthread_mutex_lock(&flash->lock);
    uint64_t bytes = flash->tally.bytes_written;
    pthread_mutex_unlock(&flash->lock);
    return bytes;
}

struct staged *flash_staged(struct flash *flash, uint32_t index)
{
    pthread_mutex_lock(&flash->lock);
    struct staged **slot = flash_slot(flash, index);
    struct staged *staged = slot != NULL ? *slot : NULL;
    pthread_mutex_unlock(&flash->lock);
    return staged;
}

int flash_keep(struct flash *flash, uint32_t index, const uint8_t *data, struct fail *fail)
{
    pthread_mutex_lock(&flash->lock);
    int status = 0;
    struct staged **slot = flash_slot(flash, index);
    if (*slot == NULL) {
        *slot = arena_add(&flash->arena, data, flash_block_size(flash, index), ENCODING_RAW, fail);
        status = *slot == NULL ? -1 : 0;
    }
    pthread_mutex_unlock(&flash->lock);
    return status;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Under lock. */
static bool is_cancelled(struct flash *flash, struct fail *fail)
{
    if (flash->cancelled && fail != NULL) {
        if (flash->fault.code != 0)
            *fail = flash->fault;
        else
            fault_set(fail, FAILCODE_ABORTED, "stopped as asked");
    }
    return flash->cancelled;
}

bool flash_is_cancelled(struct flash *flash, struct fail *fail)
{
    pthread_mutex_lock(&flash->lock);
    bool cancelled = is_cancelled(flash, fail);
    pthread_mutex_unlock(&flash->lock);
    return cancelled;
}

int flash_wait_held(struct flash *flash, struct fail *fail)
{
    pthread_mutex_lock(&flash->lock);
    while (!flash->cancelled && flash->need_count > 0)
        pthread_cond_wait(&flash->changed, &flash->lock);
    bool cancelled = is_cancelled(flash, fail);
    pthread_mutex_unlock(&flash->lock);
    return cancelled ? -1 : 0;
}

enum flash_take flash_take_ready(struct flash *flash, bool wait, struct ready_block *block)
{
    enum flash_take result = TAKE_BLOCK;
    pthread_mutex_lock(&flash->lock);
    while (wait && !flash->cancelled && flash->ready_count == 0 && flash->need_count > 0)
        pthread_cond_wait(&flash->changed, &flash->lock);
    if (flash->cancelled) {
        result = TAKE_CANCELLED;
    } else if (flash->ready_count > 0) {
        *block = flash->ready[flash->ready_first];
        flash->ready_first = (flash->ready_first + 1) % FLASH_POOL_MAX;
        flash->ready_count--;
    } else {
        result = flash->need_count == 0 ? TAKE_ALL_DONE : TAKE_NOTHING;
    }
    pthread_mutex_unlock(&flash->lock);
    return result;
}

void flash_release(struct flash *flash, uint8_t *buffer)
{
    pthread_mutex_lock(&flash->lock);
    flash->pool_free[flash->pool_free_count++] = buffer;
    pthread_mutex_unlock(&flash->lock);
    flash_wake(flash);
}

/* Under lock. */
static void cancel(struct flash *flash, const struct fail *fault)
{
    flash->cancelled = true;
    memset(&flash->fault, 0, sizeof flash->fault);
    if (fault != NULL)
        flash->fault = *fault;
    pthread_cond_broadcast(&flash->changed);
}

void flash_cancel(struct flash *flash, const struct fail *fault)
{
    pthread_mutex_lock(&flash->lock);
    cancel(flash, fault);
    pthread_mutex_unlock(&flash->lock);
}

bool flash_abort(struct flash *flash, const struct fail *fault)
{
    pthread_mutex_lock(&flash->lock);
    bool early = !flash->committed;
    if (early)
        cancel(flash, fault);
    pthread_mutex_unlock(&flash->lock);
    return early;
}

int flash_commit(struct flash *flash, struct fail *fail)
{
    pthread_mutex_lock(&flash->lock);
    bool cancelled = is_cancelled(flash, fail);
    flash->committed = flash->committed || !cancelled;
    flash->arena.floor = 0; /* from here on there is no way back, only out of memory */
    pthread_mutex_unlock(&flash->lock);
    return cancelled ? -1 : 0;
}

void flash_restart(struct flash *flash)
{
    pthread_mutex_lock(&flash->lock);
    flash->need_count = 0;
    for (uint32_t i = 0; i < flash->manifest.block_count; i++) {
        uint8_t clear = BLOCK_WANTED | BLOCK_BAD_MASK;
        if (!flash_is_staging(flash, i))
            clear |= BLOCK_NEED; /* asked for again when its turn comes */
        flash->state[i] &= (uint8_t)~clear;
        flash->need_count += (flash->state[i] & BLOCK_NEED) != 0;
    }
    flash->wanted_count = 0;
    flash->wanted_bytes = 0;
    flash->want_cursor = 0;
    flash->ready_first = flash->ready_count = 0;
    flash->pool_free_count = flash->pool == NULL ? 0 : FLASH_POOL_MAX;
    for (unsigned i = 0; i < flash->pool_free_count; i++)
        flash->pool_free[i] = flash->pool + i * (size_t)flash->manifest.block_size;
    pthread_mutex_unlock(&flash->lock);
}

void flash_resume(struct flash *flash)
{
    pthread_mutex_lock(&flash->lock);
    flash->cancelled = false;
    pthread_mutex_unlock(&flash->lock);
}
