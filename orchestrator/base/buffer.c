/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

struct buffer *buffer_new(size_t size)
{
    struct buffer *buffer = malloc(sizeof *buffer + size);
    if (buffer == NULL)
        return NULL;
    buffer->references = 1;
    buffer->size = size;
    return buffer;
}

struct buffer *buffer_copy(const void *data, size_t size)
{
    struct buffer *buffer = buffer_new(size);
    if (buffer != NULL && size > 0)
        memcpy(buffer->data, data, size);
    return buffer;
}

struct buffer *buffer_ref(struct buffer *buffer)
{
    buffer->references++;
    return buffer;
}

void buffer_unref(struct buffer *buffer)
{
    if (buffer != NULL && --buffer->references == 0)
        free(buffer);
}
