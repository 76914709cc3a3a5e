/* SPDX-License-Identifier: Apache-2.0 */
/* A reference-counted piece of memory, so that one block of the image is read once and sent to many
 * targets without a copy. Only the loop thread touches the count. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    unsigned references;
    size_t size; /* bytes in data */
    uint8_t data[];
};

/* A buffer of size bytes with one reference, or NULL when memory is short. */
struct buffer *buffer_new(size_t size);

/* A buffer holding a copy of data. */
struct buffer *buffer_copy(const void *data, size_t size);

/* Takes another reference and returns the same buffer. */
struct buffer *buffer_ref(struct buffer *buffer);

/* Gives a reference back; the last one frees. NULL is allowed. */
void buffer_unref(struct buffer *buffer);

#endif
