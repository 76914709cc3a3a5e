/* SPDX-License-Identifier: Apache-2.0 */
#include "intake.h"

#include "fault.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

int intake_init(struct intake *intake, struct flash *flash)
{
    memset(intake, 0, sizeof *intake);
    intake->flash = flash;
    intake->zstd = ZSTD_createDCtx();
    return intake->zstd == NULL ? -1 : 0;
}

void intake_free(struct intake *intake)
{
    ZSTD_freeDCtx(intake->zstd);
    free(intake->scratch);
}

/* Under lock: may one more block be under way? */
static bool has_room(const struct flash *flash, uint32_t index)
{
    if (flash_is_staging(flash, index))
        return flash->wanted_bytes < FLASH_STAGE_WINDOW;
    return flash->wanted_count < flash->pool_free_count;
}

uint32_t intake_next(struct intake *intake, struct want_range *ranges, uint32_t max)
{
    struct flash *flash = intake->flash;
    uint32_t count = 0;
    pthread_mutex_lock(&flash->lock);
    while (flash->wanted_count < flash->need_count && !flash->cancelled) {
        uint32_t i = flash->want_cursor;
        while (i < flash->manifest.block_count &&
               (flash->state[i] & (BLOCK_NEED | BLOCK_WANTED)) != BLOCK_NEED)
            i++;
        flash->want_cursor = i;
        if (i >= flash->manifest.block_count || !has_room(flash, i))
            break;
        bool extends = count > 0 && ranges[count - 1].first + ranges[count - 1].count == i;
        if (!extends && count == max)
            break;
        if (extends)
            ranges[count - 1].count++;
        else
            ranges[count++] = (struct want_range){.first = i, .count = 1};
        flash->state[i] |= BLOCK_WANTED;
        flash->wanted_count++;
        flash->wanted_bytes += flash->entries[i].wire_size;
    }
    pthread_mutex_unlock(&flash->lock);
    return count;
}

void intake_forget(struct intake *intake)
{
    struct flash *flash = intake->flash;
    pthread_mutex_lock(&flash->lock);
    for (uint32_t i = 0; flash->state != NULL && i < flash->manifest.block_count; i++)
        flash->state[i] &= (uint8_t)~BLOCK_WANTED;
    flash->wanted_count = 0;
    flash->wanted_bytes = 0;
    flash->want_cursor = 0;
    pthread_mutex_unlock(&flash->lock);
}

static int unpack(ZSTD_DCtx *zstd, uint8_t encoding, const uint8_t *data, uint32_t data_size,
                  uint8_t *out, uint32_t size)
{
    if (encoding == ENCODING_RAW) {
        if (data_size != size)
            return -1;
        memcpy(out, data, size);
        return 0;
    }
    return ZSTD_decompressDCtx(zstd, out, size, data, data_size) == size ? 0 : -1;
}

int intake_unpack(ZSTD_DCtx *zstd, const struct staged *staged, uint8_t *out, uint32_t size)
{
    return unpack(zstd, staged->encoding, staged->data, staged->size, out, size);
}

/* The block is no longer under way. Under lock. */
static void settle(struct flash *flash, uint32_t index)
{
    flash->state[index] &= (uint8_t)~BLOCK_WANTED;
    flash->wanted_count--;
    flash->wanted_bytes -= flash->entries[index].wire_size;
}

static int reject(struct flash *flash, uint32_t index, struct fail *fail)
{
    pthread_mutex_lock(&flash->lock);
    settle(flash, index);
    if (index < flash->want_cursor)
        flash->want_cursor = index;
    unsigned bad = (flash->state[index] & BLOCK_BAD_MASK) / BLOCK_BAD_STEP;
    if (bad < FLASH_BAD_MAX)
        flash->state[index] += BLOCK_BAD_STEP;
    pthread_mutex_unlock(&flash->lock);
    if (bad < FLASH_BAD_MAX)
        return 0;
    fault_set(fail, FAILCODE_BLOCK, "block %u came %u times without its hash", index,
              FLASH_BAD_MAX + 1);
    return fault_remedy(fail,
                        "the controller's cache or memory is damaged: run again with --no-cache");
}

/* Under lock: stores a good block where the worker finds it. */
static int accept_block(struct flash *flash, const struct block_header *block, const uint8_t *data,
                        uint32_t size, uint8_t *pool_buffer, struct fail *fail)
{
    uint32_t i = block->index;
    if (pool_buffer == NULL) {
        struct staged **slot = flash_slot(flash, i);
        *slot = arena_add(&flash->arena, data, size, block->encoding, fail);
        if (*slot == NULL)
            return -1;
    } else {
        unsigned slot = (flash->ready_first + flash->ready_count) % FLASH_POOL_MAX;
        flash->ready[slot] = (struct ready_block){.index = i, .data = pool_buffer};
        flash->ready_count++;
    }
    settle(flash, i);
    flash->state[i] &= (uint8_t) ~(BLOCK_NEED | BLOCK_BAD_MASK);
    flash->need_count--;
    pthread_cond_broadcast(&flash->changed);
    return 0;
}

int intake_block(struct intake *intake, const struct block_header *block, const uint8_t *data,
                 uint32_t size, struct fail *fail)
{
    struct flash *flash = intake->flash;
    uint8_t *out = NULL;
    uint32_t i = block->index;
    if (!flash_is_complete(flash) || i >= flash->manifest.block_count)
        return fault_set(fail, FAILCODE_PROTOCOL, "block %u is not one of the image", i);
    if (size > flash_block_size(flash, i))
        return fault_set(fail, FAILCODE_PROTOCOL, "block %u has %u bytes, more than it may", i,
                         size);
    if (intake->scratch_size < flash->manifest.block_size) {
        free(intake->scratch);
        intake->scratch = malloc(flash->manifest.block_size);
        intake->scratch_size = intake->scratch == NULL ? 0 : flash->manifest.block_size;
        if (intake->scratch == NULL)
            return fault_set(fail, FAILCODE_MEMORY, "out of memory");
    }
    pthread_mutex_lock(&flash->lock);
    bool wanted = (flash->state[i] & BLOCK_WANTED) != 0;
    if (wanted) {
        flash->tally.blocks_received++;
        flash->tally.bytes_received += size;
        if (!flash_is_staging(flash, i))
            out = flash->pool_free[--flash->pool_free_count]; /* has_room kept one for it */
    }
    pthread_mutex_unlock(&flash->lock);
    if (!wanted)
        return 0;
    uint8_t *plain = out != NULL ? out : intake->scratch;
    if (unpack(intake->zstd, block->encoding, data, size, plain, flash_block_size(flash, i)) != 0 ||
        !flash_matches(flash, i, plain)) {
        if (out != NULL)
            flash_release(flash, out);
        return reject(flash, i, fail);
    }
    pthread_mutex_lock(&flash->lock);
    int status = accept_block(flash, block, data, size, out, fail);
    pthread_mutex_unlock(&flash->lock);
    return status;
}
