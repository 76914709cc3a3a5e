/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the cache directory within its limit. */
#include "store/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTED_MAX 4096u

struct listed {
    char name[CACHE_NAME_MAX];
    struct timespec used;
    uint64_t size;
};

static int listed_compare(const void *left, const void *right)
{
    const struct listed *a = left, *b = right;
    if (a->used.tv_sec != b->used.tv_sec)
        return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
    return (a->used.tv_nsec > b->used.tv_nsec) - (a->used.tv_nsec < b->used.tv_nsec);
}

static bool name_is(const char *name, const char *ending)
{
    size_t size = strlen(name), tail = strlen(ending);
    return size > tail && size < sizeof((struct listed *)0)->name &&
           strcmp(name + size - tail, ending) == 0;
}

/* Files that end so, the longest unused first. */
static size_t list_files(struct cache *cache, const char *ending, struct listed *files)
{
    size_t count = 0;
    int fd = openat(cache->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL && count < LISTED_MAX;) {
        struct stat status;
        if (!name_is(entry->d_name, ending) ||
            fstatat(cache->dir_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        strcpy(files[count].name, entry->d_name);
        files[count].used = status.st_mtim;
        files[count].size = (uint64_t)status.st_blocks * 512;
        count++;
    }
    closedir(dir);
    qsort(files, count, sizeof *files, listed_compare);
    return count;
}

/* Removes a file unless someone has it open (they hold a shared lock). */
static bool remove_unused(struct cache *cache, const char *name)
{
    int fd = openat(cache->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool removed = flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(cache->dir_fd, name, 0) == 0;
    close(fd);
    return removed;
}

/* Notes about files are tiny, but without end: only the newest are kept. */
static void evict_notes(struct cache *cache, const char *ending, struct listed *files)
{
    size_t count = list_files(cache, ending, files);
    for (size_t i = 0; i + 256 < count; i++)
        unlinkat(cache->dir_fd, files[i].name, 0);
}

uint64_t cache_evict(struct cache *cache, uint64_t limit)
{
    uint64_t total = 0, removed = 0;
    struct listed *files = malloc(LISTED_MAX * sizeof *files);
    if (files == NULL)
        return 0;
    size_t count = list_files(cache, ".spool", files);
    for (size_t i = 0; i < count; i++)
        total += files[i].size;
    for (size_t i = 0; i < count && total > limit; i++) {
        if (!remove_unused(cache, files[i].name))
            continue;
        total -= files[i].size;
        removed += files[i].size;
    }
    evict_notes(cache, ".source", files);
    evict_notes(cache, ".verified", files);
    free(files);
    return removed;
}
