/* SPDX-License-Identifier: Apache-2.0 */
/* What a transfer reads from: bytes in order, with a way back only as far as was not acknowledged.
 * A small file in memory is one; a part of the image (netboot/part.h) is another.
 *
 * An implementation embeds struct byte_source as its first member and fills ops. */
#ifndef NETBOOT_BYTE_SOURCE_H
#define NETBOOT_BYTE_SOURCE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct byte_source;

enum { SOURCE_FAILED = -1, SOURCE_WAIT = -2 };

struct source_ops {
    /* Copies size bytes from offset, fewer only at the end. Returns their number, SOURCE_WAIT (not
     * there yet: ready is called) or SOURCE_FAILED with err. */
    ssize_t (*read)(struct byte_source *source, uint64_t offset, uint8_t *out, size_t size,
                    struct error *err);
    /* Bytes before offset are not asked for again. NULL: nothing to do. */
    void (*release)(struct byte_source *source, uint64_t offset);
    void (*close)(struct byte_source *source);
};

struct byte_source {
    const struct source_ops *ops;
    int64_t size; /* bytes; -1: not known beforehand */
    /* Set by the reader: what was waited for may be there, or will never be. On the loop thread,
     * never inside read. */
    void (*ready)(struct byte_source *source, void *arg);
    void *arg;
};

/* A source that serves a buffer (takes a reference of its own). NULL when memory is short. */
struct byte_source *source_memory_new(struct buffer *data);

/* Frees a source. NULL is allowed. */
static inline void source_close(struct byte_source *source)
{
    if (source != NULL)
        source->ops->close(source);
}

#endif
