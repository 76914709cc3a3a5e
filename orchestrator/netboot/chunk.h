/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded pieces of the image, made on the fly from the store's blocks on uv's thread pool: once
 * for all who want one at about the same time, the last ones kept. */
#ifndef NETBOOT_CHUNK_H
#define NETBOOT_CHUNK_H

#include "base/buffer.h"
#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Which bytes: of one block of the store. */
struct chunk_key {
    uint32_t block;
    uint32_t from, to; /* bytes within the block */
    bool deflated; /* as a run of deflate blocks (RFC 1951) that end on a byte and need nothing of
                      what precedes them, none of them the final one */
};

struct chunk_pool;
struct chunk_wish;

/* data (the receiver takes its own reference) and the crc32 of the bytes before deflation, or NULL
 * and an error. On the loop thread, never inside chunk_fetch. */
typedef void (*chunk_callback)(struct buffer *data, uint32_t crc, const struct error *err,
                               void *arg);

/* NULL when memory is short. The store must not be closed before the pool. */
struct chunk_pool *chunk_pool_open(uv_loop_t *loop, struct store *store);

/* Asks for a chunk; the wish ends with the callback or with chunk_cancel. NULL when memory is
 * short; no callback comes then. */
struct chunk_wish *chunk_fetch(struct chunk_pool *pool, const struct chunk_key *key,
                               chunk_callback callback, void *arg);
void chunk_cancel(struct chunk_wish *wish);

/* Frees the pool, once what its threads are at is done; there must be no wishes left. The store may
 * be closed at once. NULL is allowed. */
void chunk_pool_close(struct chunk_pool *pool);

#endif
