/* SPDX-License-Identifier: Apache-2.0 */
#include "writer.h"

#include "fault.h"
#include "intake.h"
#include "loader.h"
#include "sectors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define ZERO_STEP   (64u * 1024u * 1024u)
#define ROUNDS_MAX  3u /* of repairs after reading back */
#define WRITE_TRIES 3u /* of one write that the disk refuses */

static uint64_t offset_of(const struct writer *w, uint32_t index)
{
    return flash_offset(w->flash, index);
}

static int io_fault(const struct writer *w, const char *what, uint64_t offset, struct fail *fail)
{
    fault_set(fail, FAILCODE_IO, "cannot %s %s at byte %llu: %s", what, w->disk->path,
              (unsigned long long)offset, strerror(errno));
    return fault_remedy(fail, "the disk or card is worn out or disconnected: replace it");
}

static void spoil(struct writer *w, uint32_t index)
{
#ifdef AGENT_TEST_SWITCHES
    bool once = w->switches->corrupt_write == (int64_t)index + 1 && !*w->spoiled;
    if (!once && w->switches->corrupt_always != (int64_t)index + 1)
        return;
    *w->spoiled = true;
    if (disk_read(w->disk, w->scan.buffer, DISK_ALIGN, offset_of(w, index)) != 0)
        return;
    w->scan.buffer[17] ^= 0x40;
    disk_write(w->disk, w->scan.buffer, DISK_ALIGN, offset_of(w, index));
#else
    (void)w;
    (void)index;
#endif
}

/* Test switch: a moment in which a test can act. */
static void linger(struct writer *w, int at)
{
    if (!switch_lingers(w->switches, at))
        return;
    report_log(w->report, LOG_INFO, "test agent: lingers");
    sleep(3);
}

static void enter_phase(struct writer *w, enum agent_phase phase)
{
    report_phase(w->report, phase);
    linger(w, (int)phase);
}

static int flush_disk(struct writer *w)
{
    linger(w, SWITCH_AT_FLUSH);
    return disk_flush(w->disk);
}

static int write_block(struct writer *w, uint32_t index, const uint8_t *data, struct fail *fail)
{
    struct flash *flash = w->flash;
    uint32_t size = flash_block_size(flash, index);
    int status = -1;
    for (unsigned i = 0; i < WRITE_TRIES && status != 0; i++)
        status = disk_write(w->disk, data, size, offset_of(w, index));
    if (status != 0)
        return io_fault(w, "write", offset_of(w, index), fail);
    flash_set_state(flash, index, BLOCK_SAME | BLOCK_WRITTEN, 0);
    flash_count_written(flash, size);
    atomic_fetch_add(&flash->done, 1);
    spoil(w, index);
    return 0;
}

static int write_zeros(struct writer *w, uint32_t first, uint32_t count, struct fail *fail)
{
    struct flash *flash = w->flash;
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += flash_block_size(flash, first + i);
    if (disk_zero(w->disk, offset_of(w, first), size, w->scan.buffer, SCAN_CHUNK) != 0)
        return io_fault(w, "zero", offset_of(w, first), fail);
    for (uint32_t i = 0; i < count; i++)
        flash_set_state(flash, first + i, BLOCK_SAME | BLOCK_WRITTEN, 0);
    flash_count_written(flash, size);
    atomic_fetch_add(&flash->done, count);
    return 0;
}

static int write_staged(struct writer *w, uint32_t index, struct fail *fail)
{
    struct flash *flash = w->flash;
    const struct staged *staged = flash_staged(flash, index);
    if (staged == NULL || intake_unpack(w->zstd, staged, w->block, flash_block_size(flash, index)))
        return fault_set(fail, FAILCODE_MEMORY, "staged block %u is not whole any more", index);
    return write_block(w, index, w->block, fail);
}

static bool must_write(struct writer *w, uint32_t index)
{
    return !flash_is_unmapped(w->flash, index) && !(flash_state(w->flash, index) & BLOCK_SAME);
}

/* --- before the first byte -------------------------------------------------------------------- */

/* After this each block of the range is marked as what the fenced disk holds, and what stage mode
 * or the head still lacks was asked for. */
static int compare(struct writer *w, uint32_t first, uint32_t end, struct fail *fail)
{
    struct flash *flash = w->flash;
    while (first < end) {
        struct scan_chunk chunk;
        if (flash_is_cancelled(flash, fail) ||
            scan_next(&w->scan, first, end, true, &chunk, fail) != 0)
            return -1;
        for (uint32_t k = 0; k < chunk.count; k++) {
            uint32_t i = first + k;
            if (!chunk.compared[k])
                continue;
            bool zero = flash_is_zero(flash, i);
            flash_set_state(flash, i, chunk.same[k] ? BLOCK_SAME : 0, BLOCK_SAME);
            /* Head and tail are erased though they may be right: what they hold is kept. */
            if (flash_is_withheld(flash, i) && chunk.same[k] && !zero &&
                flash_keep(flash, i, chunk.data[k], fail) != 0)
                return -1;
            if (!chunk.same[k] && !zero && flash_is_staging(flash, i))
                flash_need(flash, i);
        }
        first += chunk.count;
        atomic_fetch_add(&flash->done, chunk.count);
    }
    return 0;
}

static int prepare(struct writer *w, struct fail *fail)
{
    struct flash *flash = w->flash;
    uint32_t count = flash->manifest.block_count;
    atomic_store(&flash->done, 0);
    atomic_store(&flash->total, count);
    if (w->fresh) {
        for (uint32_t i = 0; i < count; i++)
            if (flash_is_staging(flash, i) && !flash_is_unmapped(flash, i) &&
                !flash_is_zero(flash, i))
                flash_need(flash, i);
    } else if (compare(w, 0, w->stage ? count : flash->head_blocks, fail) != 0 ||
               (!w->stage && compare(w, flash->tail_first, count, fail) != 0)) {
        return -1;
    }
    return flash_wait_held(flash, fail);
}

/* By the blocks themselves, before the first byte is written. */
static int check_sectors(struct writer *w, struct fail *fail)
{
    const struct staged *staged = flash_staged(w->flash, 0);
    uint32_t size = flash_block_size(w->flash, 0);
    if (staged == NULL || intake_unpack(w->zstd, staged, w->block, size) != 0)
        return 0; /* zeros, or not compared */
    return sectors_check(w->disk, w->block, size, w->flash->manifest.image_size, fail);
}

/* The live system may have written another table since the disk was probed. */
static int check_loader(struct writer *w, struct fail *fail)
{
    return flash_is_shifted(w->flash) ? loader_check(w->disk, &w->flash->manifest, w->block, fail)
                                      : 0;
}

/* --- head ------------------------------------------------------------------------------------- */

static uint64_t head_start(const struct writer *w)
{
    return flash_offset(w->flash, w->flash->manifest.first_block);
}

static uint64_t head_end(const struct writer *w)
{
    uint64_t end = flash_offset(w->flash, w->flash->head_blocks);
    uint64_t whole = (flash_end(w->flash) + w->disk->align - 1) / w->disk->align * w->disk->align;
    return end < whole ? end : whole;
}

static int check_zeros(struct writer *w, uint64_t from, uint64_t to, struct fail *fail)
{
    for (uint64_t at = from; at < to; at += SCAN_CHUNK) {
        size_t n = to - at < SCAN_CHUNK ? (size_t)(to - at) : SCAN_CHUNK;
        if (disk_read(w->disk, w->scan.buffer, n, at) != 0)
            return io_fault(w, "read", at, fail);
        if (w->scan.buffer[0] != 0 || memcmp(w->scan.buffer, w->scan.buffer + 1, n - 1) != 0)
            return fault_set(fail, FAILCODE_IO, "%s does not keep zeros written at byte %llu",
                             w->disk->path, (unsigned long long)at);
    }
    return 0;
}

/* Is there a backup table in the disk's last sector? One that cannot be read may be one. */
static bool has_backup_table(struct writer *w)
{
    uint64_t sector = w->disk->logical_sector, align = w->disk->align;
    uint64_t last = (w->disk->size - sector) / align * align;
    return disk_read(w->disk, w->block, align > sector ? align : sector, last) != 0 ||
           memcmp(w->block + (w->disk->size - sector - last), "EFI PART", 8) == 0;
}

/* The part of the disk's end that must not be found by a firmware that misses the head: where the
 * image has its own table, until the rest is written; behind the image, where the old one is, for
 * good. Empty: *from == *to. */
static void find_backup_table(struct writer *w, uint64_t *from, uint64_t *to)
{
    const struct flash *flash = w->flash;
    uint64_t size = w->disk->size, align = w->disk->align;
    uint64_t table = FLASH_TAIL_SECTORS * (uint64_t)w->disk->logical_sector;
    uint64_t image_end = (flash->manifest.image_size + align - 1) / align * align;
    *from = *to = 0;
    if (flash_is_shifted(flash)) /* the table is not the image's */
        return;
    if (size < table + w->disk->logical_sector)
        return;
    bool covered = flash->manifest.image_size > size - table;
    *from = (size - table) / align * align;
    *to = has_backup_table(w) ? size : covered ? (image_end < size ? image_end : size) : *from;
    if (!covered && *from < image_end)
        *from = image_end < *to ? image_end : *to;
}

static int erase_head(struct writer *w, struct fail *fail)
{
    uint64_t start = head_start(w), end = head_end(w), from, to;
    find_backup_table(w, &from, &to);
    from = from > end ? from : end < to ? end : to; /* a disk as small as its head */
    w->destroyed = true;
    for (uint32_t i = 0; i < w->flash->manifest.block_count; i++)
        if (flash_is_withheld(w->flash, i))
            flash_set_state(w->flash, i, 0, BLOCK_SAME);
    if (disk_zero(w->disk, start, end - start, w->scan.buffer, SCAN_CHUNK) != 0)
        return io_fault(w, "zero", start, fail);
    if (from < to) {
        report_log(w->report, LOG_DEBUG, "what may be an old backup partition table is erased");
        if (disk_zero(w->disk, from, to - from, w->scan.buffer, SCAN_CHUNK) != 0)
            return io_fault(w, "zero", from, fail);
    }
    if (flush_disk(w) != 0)
        return io_fault(w, "flush", 0, fail);
    return check_zeros(w, start, end, fail) == 0 ? check_zeros(w, from, to, fail) : -1;
}

/* Writes the blocks of the range that are not there yet, from the last to the first; the very
 * first, with the partition table or the first file system, when all others are on the medium. */
static int write_backwards(struct writer *w, uint32_t first, uint32_t end, struct fail *fail)
{
    for (uint32_t i = end; i-- > first;) {
        if (!must_write(w, i))
            continue;
        if (i == w->flash->manifest.first_block && flush_disk(w) != 0)
            return io_fault(w, "flush", 0, fail);
        if ((flash_is_zero(w->flash, i) ? write_zeros(w, i, 1, fail) : write_staged(w, i, fail)) !=
            0)
            return -1;
    }
    return flush_disk(w) == 0 ? 0 : io_fault(w, "flush", 0, fail);
}

/* Head or tail: written, read back, repaired. */
static int write_withheld(struct writer *w, uint32_t first, uint32_t end, struct fail *fail)
{
    struct flash *flash = w->flash;
    for (unsigned round = 0; round <= ROUNDS_MAX && first < end; round++) {
        struct scan_chunk chunk;
        uint32_t bad = 0;
        if (write_backwards(w, first, end, fail) != 0)
            return -1;
        for (uint32_t at = first; at < end; at += chunk.count) {
            if (scan_next(&w->scan, at, end, true, &chunk, fail) != 0)
                return -1;
            for (uint32_t k = 0; k < chunk.count; k++) {
                if (!chunk.compared[k])
                    continue;
                flash->tally.bytes_verified += flash_block_size(flash, at + k);
                if (chunk.same[k])
                    continue;
                flash_set_state(flash, at + k, 0, BLOCK_SAME);
                bad++;
            }
        }
        if (bad == 0)
            return 0;
        flash->tally.blocks_repaired += bad;
    }
    if (first >= end)
        return 0;
    return fault_set(fail, FAILCODE_IO, "the %s of %s reads back wrong after %u repairs",
                     first == 0 ? "head" : "end", w->disk->path, ROUNDS_MAX);
}

/* --- body ------------------------------------------------------------------------------------- */

/* Writes what has come from the controller; wait: until all of it has come. */
static int drain(struct writer *w, bool wait, struct fail *fail)
{
    struct ready_block block;
    for (;;) {
        switch (flash_take_ready(w->flash, wait, &block)) {
        case TAKE_BLOCK: {
            int status = write_block(w, block.index, block.data, fail);
            flash_release(w->flash, block.data);
            if (status != 0)
                return -1;
            break;
        }
        case TAKE_CANCELLED:
            flash_is_cancelled(w->flash, fail);
            return -1;
        case TAKE_NOTHING:
        case TAKE_ALL_DONE:
            return 0;
        }
    }
}

/* The run of zero blocks to be written from i on. */
static uint32_t zero_run(struct writer *w, uint32_t i, uint32_t end)
{
    uint32_t n = 0;
    uint32_t step = ZERO_STEP / w->flash->manifest.block_size; /* so that progress shows */
    while (i + n < end && n < step && flash_is_zero(w->flash, i + n) && must_write(w, i + n))
        n++;
    return n;
}

/* Writes or asks for all blocks of the range that are not on the disk yet. */
static int write_range(struct writer *w, uint32_t first, uint32_t end, struct fail *fail)
{
    for (uint32_t i = first; i < end;) {
        uint32_t zeros = zero_run(w, i, end);
        if (zeros > 0 && write_zeros(w, i, zeros, fail) != 0)
            return -1;
        i += zeros;
        if (i >= end)
            break;
        if (zeros == 0 && must_write(w, i)) {
            if (flash_staged(w->flash, i) != NULL) {
                if (write_staged(w, i, fail) != 0)
                    return -1;
            } else {
                flash_need(w->flash, i);
            }
        }
        i += zeros == 0;
        if (flash_is_cancelled(w->flash, fail) || drain(w, false, fail) != 0)
            return -1;
    }
    return 0;
}

static uint32_t count_left(struct writer *w, uint32_t first, uint32_t end)
{
    uint32_t left = 0;
    for (uint32_t i = first; i < end; i++)
        left += must_write(w, i);
    return left;
}

/* Stream mode on a disk that has some of the image: compared while blocks are on their way. */
static int compare_and_write(struct writer *w, struct fail *fail)
{
    uint32_t count = w->flash->tail_first;
    uint32_t per_chunk = SCAN_CHUNK / w->flash->manifest.block_size;
    for (uint32_t first = w->flash->head_blocks; first < count;) {
        uint32_t end = first - first % per_chunk + per_chunk;
        end = end < count ? end : count;
        uint32_t before = atomic_load(&w->flash->done);
        if (compare(w, first, end, fail) != 0)
            return -1;
        /* What is right already counts as done: else the pass would end in the middle. */
        atomic_store(&w->flash->done, before + end - first - count_left(w, first, end));
        if (write_range(w, first, end, fail) != 0)
            return -1;
        first = end;
    }
    return drain(w, true, fail);
}

static int write_body(struct writer *w, struct fail *fail)
{
    uint32_t count = w->flash->tail_first;
    atomic_store(&w->flash->done, 0);
    if (!w->stage && !w->fresh) {
        atomic_store(&w->flash->total, count - w->flash->head_blocks);
        return compare_and_write(w, fail);
    }
    atomic_store(&w->flash->total, count_left(w, w->flash->head_blocks, count));
    if (write_range(w, w->flash->head_blocks, count, fail) != 0)
        return -1;
    return drain(w, true, fail);
}

/* Every block between head and tail as the medium gives it back. Returns the number of bad ones in
 * *bad.
 */
static int read_back(struct writer *w, uint32_t *bad, struct fail *fail)
{
    struct flash *flash = w->flash;
    uint32_t count = flash->tail_first;
    atomic_store(&flash->done, 0);
    atomic_store(&flash->total, count);
    *bad = 0;
    for (uint32_t first = flash->head_blocks; first < count;) {
        struct scan_chunk chunk;
        if (flash_is_cancelled(flash, fail) ||
            scan_next(&w->scan, first, count, true, &chunk, fail) != 0)
            return -1;
        for (uint32_t k = 0; k < chunk.count; k++) {
            if (!chunk.compared[k])
                continue;
            flash->tally.bytes_verified += flash_block_size(flash, first + k);
            if (chunk.same[k])
                continue;
            flash_set_state(flash, first + k, 0, BLOCK_SAME);
            (*bad)++;
        }
        first += chunk.count;
        atomic_store(&flash->done, first);
    }
    return 0;
}

static int write_and_verify(struct writer *w, struct fail *fail)
{
    uint32_t bad = 0;
    for (unsigned round = 0; round <= ROUNDS_MAX; round++) {
        enter_phase(w, PHASE_WRITING);
        int status = round == 0 ? write_body(w, fail)
                                : write_range(w, w->flash->head_blocks, w->flash->tail_first, fail);
        if (status != 0 || (round > 0 && drain(w, true, fail) != 0))
            return -1;
        if (w->stage && flash_wait_held(w->flash, fail) != 0)
            return -1;
        /* Repairs that had to be staged first. */
        if (w->stage && write_range(w, w->flash->head_blocks, w->flash->tail_first, fail))
            return -1;
        if (flush_disk(w) != 0)
            return io_fault(w, "flush", 0, fail);
        if (switch_is_on(w->switches, SWITCH_NO_READBACK))
            return 0;
        enter_phase(w, PHASE_READING_BACK);
        if (read_back(w, &bad, fail) != 0)
            return -1;
        if (bad == 0)
            return 0;
        report_log(w->report, LOG_WARNING, "%u blocks read back wrong, written again", bad);
        w->flash->tally.blocks_repaired += bad;
    }
    fault_set(fail, FAILCODE_IO, "%u blocks of %s read back wrong after %u repairs", bad,
              w->disk->path, ROUNDS_MAX);
    return fault_remedy(fail, "the disk or card is worn out or a fake: replace it");
}

static void finish_tally(struct writer *w)
{
    struct flash *flash = w->flash;
    flash->tally.blocks_same = 0;
    for (uint32_t i = 0; i < flash->manifest.block_count; i++)
        if (!flash_is_unmapped(flash, i) && !(flash_state(flash, i) & BLOCK_WRITTEN))
            flash->tally.blocks_same++;
}

int writer_run(struct writer *w, struct fail *fail)
{
    int status = -1;
    if (scan_init(&w->scan, w->disk, w->flash, fail) != 0)
        return -1;
    w->zstd = ZSTD_createDCtx();
    if (w->zstd == NULL ||
        posix_memalign((void **)&w->block, DISK_ALIGN, PROTOCOL_BLOCK_MAX) != 0) {
        w->block = NULL;
        fault_set(fail, FAILCODE_MEMORY, "out of memory");
        goto end;
    }
    if (prepare(w, fail) != 0 || check_sectors(w, fail) != 0 || check_loader(w, fail) != 0 ||
        flash_commit(w->flash, fail) != 0)
        goto end;
    guard_tell(w->guard, GUARD_INCOMPLETE);
    enter_phase(w, PHASE_ERASING_HEAD);
    if (erase_head(w, fail) != 0 || write_and_verify(w, fail) != 0)
        goto end;
    enter_phase(w, PHASE_WRITING_HEAD);
    if (write_withheld(w, w->flash->tail_first, w->flash->manifest.block_count, fail) != 0 ||
        write_withheld(w, 0, w->flash->head_blocks, fail) != 0)
        goto end;
    finish_tally(w);
    status = 0;
end:
    if (status != 0 && w->destroyed)
        fail->state = FAIL_INCOMPLETE;
    free(w->block);
    ZSTD_freeDCtx(w->zstd);
    scan_free(&w->scan);
    return status;
}
