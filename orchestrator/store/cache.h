/* SPDX-License-Identifier: Apache-2.0 */
/* The cache directory: finished spool files by the content they were made from, unfinished ones
 * under a lock, and notes of which file on disk has which content. The rules are in docs/store.md.
 *
 * All functions block and belong on the builder's thread. */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include "base/error.h"
#include "source/source.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CACHE_LIMIT_DEFAULT (20ull << 30)
#define CACHE_NAME_MAX      128u /* of a file in the directory */

struct cache {
    int dir_fd;
    char dir[PATH_MAX];
    uint64_t limit;
};

/* A spool file being built: exclusively locked, thrown away unless committed. */
struct cache_partial {
    int fd;                    /* the cache's until commit hands it out */
    char name[CACHE_NAME_MAX]; /* "": it has no name (--no-cache) */
};

/* Creates the directory where needed (0700) and removes what dead processes left. 0 or -1 with err.
 */
int cache_open(struct cache *cache, const char *dir, uint64_t limit, struct error *err);
void cache_close(struct cache *cache);

/* The content (64 hex digits) this very file had last time; false when not known. */
bool cache_recall(struct cache *cache, const struct source_identity *identity, char sha256[65]);

/* Notes it, unless the file was changed so recently that it could change again unseen. */
void cache_remember(struct cache *cache, const struct source_identity *identity,
                    const char *sha256);

/* Was that content verified with the keys and signatures that tag (64 hex digits) stands for? Then
 * signers (of size bytes) says whose they were. */
bool cache_is_verified(struct cache *cache, const char *sha256, const char *tag, char *signers,
                       size_t size);

/* Notes it. */
void cache_note_verified(struct cache *cache, const char *sha256, const char *tag,
                         const char *signers);

/* Is there a spool file made from a file of that size? Then it is worth reading the file's sha256
 * before decoding it. */
bool cache_has_size(struct cache *cache, uint64_t size);

/* What a spool file was made from: the source's sha256 and, where there was one, the key of its
 * block map. */
#define CACHE_CONTENT_MAX 96u

/* The finished spool file for this content, locked against eviction as long as it is open; -1:
 * none. */
int cache_find(struct cache *cache, const char *content, uint64_t size);

/* Removes it: it was found damaged. */
void cache_remove(struct cache *cache, const char *content, uint64_t size);

/* Starts a file. Where another process builds from the same source, waits for it and returns 0:
 * look again. 1: partial is ready; -1 with err (ERROR_CANCELLED too). identity may be unknown (a
 * pipe). */
int cache_begin(struct cache *cache, const struct source_identity *identity,
                struct cache_partial *partial, const atomic_bool *cancelled, struct error *err);

/* Starts one without a name that disappears when it is closed. 0 or -1 with err. */
int cache_begin_unnamed(struct cache *cache, struct cache_partial *partial, struct error *err);

/* Gives the finished file its name and hands out its descriptor. Returns it or -1 with err. */
int cache_commit(struct cache *cache, struct cache_partial *partial, const char *content,
                 uint64_t size, struct error *err);

/* Removes it. Harmless after commit. */
void cache_abandon(struct cache *cache, struct cache_partial *partial);

/* Removes files that are not in use, the longest unused first, until the rest takes at most limit
 * bytes. Returns how many bytes went. */
uint64_t cache_evict(struct cache *cache, uint64_t limit);

/* Sets err for a failed write to the cache (error is an errno); written: bytes so far. Returns -1.
 */
int cache_write_failed(const struct cache *cache, int error, uint64_t written, struct error *err);

#endif
