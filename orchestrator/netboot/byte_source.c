/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/byte_source.h"

#include <stdlib.h>
#include <string.h>

struct memory_source {
    struct byte_source base;
    struct buffer *data;
};

static ssize_t memory_read(struct byte_source *source, uint64_t offset, uint8_t *out, size_t size,
                           struct error *err)
{
    (void)err;
    const struct buffer *data = ((struct memory_source *)source)->data;
    if (offset >= data->size)
        return 0;
    size_t left = data->size - (size_t)offset;
    size_t count = size < left ? size : left;
    memcpy(out, data->data + offset, count);
    return (ssize_t)count;
}

static void memory_close(struct byte_source *source)
{
    buffer_unref(((struct memory_source *)source)->data);
    free(source);
}

struct byte_source *source_memory_new(struct buffer *data)
{
    static const struct source_ops ops = {.read = memory_read, .close = memory_close};
    struct memory_source *source = calloc(1, sizeof *source);
    if (source == NULL)
        return NULL;
    source->base.ops = &ops;
    source->base.size = (int64_t)data->size;
    source->data = buffer_ref(data);
    return &source->base;
}
