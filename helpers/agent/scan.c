/* SPDX-License-Identifier: Apache-2.0 */
#include "scan.h"

#include "fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_CHUNKS  64u /* spread evenly: 64 MiB */
#define SAMPLE_LEAST   32u /* blocks with data that a verdict needs */
#define COMMON_PERCENT 10u /* below: not worth reading the rest */

int scan_init(struct scan *scan, struct disk *disk, struct flash *flash, struct fail *fail)
{
    memset(scan, 0, sizeof *scan);
    scan->disk = disk;
    scan->flash = flash;
    if (posix_memalign((void **)&scan->buffer, DISK_ALIGN, SCAN_CHUNK) == 0)
        return 0;
    scan->buffer = NULL;
    return fault_set(fail, FAILCODE_MEMORY, "out of memory");
}

void scan_free(struct scan *scan)
{
    free(scan->buffer);
    scan->buffer = NULL;
}

/* Block by block where the whole piece could not be read. */
static int compare_singly(struct scan *scan, struct scan_chunk *chunk, bool tolerant,
                          struct fail *fail)
{
    const struct flash *flash = scan->flash;
    for (uint32_t k = 0; k < chunk->count; k++) {
        uint32_t i = chunk->first + k;
        uint8_t *data = scan->buffer + (size_t)k * flash->manifest.block_size;
        uint64_t offset = flash_offset(flash, i);
        if (!chunk->compared[k])
            continue;
        bool ok = disk_read(scan->disk, data, flash_block_size(flash, i), offset) == 0;
        if (!ok && !tolerant)
            return fault_set(fail, FAILCODE_IO, "cannot read %s at byte %llu: %s", scan->disk->path,
                             (unsigned long long)offset, strerror(errno));
        chunk->same[k] = ok && flash_matches(flash, i, data);
    }
    return 0;
}

int scan_next(struct scan *scan, uint32_t first, uint32_t limit, bool tolerant,
              struct scan_chunk *chunk, struct fail *fail)
{
    const struct flash *flash = scan->flash;
    uint32_t block_size = flash->manifest.block_size, per_chunk = SCAN_CHUNK / block_size;
    uint32_t end = first - first % per_chunk + per_chunk, mapped = 0;
    memset(chunk, 0, sizeof *chunk);
    if (end > limit)
        end = limit;
    if (end > flash->manifest.block_count)
        end = flash->manifest.block_count;
    chunk->first = first;
    chunk->count = end - first;
    size_t size = 0;
    for (uint32_t k = 0; k < chunk->count; k++) {
        chunk->compared[k] = !flash_is_unmapped(flash, first + k);
        chunk->data[k] = scan->buffer + (size_t)k * block_size;
        mapped += chunk->compared[k];
        size += flash_block_size(flash, first + k);
    }
    if (mapped == 0)
        return 0;
    if (mapped < chunk->count ||
        disk_read(scan->disk, scan->buffer, size, flash_offset(flash, first)) != 0)
        return compare_singly(scan, chunk, tolerant, fail);
    for (uint32_t k = 0; k < chunk->count; k++)
        chunk->same[k] = flash_matches(flash, first + k, chunk->data[k]);
    return 0;
}

/* Blocks of zeros are alike on most disks and say nothing. */
static int looks_fresh(struct scan *scan, bool *fresh, struct fail *fail)
{
    struct flash *flash = scan->flash;
    uint32_t count = flash->manifest.block_count,
             per_chunk = SCAN_CHUNK / flash->manifest.block_size;
    uint32_t chunks = count / per_chunk, seen = 0, same = 0;
    *fresh = false;
    if (chunks < 4 * SAMPLE_CHUNKS) /* reading it all takes hardly longer */
        return 0;
    for (uint32_t n = 0; n < SAMPLE_CHUNKS; n++) {
        struct scan_chunk chunk;
        uint32_t first = (uint32_t)((uint64_t)chunks * n / SAMPLE_CHUNKS) * per_chunk;
        if (flash_is_cancelled(flash, fail) ||
            scan_next(scan, first, count, true, &chunk, fail) != 0)
            return -1;
        for (uint32_t k = 0; k < chunk.count; k++) {
            if (!chunk.compared[k] || flash_is_zero(flash, first + k))
                continue;
            seen++;
            same += chunk.same[k];
        }
    }
    *fresh = seen >= SAMPLE_LEAST && same * 100 < seen * COMMON_PERCENT;
    return 0;
}

static void count_differing(struct scan *scan, uint32_t index, bool need,
                            struct scan_result *result)
{
    struct flash *flash = scan->flash;
    result->differing++;
    if (flash_is_zero(flash, index))
        return;
    result->travelling++;
    result->wire_bytes += flash->entries[index].wire_size;
    if (need)
        flash_need(flash, index);
}

int scan_run(struct scan *scan, bool need, const struct report *report, struct scan_result *result,
             struct fail *fail)
{
    struct flash *flash = scan->flash;
    uint32_t count = flash->manifest.block_count;
    memset(result, 0, sizeof *result);
    atomic_store(&flash->done, 0);
    atomic_store(&flash->total, count);
    result->fresh = flash->force;
    if (!flash->force && looks_fresh(scan, &result->fresh, fail) != 0)
        return -1;
    if (result->fresh) {
        report_log(report, LOG_INFO, "%s; the whole image is written",
                   flash->force ? "not compared, as asked" : "the disk has little of the image");
        for (uint32_t i = 0; i < count; i++)
            if (!flash_is_unmapped(flash, i))
                count_differing(scan, i, need, result);
        atomic_store(&flash->done, count);
        return 0;
    }
    for (uint32_t first = 0; first < count;) {
        struct scan_chunk chunk;
        if (flash_is_cancelled(flash, fail) ||
            scan_next(scan, first, count, true, &chunk, fail) != 0)
            return -1;
        for (uint32_t k = 0; k < chunk.count; k++) {
            if (!chunk.compared[k])
                continue;
            if (chunk.same[k])
                flash_set_state(flash, first + k, BLOCK_SAME, 0);
            else
                count_differing(scan, first + k, need, result);
        }
        first += chunk.count;
        atomic_store(&flash->done, first);
    }
    return 0;
}
