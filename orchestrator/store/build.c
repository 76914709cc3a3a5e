/* SPDX-License-Identifier: Apache-2.0 */
#include "store/build.h"

#include "image/judge.h"
#include "store/effort.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define WORKERS     2u
#define PIECES      8u         /* decoded blocks under way: 1 MiB */
#define FLUSH_BYTES (8u << 20) /* written back early, so that the sync at the end is short */

struct piece {
    struct piece *next;
    uint32_t index;
    size_t size;
    bool unmapped; /* says the block map */
    uint8_t data[STORE_BLOCK_SIZE];
};

struct build {
    struct spool *spool;
    struct cache *cache;
    struct build_progress *progress;
    pthread_mutex_t mutex; /* guards everything below, and spool's tables and data_end */
    pthread_cond_t filled; /* a worker may go on */
    pthread_cond_t freed;  /* the decoder may go on */
    struct piece *free, *full, **full_tail;
    bool ended, failed;
    struct error err; /* the first one */
    uint64_t flushed;
    uint8_t zero_hash[PROTOCOL_HASH_SIZE]; /* of a whole block of zeros */
};

/* A worker's own things. */
struct build_worker {
    ZSTD_CCtx *context;
    int level;
    uint8_t out[ZSTD_COMPRESSBOUND(STORE_BLOCK_SIZE)];
};

/* What becomes of a piece. */
struct stored {
    struct manifest_entry entry;
    struct spool_place place;
    const uint8_t *bytes;
};

static void build_fail(struct build *build, const struct error *err)
{
    pthread_mutex_lock(&build->mutex);
    if (!build->failed)
        build->err = *err;
    build->failed = true;
    pthread_cond_broadcast(&build->filled);
    pthread_cond_broadcast(&build->freed);
    pthread_mutex_unlock(&build->mutex);
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Hashes and compresses; what hardly shrinks is stored as it is, so that devices save the work. */
static int piece_encode(const struct build *build, struct build_worker *worker,
                        const struct piece *piece, struct stored *stored, struct error *err)
{
    memset(&stored->place, 0, sizeof stored->place);
    stored->entry.wire_size = 0;
    bool zero = is_zero(piece->data, piece->size);
    /* What holds data is never left out, whatever a map says. */
    if (zero && piece->unmapped) {
        memset(stored->entry.hash, 0, PROTOCOL_HASH_SIZE);
        return 0;
    }
    if (zero && piece->size == STORE_BLOCK_SIZE) {
        memcpy(stored->entry.hash, build->zero_hash, PROTOCOL_HASH_SIZE);
        return 0;
    }
    crypto_generichash(stored->entry.hash, PROTOCOL_HASH_SIZE, piece->data, piece->size, NULL, 0);
    if (zero)
        return 0;
    size_t size = ZSTD_compressCCtx(worker->context, worker->out, sizeof worker->out, piece->data,
                                    piece->size, worker->level);
    if (ZSTD_isError(size))
        return error_set(err, ERROR_IO, "cannot compress: %s", ZSTD_getErrorName(size));
    bool shrunk = size < piece->size - piece->size / 32;
    stored->bytes = shrunk ? worker->out : piece->data;
    stored->entry.wire_size = (uint32_t)(shrunk ? size : piece->size);
    stored->place.encoding = shrunk ? ENCODING_ZSTD : ENCODING_RAW;
    stored->place.check = lzma_crc64(stored->bytes, stored->entry.wire_size, 0);
    return 0;
}

/* Makes room by removing unused cached images and writes again; one worker at a time, as both may
 * find the file system full. */
static int stored_rewrite(struct build *build, const struct stored *stored)
{
    pthread_mutex_lock(&build->mutex);
    cache_evict(build->cache, 0);
    int result =
        spool_write(build->spool->fd, stored->bytes, stored->entry.wire_size, stored->place.offset);
    pthread_mutex_unlock(&build->mutex);
    return result;
}

/* Writes where nobody else does. */
static int stored_write(struct build *build, const struct stored *stored, struct error *err)
{
    size_t size = stored->entry.wire_size;
    if (spool_write(build->spool->fd, stored->bytes, size, stored->place.offset) == 0 ||
        (errno == ENOSPC && stored_rewrite(build, stored) == 0))
        return 0;
    return cache_write_failed(build->cache, errno, stored->place.offset + size, err);
}

static int piece_store(struct build *build, struct build_worker *worker, const struct piece *piece,
                       struct error *err)
{
    struct stored stored;
    struct spool *spool = build->spool;
    uint64_t flush_from = 0, flush_size = 0;
    if (piece_encode(build, worker, piece, &stored, err) < 0)
        return -1;
    pthread_mutex_lock(&build->mutex);
    stored.place.offset = spool->head.data_end;
    spool->head.data_end += stored.entry.wire_size;
    spool->entries[piece->index] = stored.entry;
    spool->places[piece->index] = stored.place;
    if (stored.place.offset > build->flushed + FLUSH_BYTES) {
        flush_from = build->flushed;
        flush_size = stored.place.offset - flush_from;
        build->flushed = stored.place.offset;
    }
    pthread_mutex_unlock(&build->mutex);
    if (stored.entry.wire_size > 0 && stored_write(build, &stored, err) < 0)
        return -1;
    if (flush_size > 0)
        sync_file_range(spool->fd, (off_t)flush_from, (off_t)flush_size, SYNC_FILE_RANGE_WRITE);
    return 0;
}

/* The next decoded piece, and the level for it; NULL: no more will come. */
static struct piece *take_full(struct build *build, struct build_worker *worker)
{
    pthread_mutex_lock(&build->mutex);
    bool waited = build->full == NULL;
    while (build->full == NULL && !build->ended && !build->failed)
        pthread_cond_wait(&build->filled, &build->mutex);
    struct piece *piece = build->failed ? NULL : build->full;
    worker->level = effort_next(worker->level, waited, build->free == NULL);
    if (piece != NULL) {
        build->full = piece->next;
        if (build->full == NULL)
            build->full_tail = &build->full;
    }
    pthread_mutex_unlock(&build->mutex);
    return piece;
}

static void give_free(struct build *build, struct piece *piece)
{
    pthread_mutex_lock(&build->mutex);
    piece->next = build->free;
    build->free = piece;
    pthread_cond_signal(&build->freed);
    pthread_mutex_unlock(&build->mutex);
}

static void *worker_main(void *arg)
{
    struct build *build = arg;
    struct error err = {0};
    struct build_worker *worker = calloc(1, sizeof *worker);
    if (worker != NULL) {
        worker->context = ZSTD_createCCtx();
        worker->level = EFFORT_LEAST;
    }
    if (worker == NULL || worker->context == NULL) {
        error_set(&err, ERROR_IO, "out of memory");
        build_fail(build, &err);
        free(worker);
        return NULL;
    }
    for (struct piece *piece; (piece = take_full(build, worker)) != NULL;) {
        int result = piece_store(build, worker, piece, &err);
        give_free(build, piece);
        if (result < 0)
            build_fail(build, &err);
    }
    ZSTD_freeCCtx(worker->context);
    free(worker);
    return NULL;
}

/* A piece to decode into, NULL when the build has failed. */
static struct piece *take_free(struct build *build)
{
    pthread_mutex_lock(&build->mutex);
    while (build->free == NULL && !build->failed)
        pthread_cond_wait(&build->freed, &build->mutex);
    struct piece *piece = build->failed ? NULL : build->free;
    if (piece != NULL)
        build->free = piece->next;
    pthread_mutex_unlock(&build->mutex);
    return piece;
}

static int give_full(struct build *build, struct piece *piece, struct error *err)
{
    pthread_mutex_lock(&build->mutex);
    int result = spool_reserve(build->spool, piece->index, err);
    piece->next = NULL;
    *build->full_tail = piece;
    build->full_tail = &piece->next;
    pthread_cond_signal(&build->filled);
    pthread_mutex_unlock(&build->mutex);
    return result;
}

/* Collects the image's first bytes and has them judged as soon as there are enough. */
struct opening {
    uint8_t *head;
    size_t size;
    bool judged;
};

static int opening_feed(struct opening *opening, struct decoder *decoder, struct source *source,
                        const struct piece *piece, bool last, struct error *err)
{
    if (opening->judged)
        return 0;
    size_t take = JUDGE_HEAD - opening->size;
    if (take > piece->size)
        take = piece->size;
    memcpy(opening->head + opening->size, piece->data, take);
    opening->size += take;
    if (opening->size < JUDGE_HEAD && !last)
        return 0;
    opening->judged = true;
    return image_judge(opening->head, opening->size, source->name, decoder_format(decoder), err);
}

static int decode_all(struct build *build, struct decoder *decoder, struct source *source,
                      struct bmap *bmap, struct opening *opening, struct error *err)
{
    uint64_t size = 0;
    for (bool last = false; !last;) {
        struct piece *piece = take_free(build);
        if (piece == NULL)
            return -1; /* a worker's error stands in build */
        if (atomic_load(&build->progress->cancelled))
            return error_set(err, ERROR_CANCELLED, "preparing the image was cancelled");
        ssize_t got = decoder_read(decoder, piece->data, STORE_BLOCK_SIZE, err);
        if (got < 0)
            return -1;
        piece->size = (size_t)got;
        piece->index = (uint32_t)(size / STORE_BLOCK_SIZE);
        piece->unmapped = bmap != NULL && bmap_is_unmapped(bmap, size, piece->size);
        last = piece->size < STORE_BLOCK_SIZE;
        size += piece->size;
        atomic_store(&build->progress->decoded, size);
        atomic_store(&build->progress->done, source->offset);
        if (opening_feed(opening, decoder, source, piece, last, err) < 0)
            return -1;
        if (size > SPOOL_IMAGE_MAX)
            return error_set(err, ERROR_USAGE, "%s is larger than %llu TiB when decoded",
                             source->name, (unsigned long long)(SPOOL_IMAGE_MAX >> 40));
        if (bmap != NULL && bmap_feed(bmap, piece->data, piece->size, err) < 0)
            return -1;
        if (piece->size > 0 && give_full(build, piece, err) < 0)
            return -1;
    }
    build->spool->head.image_size = size;
    if (bmap != NULL && bmap_finish(bmap, err) < 0)
        return -1;
    return image_judge_size(size, source->name, decoder_format(decoder), err);
}

static void build_end(struct build *build)
{
    pthread_mutex_lock(&build->mutex);
    build->ended = true;
    pthread_cond_broadcast(&build->filled);
    pthread_mutex_unlock(&build->mutex);
}

static void build_init(struct build *build, struct piece *pieces)
{
    pthread_mutex_init(&build->mutex, NULL);
    pthread_cond_init(&build->filled, NULL);
    pthread_cond_init(&build->freed, NULL);
    build->full_tail = &build->full;
    build->flushed = build->spool->head.data_end;
    for (unsigned i = 0; i < PIECES; i++) {
        pieces[i].next = build->free;
        build->free = &pieces[i];
    }
    memset(pieces[0].data, 0, STORE_BLOCK_SIZE);
    crypto_generichash(build->zero_hash, PROTOCOL_HASH_SIZE, pieces[0].data, STORE_BLOCK_SIZE, NULL,
                       0);
}

int build_blocks(struct decoder *decoder, struct source *source, struct bmap *bmap,
                 struct spool *spool, struct cache *cache, struct build_progress *progress,
                 struct error *err)
{
    struct build build = {.spool = spool, .cache = cache, .progress = progress};
    struct piece *pieces = malloc(PIECES * sizeof *pieces);
    struct opening opening = {.head = malloc(JUDGE_HEAD)};
    pthread_t threads[WORKERS];
    unsigned started = 0;
    struct error mine = {0};
    int result = -1;
    if (pieces == NULL || opening.head == NULL) {
        free(pieces);
        free(opening.head);
        return error_set(err, ERROR_IO, "out of memory");
    }
    build_init(&build, pieces);
    while (started < WORKERS && pthread_create(&threads[started], NULL, worker_main, &build) == 0)
        started++;
    if (started == 0)
        error_set(&mine, ERROR_IO, "cannot start a thread");
    else
        result = decode_all(&build, decoder, source, bmap, &opening, &mine);
    if (result < 0 && mine.cls != ERROR_NONE)
        build_fail(&build, &mine);
    build_end(&build);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (build.failed) {
        *err = build.err;
        result = -1;
    }
    pthread_cond_destroy(&build.filled);
    pthread_cond_destroy(&build.freed);
    pthread_mutex_destroy(&build.mutex);
    free(opening.head);
    free(pieces);
    return result;
}
