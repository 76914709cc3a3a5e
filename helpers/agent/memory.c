/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include "fault.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_SIZE (1024u * 1024u)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
};

static int parse_line(const char *text, const char *key, uint64_t *bytes)
{
    const char *line = strstr(text, key);
    unsigned long long kilobytes;
    if (line == NULL || sscanf(line + strlen(key), " %llu kB", &kilobytes) != 1)
        return -1;
    *bytes = kilobytes * 1024;
    return 0;
}

int memory_parse(const char *text, struct memory_info *info)
{
    if (parse_line(text, "MemTotal:", &info->total) != 0)
        return -1;
    /* Kernels before 3.14 do not estimate it; free memory alone is the safe answer. */
    if (parse_line(text, "MemAvailable:", &info->available) == 0)
        return 0;
    return parse_line(text, "MemFree:", &info->available);
}

int memory_read(struct memory_info *info)
{
    char text[4096];
    if (text_read("/proc/meminfo", text, sizeof text) <= 0)
        return -1;
    return memory_parse(text, info);
}

static int arena_grow(struct arena *arena, size_t least, struct fail *fail)
{
    struct memory_info info;
    size_t size = least + sizeof(struct arena_chunk) > CHUNK_SIZE
                      ? (least + sizeof(struct arena_chunk) + 4095) / 4096 * 4096
                      : CHUNK_SIZE;
    if (arena->floor > 0 && memory_read(&info) == 0 && info.available < arena->floor + size) {
        fault_set(fail, FAILCODE_MEMORY,
                  "memory ran short while staging: %llu MiB held, %llu MiB available",
                  (unsigned long long)(arena->total >> 20),
                  (unsigned long long)(info.available >> 20));
        return fault_remedy(fail, "use mode stream or auto, or stop services that use memory");
    }
    struct arena_chunk *chunk =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return fault_set(fail, FAILCODE_MEMORY, "no memory to stage a block: %s", strerror(errno));
    if (mlock(chunk, size) != 0 && arena->must_lock) {
        int error = errno;
        munmap(chunk, size);
        return fault_set(fail, FAILCODE_MEMORY, "staged memory cannot be locked: %s",
                         strerror(error));
    }
    chunk->next = arena->chunks;
    chunk->size = size;
    arena->chunks = chunk;
    arena->at = (uint8_t *)(chunk + 1);
    arena->left = size - sizeof *chunk;
    arena->total += size;
    return 0;
}

struct staged *arena_add(struct arena *arena, const void *data, uint32_t size, uint8_t encoding,
                         struct fail *fail)
{
    size_t need = (sizeof(struct staged) + size + 7) / 8 * 8;
    if (need > arena->left && arena_grow(arena, need, fail) != 0)
        return NULL;
    struct staged *staged = (struct staged *)(void *)arena->at;
    staged->size = size;
    staged->encoding = encoding;
    memcpy(staged->data, data, size);
    arena->at += need;
    arena->left -= need;
    return staged;
}

void arena_free(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *next = arena->chunks->next;
        munmap(arena->chunks, arena->chunks->size);
        arena->chunks = next;
    }
    arena->at = NULL;
    arena->left = 0;
    arena->total = 0;
}
