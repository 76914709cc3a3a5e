/* SPDX-License-Identifier: Apache-2.0 */
#include "store/cache.h"

#include "base/units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define KEY_DIGITS 32u
#define NOTE_MAX   512u
#define WAIT_STEP  50000 /* µs between looks at another builder's lock */

static bool name_ends(const char *name, const char *ending)
{
    size_t size = strlen(name), tail = strlen(ending);
    return size > tail && strcmp(name + size - tail, ending) == 0;
}

/* Does the name still lead to the open file? */
static bool still_named(const struct cache *cache, int fd, const char *name)
{
    struct stat open_status, name_status;
    return fstat(fd, &open_status) == 0 && fstatat(cache->dir_fd, name, &name_status, 0) == 0 &&
           open_status.st_ino == name_status.st_ino && open_status.st_dev == name_status.st_dev;
}

/* mkdir -p, the last one private. */
static int directory_create(const char *dir)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return -1;
        *slash = '/';
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -1 : 0;
}

/* Calls visit for each entry of the directory. */
static void directory_walk(struct cache *cache,
                           void (*visit)(struct cache *cache, const char *name, void *arg),
                           void *arg)
{
    int fd = openat(cache->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        visit(cache, entry->d_name, arg);
    closedir(dir);
}

/* An unfinished file whose lock is free belongs to nobody any more. */
static void sweep_visit(struct cache *cache, const char *name, void *arg)
{
    (void)arg;
    if (!name_ends(name, ".partial"))
        return;
    int fd = openat(cache->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && still_named(cache, fd, name))
        unlinkat(cache->dir_fd, name, 0);
    close(fd);
}

int cache_open(struct cache *cache, const char *dir, uint64_t limit, struct error *err)
{
    cache->limit = limit != 0 ? limit : CACHE_LIMIT_DEFAULT;
    cache->dir_fd = -1;
    snprintf(cache->dir, sizeof cache->dir, "%s", dir);
    if (directory_create(dir) == 0)
        cache->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cache->dir_fd < 0) {
        error_set(err, ERROR_IO, "cannot use the cache directory %s: %s", dir, strerror(errno));
        return error_remedy(err, "choose another one with --cache-dir");
    }
    directory_walk(cache, sweep_visit, NULL);
    return 0;
}

void cache_close(struct cache *cache)
{
    if (cache->dir_fd >= 0)
        close(cache->dir_fd);
    cache->dir_fd = -1;
}

static void hex_digest(const void *data, size_t size, const char *extra, char *hex)
{
    uint8_t digest[KEY_DIGITS / 2];
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof digest);
    crypto_generichash_update(&state, data, size);
    crypto_generichash_update(&state, (const uint8_t *)extra, strlen(extra));
    crypto_generichash_final(&state, digest, sizeof digest);
    sodium_bin2hex(hex, KEY_DIGITS + 1, digest, sizeof digest);
}

/* One short name for one file in one state. */
static void identity_key(const struct source_identity *identity, char key[KEY_DIGITS + 1])
{
    char text[PATH_MAX + 128];
    int size =
        snprintf(text, sizeof text, "%llu %llu %lld %lld %s", (unsigned long long)identity->size,
                 (unsigned long long)identity->inode, (long long)identity->modified,
                 (long long)identity->changed, identity->path);
    hex_digest(text, (size_t)size, "", key);
}

/* Reads the note of that name: what stands in it before its checksum, which is over that text and
 * the key. */
static bool note_read(struct cache *cache, const char *key, const char *ending, char *text,
                      size_t text_size)
{
    char name[64], check[KEY_DIGITS + 1], all[NOTE_MAX];
    snprintf(name, sizeof name, "%s.%s", key, ending);
    int fd = openat(cache->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, all, sizeof all);
    close(fd);
    if (got < (ssize_t)KEY_DIGITS + 2 || all[got - 1] != '\n' || all[got - KEY_DIGITS - 2] != ' ')
        return false;
    size_t size = (size_t)got - KEY_DIGITS - 2;
    hex_digest(all, size, key, check);
    if (size >= text_size || memcmp(check, all + size + 1, KEY_DIGITS) != 0)
        return false;
    memcpy(text, all, size);
    text[size] = '\0';
    return true;
}

static void note_write(struct cache *cache, const char *key, const char *ending, const char *text)
{
    char check[KEY_DIGITS + 1], name[64], temporary[96], all[NOTE_MAX];
    hex_digest(text, strlen(text), key, check);
    snprintf(name, sizeof name, "%s.%s", key, ending);
    snprintf(temporary, sizeof temporary, "%s.%ld.partial", key, (long)getpid());
    int size = snprintf(all, sizeof all, "%s %s\n", text, check);
    if (size < 0 || (size_t)size >= sizeof all)
        return;
    int fd = openat(cache->dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    bool written = flock(fd, LOCK_EX | LOCK_NB) == 0 && write(fd, all, (size_t)size) == size;
    if (!written || renameat(cache->dir_fd, temporary, cache->dir_fd, name) < 0)
        unlinkat(cache->dir_fd, temporary, 0);
    close(fd);
}

bool cache_recall(struct cache *cache, const struct source_identity *identity, char sha256[65])
{
    char key[KEY_DIGITS + 1];
    identity_key(identity, key);
    return note_read(cache, key, "source", sha256, 65) && strlen(sha256) == 64;
}

/* One name for one content and all that there is to verify about it. */
static void verified_key(const char *sha256, const char *tag, char key[KEY_DIGITS + 1])
{
    hex_digest(sha256, 64, tag, key);
}

bool cache_is_verified(struct cache *cache, const char *sha256, const char *tag, char *signers,
                       size_t size)
{
    char key[KEY_DIGITS + 1];
    verified_key(sha256, tag, key);
    return note_read(cache, key, "verified", signers, size);
}

void cache_note_verified(struct cache *cache, const char *sha256, const char *tag,
                         const char *signers)
{
    char key[KEY_DIGITS + 1];
    verified_key(sha256, tag, key);
    note_write(cache, key, "verified", signers);
}

/* A change within this time may leave no mark in the file's times: they tick slowly (10 ms in
 * kernels with HZ=100, 2 s on FAT). */
static bool identity_is_settled(const struct source_identity *identity)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    age -= identity->changed > identity->modified ? identity->changed : identity->modified;
    return age > 3000000000;
}

void cache_remember(struct cache *cache, const struct source_identity *identity, const char *sha256)
{
    char key[KEY_DIGITS + 1];
    if (!identity->known || !identity_is_settled(identity))
        return;
    identity_key(identity, key);
    note_write(cache, key, "source", sha256);
}

static void spool_name(char name[CACHE_NAME_MAX], const char *content, uint64_t size)
{
    snprintf(name, CACHE_NAME_MAX, "%.90s-%llu.spool", content, (unsigned long long)size);
}

struct size_search {
    char ending[40];
    bool found;
};

static void size_visit(struct cache *cache, const char *name, void *arg)
{
    struct size_search *search = arg;
    (void)cache;
    search->found = search->found || name_ends(name, search->ending);
}

bool cache_has_size(struct cache *cache, uint64_t size)
{
    struct size_search search = {.found = false};
    snprintf(search.ending, sizeof search.ending, "-%llu.spool", (unsigned long long)size);
    directory_walk(cache, size_visit, &search);
    return search.found;
}

int cache_find(struct cache *cache, const char *content, uint64_t size)
{
    char name[CACHE_NAME_MAX];
    spool_name(name, content, size);
    int fd = openat(cache->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    flock(fd, LOCK_SH); /* an exclusive lock is only ever held for a moment, by an eviction */
    futimens(fd, NULL); /* used just now */
    return fd;
}

void cache_remove(struct cache *cache, const char *content, uint64_t size)
{
    char name[CACHE_NAME_MAX];
    spool_name(name, content, size);
    unlinkat(cache->dir_fd, name, 0);
}

/* Takes the lock of the partial file, waiting for another builder. 1: it is ours and empty; 0: it
 * was finished or removed meanwhile; -1 with err. */
static int partial_lock(struct cache *cache, struct cache_partial *partial,
                        const atomic_bool *cancelled, struct error *err)
{
    while (flock(partial->fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set(err, ERROR_IO, "cannot lock %s/%s: %s", cache->dir, partial->name,
                             strerror(errno));
        if (atomic_load(cancelled))
            return error_set(err, ERROR_CANCELLED, "waiting for another run was cancelled");
        /* The finished file stays locked (shared) as long as its builder uses it. */
        if (!still_named(cache, partial->fd, partial->name))
            return 0;
        usleep(WAIT_STEP);
    }
    if (!still_named(cache, partial->fd, partial->name))
        return 0;
    if (ftruncate(partial->fd, 0) < 0) /* a dead builder's beginnings */
        return cache_write_failed(cache, errno, 0, err);
    return 1;
}

int cache_begin(struct cache *cache, const struct source_identity *identity,
                struct cache_partial *partial, const atomic_bool *cancelled, struct error *err)
{
    char key[KEY_DIGITS + 1];
    if (identity->known)
        identity_key(identity, key);
    else {
        uint8_t random[KEY_DIGITS / 2];
        randombytes_buf(random, sizeof random);
        sodium_bin2hex(key, sizeof key, random, sizeof random);
    }
    snprintf(partial->name, sizeof partial->name, "%s.partial", key);
    partial->fd =
        openat(cache->dir_fd, partial->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (partial->fd < 0)
        return cache_write_failed(cache, errno, 0, err);
    int result = partial_lock(cache, partial, cancelled, err);
    if (result <= 0) {
        close(partial->fd);
        partial->fd = -1;
    }
    return result;
}

int cache_begin_unnamed(struct cache *cache, struct cache_partial *partial, struct error *err)
{
    char key[33];
    uint8_t random[16];
    partial->name[0] = '\0';
    partial->fd = openat(cache->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (partial->fd >= 0)
        return 0;
    /* Not every file system knows O_TMPFILE. */
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(key, sizeof key, random, sizeof random);
    snprintf(partial->name, sizeof partial->name, "%s.partial", key);
    partial->fd = openat(cache->dir_fd, partial->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (partial->fd < 0)
        return cache_write_failed(cache, errno, 0, err);
    unlinkat(cache->dir_fd, partial->name, 0);
    partial->name[0] = '\0';
    return 0;
}

int cache_commit(struct cache *cache, struct cache_partial *partial, const char *content,
                 uint64_t size, struct error *err)
{
    char name[CACHE_NAME_MAX];
    if (partial->name[0] != '\0') {
        spool_name(name, content, size);
        if (renameat(cache->dir_fd, partial->name, cache->dir_fd, name) < 0)
            return cache_write_failed(cache, errno, 0, err);
        fsync(cache->dir_fd);
        flock(partial->fd, LOCK_SH);
    }
    int fd = partial->fd;
    partial->fd = -1;
    partial->name[0] = '\0';
    return fd;
}

void cache_abandon(struct cache *cache, struct cache_partial *partial)
{
    if (partial->fd < 0)
        return;
    if (partial->name[0] != '\0')
        unlinkat(cache->dir_fd, partial->name, 0);
    close(partial->fd);
    partial->fd = -1;
}

int cache_write_failed(const struct cache *cache, int error, uint64_t written, struct error *err)
{
    struct statvfs space = {0};
    char needed[32], available[32];
    if (error != ENOSPC && error != EDQUOT && error != EFBIG) {
        error_set(err, ERROR_IO, "cannot write to the cache directory %s: %s", cache->dir,
                  strerror(error));
        return error_remedy(err, "choose another one with --cache-dir");
    }
    if (fstatvfs(cache->dir_fd, &space) < 0)
        space.f_bavail = 0;
    units_format_size(written, needed, sizeof needed);
    units_format_size(written + (uint64_t)space.f_bavail * space.f_frsize, available,
                      sizeof available);
    error_set(err, ERROR_IO,
              "no space for the prepared image: it needs more than %s, %s free in %s", needed,
              available, cache->dir);
    return error_remedy(err, "free space there or choose another directory with --cache-dir");
}
