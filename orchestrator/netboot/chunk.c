/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/chunk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define KEPT_BYTES (8u << 20) /* of chunks that nobody waits for */
#define COST_MIN   (32u << 10)
#define WORKS_MAX  4u /* on threads at once: the pool also reads blocks and resolves names */

enum chunk_state {
    CHUNK_FETCHING, /* the store reads */
    CHUNK_QUEUED,   /* waits for a thread */
    CHUNK_WORKING,  /* a thread has it */
    CHUNK_READY,
};

struct chunk {
    struct chunk *next; /* in pool.chunks, the last used first */
    struct chunk_pool *pool;
    struct chunk_key key;
    enum chunk_state state;
    struct store_fetch *fetch;
    struct buffer *wire; /* as the store has it */
    enum block_encoding encoding;
    uint32_t block_size; /* decoded */
    struct buffer *data; /* with CHUNK_READY, unless err is set */
    uint32_t crc;
    struct error err;
    struct chunk_wish *wishes;
    uv_work_t work;
};

struct chunk_wish {
    struct chunk_wish *next;
    struct chunk *chunk;
    chunk_callback callback;
    void *arg;
};

struct chunk_pool {
    uv_loop_t *loop;
    struct store *store; /* not touched once closing */
    struct chunk *chunks;
    size_t kept;     /* bytes of chunks that are ready */
    unsigned works;  /* on threads */
    uv_async_t wake; /* some wishes can be answered, or the pool be freed */
    bool closing;
};

/* --- on a thread --------------------------------------------------------------------- */

/* Z_FULL_FLUSH ends on a byte and forgets what came before: any such pieces make one stream. */
static struct buffer *chunk_deflate(const uint8_t *data, uint32_t size)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = size};
    if (deflateInit2(&stream, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    uLong room = deflateBound(&stream, size) + 16; /* the flush */
    uint8_t *out = malloc(room);
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    bool whole = out != NULL && deflate(&stream, Z_FULL_FLUSH) == Z_OK && stream.avail_in == 0;
    struct buffer *data_out = whole ? buffer_copy(out, stream.total_out) : NULL;
    deflateEnd(&stream);
    free(out);
    return data_out;
}

/* The block as it is in the image: in wire, or in *unpacked, which the caller frees. */
static const uint8_t *chunk_unpack(struct chunk *chunk, uint8_t **unpacked)
{
    *unpacked = NULL;
    if (chunk->encoding == ENCODING_RAW)
        return chunk->wire->data;
    *unpacked = malloc(chunk->block_size);
    if (*unpacked == NULL)
        error_set(&chunk->err, ERROR_IO, "out of memory");
    else if (ZSTD_decompress(*unpacked, chunk->block_size, chunk->wire->data, chunk->wire->size) !=
             chunk->block_size)
        error_set(&chunk->err, ERROR_IO, "block %u of the cached image does not decompress",
                  chunk->key.block);
    else
        return *unpacked;
    return NULL;
}

static void chunk_work(uv_work_t *work)
{
    struct chunk *chunk = work->data;
    uint32_t size = chunk->key.to - chunk->key.from;
    uint8_t *unpacked;
    const uint8_t *block = chunk_unpack(chunk, &unpacked);
    if (block != NULL) {
        const uint8_t *data = block + chunk->key.from;
        chunk->crc = (uint32_t)crc32(0, data, size);
        chunk->data = chunk->key.deflated ? chunk_deflate(data, size) : buffer_copy(data, size);
        if (chunk->data == NULL)
            error_set(&chunk->err, ERROR_IO, "out of memory");
    }
    free(unpacked);
}

/* --- the pool ------------------------------------------------------------------------ */

/* What it takes in memory; tiny ones must not come for free, nor make the list long. */
static size_t chunk_cost(const struct chunk *chunk)
{
    return chunk->data != NULL ? chunk->data->size + COST_MIN : 0;
}

static void chunk_free(struct chunk *chunk)
{
    struct chunk **at = &chunk->pool->chunks;
    while (*at != chunk)
        at = &(*at)->next;
    *at = chunk->next;
    chunk->pool->kept -= chunk_cost(chunk);
    store_fetch_cancel(chunk->fetch);
    buffer_unref(chunk->wire);
    buffer_unref(chunk->data);
    free(chunk);
}

/* Forgets the longest unused chunks that nobody waits for. */
static void pool_trim(struct chunk_pool *pool)
{
    while (pool->kept > KEPT_BYTES) {
        struct chunk *oldest = NULL;
        for (struct chunk *chunk = pool->chunks; chunk != NULL; chunk = chunk->next)
            if (chunk->state == CHUNK_READY && chunk->wishes == NULL)
                oldest = chunk;
        if (oldest == NULL)
            return;
        chunk_free(oldest);
    }
}

static void wake_closed_callback(uv_handle_t *handle)
{
    free(handle->data);
}

/* Ends a closed pool once no thread has anything of it. */
static void pool_settle(struct chunk_pool *pool)
{
    if (!pool->closing || pool->works > 0 || uv_is_closing((uv_handle_t *)&pool->wake))
        return;
    while (pool->chunks != NULL)
        chunk_free(pool->chunks);
    uv_close((uv_handle_t *)&pool->wake, wake_closed_callback);
}

static void chunk_done(struct chunk *chunk)
{
    chunk->state = CHUNK_READY;
    buffer_unref(chunk->wire);
    chunk->wire = NULL;
    chunk->pool->kept += chunk_cost(chunk);
    uv_async_send(&chunk->pool->wake);
}

static void works_start(struct chunk_pool *pool);

static void work_done_callback(uv_work_t *work, int status)
{
    struct chunk *chunk = work->data;
    struct chunk_pool *pool = chunk->pool;
    pool->works--;
    if (status != 0 && chunk->err.cls == ERROR_NONE)
        error_set(&chunk->err, ERROR_CANCELLED, "decompressing a block was cancelled");
    chunk_done(chunk);
    works_start(pool);
}

static void works_start(struct chunk_pool *pool)
{
    while (pool->works < WORKS_MAX && !pool->closing) {
        struct chunk *first = NULL;
        for (struct chunk *chunk = pool->chunks; chunk != NULL; chunk = chunk->next)
            if (chunk->state == CHUNK_QUEUED)
                first = chunk; /* the list's end has waited longest */
        if (first == NULL)
            return;
        first->state = CHUNK_WORKING;
        first->work.data = first;
        pool->works++;
        uv_queue_work(pool->loop, &first->work, chunk_work, work_done_callback);
    }
}

static void fetch_callback(struct buffer *data, enum block_encoding encoding,
                           const struct error *err, void *arg)
{
    struct chunk *chunk = arg;
    chunk->fetch = NULL;
    if (data == NULL) {
        chunk->err = *err;
        chunk_done(chunk);
        return;
    }
    chunk->wire = buffer_ref(data);
    chunk->encoding = encoding;
    chunk->state = CHUNK_QUEUED;
    works_start(chunk->pool);
}

static struct chunk *chunk_answerable(const struct chunk_pool *pool)
{
    struct chunk *chunk = pool->chunks;
    while (chunk != NULL && (chunk->state != CHUNK_READY || chunk->wishes == NULL))
        chunk = chunk->next;
    return chunk;
}

/* Forgets what failed and has been told, or interests nobody any more: who asks next tries again.
 */
static void pool_forget_failed(struct chunk_pool *pool)
{
    struct chunk *next;
    for (struct chunk *chunk = pool->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (chunk->state == CHUNK_READY && chunk->data == NULL && chunk->wishes == NULL)
            chunk_free(chunk);
    }
}

/* Calls back one after the other: callbacks may fetch, cancel and close. Chunks end only here. */
static void wake_callback(uv_async_t *wake)
{
    struct chunk_pool *pool = wake->data;
    for (struct chunk *chunk; !pool->closing && (chunk = chunk_answerable(pool)) != NULL;) {
        struct chunk_wish *wish = chunk->wishes;
        chunk->wishes = wish->next;
        const struct error *err = chunk->data == NULL ? &chunk->err : NULL;
        wish->callback(chunk->data, chunk->crc, err, wish->arg);
        free(wish);
    }
    pool_forget_failed(pool);
    pool_trim(pool);
    pool_settle(pool);
}

struct chunk_pool *chunk_pool_open(uv_loop_t *loop, struct store *store)
{
    struct chunk_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->loop = loop;
    pool->store = store;
    if (uv_async_init(loop, &pool->wake, wake_callback) != 0) {
        free(pool);
        return NULL;
    }
    pool->wake.data = pool;
    uv_unref((uv_handle_t *)&pool->wake); /* an idle pool keeps no loop alive */
    return pool;
}

static bool key_equals(const struct chunk_key *a, const struct chunk_key *b)
{
    return a->block == b->block && a->from == b->from && a->to == b->to &&
           a->deflated == b->deflated;
}

/* The chunk with this key, moved to the list's head; NULL: there is none. */
static struct chunk *chunk_find(struct chunk_pool *pool, const struct chunk_key *key)
{
    for (struct chunk **at = &pool->chunks; *at != NULL; at = &(*at)->next) {
        struct chunk *chunk = *at;
        if (!key_equals(&chunk->key, key))
            continue;
        if (chunk->state == CHUNK_READY) { /* the others keep their turn */
            *at = chunk->next;
            chunk->next = pool->chunks;
            pool->chunks = chunk;
        }
        return chunk;
    }
    return NULL;
}

static struct chunk *chunk_new(struct chunk_pool *pool, const struct chunk_key *key)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (chunk == NULL)
        return NULL;
    const struct store_info *info = store_info(pool->store);
    uint64_t left = info->image_size - (uint64_t)key->block * info->block_size;
    chunk->pool = pool;
    chunk->key = *key;
    chunk->block_size = left < info->block_size ? (uint32_t)left : info->block_size;
    chunk->fetch = store_fetch(pool->store, key->block, fetch_callback, chunk);
    if (chunk->fetch == NULL) {
        free(chunk);
        return NULL;
    }
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    return chunk;
}

struct chunk_wish *chunk_fetch(struct chunk_pool *pool, const struct chunk_key *key,
                               chunk_callback callback, void *arg)
{
    struct chunk_wish *wish = calloc(1, sizeof *wish);
    struct chunk *chunk = wish != NULL ? chunk_find(pool, key) : NULL;
    if (wish != NULL && chunk == NULL)
        chunk = chunk_new(pool, key);
    if (chunk == NULL) {
        free(wish);
        return NULL;
    }
    *wish = (struct chunk_wish){chunk->wishes, chunk, callback, arg};
    chunk->wishes = wish;
    if (chunk->state == CHUNK_READY)
        uv_async_send(&pool->wake);
    return wish;
}

void chunk_cancel(struct chunk_wish *wish)
{
    if (wish == NULL)
        return;
    struct chunk_wish **at = &wish->chunk->wishes;
    while (*at != wish)
        at = &(*at)->next;
    *at = wish->next;
    free(wish);
}

void chunk_pool_close(struct chunk_pool *pool)
{
    if (pool == NULL)
        return;
    /* Not the store's any more from now on; what threads have is a copy. */
    for (struct chunk *chunk = pool->chunks; chunk != NULL; chunk = chunk->next) {
        store_fetch_cancel(chunk->fetch);
        chunk->fetch = NULL;
    }
    pool->closing = true;
    uv_async_send(&pool->wake);
}
