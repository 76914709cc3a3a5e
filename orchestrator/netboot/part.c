/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/part.h"

#include "netboot/chunk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Made before it is asked for: one chunk is being sent while the next one is made. */
#define AHEAD_BYTES (192u << 10)

struct parts {
    struct chunk_pool *chunks;
    struct part_layout layout; /* all set */
    uint32_t block_size;
    unsigned references; /* the owner's and the readers' */
};

/* A run of the file's bytes in memory. */
struct piece {
    struct piece *next;
    uint64_t offset; /* in the file */
    struct buffer *data;
};

struct part_reader {
    struct byte_source base;
    struct parts *parts;
    bool gzip, finished;    /* finished: nothing is to be made any more */
    uint64_t position, end; /* of the image: where the next chunk begins, where the part ends */
    uint64_t start;
    uint64_t made;   /* bytes of the file in pieces so far */
    uint64_t wanted; /* the end of the last read */
    uint32_t crc;
    struct piece *first, *last;
    struct chunk_wish *wish;
    struct error err; /* once set, nothing goes on */
};

/* --- layout -------------------------------------------------------------------------- */

uint64_t parts_total(const struct parts *parts)
{
    return parts->layout.end - parts->layout.start;
}

struct parts *parts_open(uv_loop_t *loop, struct store *store, const struct part_layout *layout,
                         struct error *err)
{
    const struct store_info *info = store_info(store);
    struct parts *parts = calloc(1, sizeof *parts);
    if (parts == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    parts->layout = *layout;
    if (layout->end == 0)
        parts->layout.end = info->image_size;
    if (layout->size == 0)
        parts->layout.size = PART_SIZE_DEFAULT;
    if (parts->layout.end > info->image_size || parts->layout.start >= parts->layout.end) {
        error_set(err, ERROR_USAGE,
                  "bytes %llu to %llu cannot be cut into parts: the image has %llu bytes",
                  (unsigned long long)parts->layout.start, (unsigned long long)parts->layout.end,
                  (unsigned long long)info->image_size);
        free(parts);
        return NULL;
    }
    if ((parts_total(parts) - 1) / parts->layout.size >= PARTS_MAX) {
        error_set(err, ERROR_USAGE, "parts of %llu bytes would be more than %u",
                  (unsigned long long)parts->layout.size, PARTS_MAX);
        free(parts);
        return NULL;
    }
    parts->block_size = info->block_size;
    parts->references = 1;
    parts->chunks = chunk_pool_open(loop, store);
    if (parts->chunks == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        free(parts);
        return NULL;
    }
    return parts;
}

unsigned parts_count(const struct parts *parts)
{
    return (unsigned)((parts_total(parts) + parts->layout.size - 1) / parts->layout.size);
}

uint64_t parts_offset(const struct parts *parts, unsigned part)
{
    return parts->layout.start + part * parts->layout.size;
}

uint64_t parts_size(const struct parts *parts, unsigned part)
{
    uint64_t left = parts->layout.end - parts_offset(parts, part);
    return left < parts->layout.size ? left : parts->layout.size;
}

static void parts_unref(struct parts *parts)
{
    if (--parts->references > 0)
        return;
    chunk_pool_close(parts->chunks);
    free(parts);
}

struct parts *parts_ref(struct parts *parts)
{
    parts->references++;
    return parts;
}

void parts_close(struct parts *parts)
{
    if (parts != NULL)
        parts_unref(parts);
}

/* --- pieces -------------------------------------------------------------------------- */

/* Appends data (takes a reference) to what can be read. */
static void piece_add(struct part_reader *reader, struct buffer *data)
{
    struct piece *piece = data != NULL ? calloc(1, sizeof *piece) : NULL;
    if (piece == NULL) {
        error_set(&reader->err, ERROR_IO, "out of memory");
        return;
    }
    piece->offset = reader->made;
    piece->data = buffer_ref(data);
    reader->made += data->size;
    if (reader->last != NULL)
        reader->last->next = piece;
    else
        reader->first = piece;
    reader->last = piece;
}

static void piece_add_copy(struct part_reader *reader, const uint8_t *bytes, size_t size)
{
    struct buffer *data = buffer_copy(bytes, size);
    piece_add(reader, data);
    buffer_unref(data);
}

static void piece_drop(struct part_reader *reader)
{
    struct piece *piece = reader->first;
    reader->first = piece->next;
    if (reader->first == NULL)
        reader->last = NULL;
    buffer_unref(piece->data);
    free(piece);
}

/* RFC 1952, section 2.3: no name, no time. */
static void gzip_begin(struct part_reader *reader)
{
    static const uint8_t head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    piece_add_copy(reader, head, sizeof head);
}

/* An empty final block (RFC 1951, 3.2.6), the crc32 and the size modulo 2^32. */
static void gzip_end(struct part_reader *reader)
{
    uint8_t tail[10] = {0x03, 0x00};
    uint64_t size = reader->end - reader->start;
    for (unsigned i = 0; i < 4; i++) {
        tail[2 + i] = (uint8_t)(reader->crc >> (8 * i));
        tail[6 + i] = (uint8_t)(size >> (8 * i));
    }
    piece_add_copy(reader, tail, sizeof tail);
}

/* --- the reader ---------------------------------------------------------------------- */

static void reader_make(struct part_reader *reader);

/* The chunk of the image that begins at position. */
static struct chunk_key reader_key(const struct part_reader *reader)
{
    uint32_t block_size = reader->parts->block_size;
    uint32_t from = (uint32_t)(reader->position % block_size);
    uint64_t left = reader->end - reader->position;
    uint32_t to = left < block_size - from ? from + (uint32_t)left : block_size;
    return (struct chunk_key){(uint32_t)(reader->position / block_size), from, to, reader->gzip};
}

static void chunk_ready_callback(struct buffer *data, uint32_t crc, const struct error *err,
                                 void *arg)
{
    struct part_reader *reader = arg;
    reader->wish = NULL;
    if (data == NULL) {
        reader->err = *err;
    } else {
        struct chunk_key key = reader_key(reader);
        piece_add(reader, data);
        reader->crc = (uint32_t)crc32_combine(reader->crc, crc, (z_off_t)(key.to - key.from));
        reader->position += key.to - key.from;
        reader_make(reader);
    }
    if (reader->base.ready != NULL)
        reader->base.ready(&reader->base, reader->base.arg);
}

/* Has the next chunk made, if there is one and not enough is ready. */
static void reader_make(struct part_reader *reader)
{
    if (reader->wish != NULL || reader->finished || reader->err.cls != ERROR_NONE)
        return;
    if (reader->position == reader->end) {
        reader->finished = true;
        if (reader->gzip)
            gzip_end(reader);
        return;
    }
    if (reader->made > reader->wanted + AHEAD_BYTES)
        return;
    struct chunk_key key = reader_key(reader);
    reader->wish = chunk_fetch(reader->parts->chunks, &key, chunk_ready_callback, reader);
    if (reader->wish == NULL)
        error_set(&reader->err, ERROR_IO, "out of memory");
}

/* Copies what is there; everything from offset on that was not released is in pieces. */
static size_t pieces_copy(const struct part_reader *reader, uint64_t offset, uint8_t *out,
                          size_t size)
{
    size_t done = 0;
    for (const struct piece *piece = reader->first; piece != NULL && done < size;
         piece = piece->next) {
        uint64_t at = offset + done;
        if (at < piece->offset || at >= piece->offset + piece->data->size)
            continue;
        size_t skip = (size_t)(at - piece->offset), left = piece->data->size - skip;
        size_t count = size - done < left ? size - done : left;
        memcpy(out + done, piece->data->data + skip, count);
        done += count;
    }
    return done;
}

static ssize_t part_read(struct byte_source *source, uint64_t offset, uint8_t *out, size_t size,
                         struct error *err)
{
    struct part_reader *reader = (struct part_reader *)source;
    if (offset + size > reader->wanted)
        reader->wanted = offset + size;
    reader_make(reader);
    size_t count = pieces_copy(reader, offset, out, size);
    if (count == size || (reader->finished && reader->err.cls == ERROR_NONE))
        return (ssize_t)count;
    if (reader->err.cls == ERROR_NONE)
        return SOURCE_WAIT;
    *err = reader->err;
    return SOURCE_FAILED;
}

static void part_release(struct byte_source *source, uint64_t offset)
{
    struct part_reader *reader = (struct part_reader *)source;
    while (reader->first != NULL && reader->first->offset + reader->first->data->size <= offset)
        piece_drop(reader);
}

static void part_close(struct byte_source *source)
{
    struct part_reader *reader = (struct part_reader *)source;
    chunk_cancel(reader->wish);
    while (reader->first != NULL)
        piece_drop(reader);
    parts_unref(reader->parts);
    free(reader);
}

bool part_crc(const struct byte_source *source, uint32_t *crc)
{
    const struct part_reader *reader = (const struct part_reader *)source;
    *crc = reader->crc;
    return reader->finished && reader->err.cls == ERROR_NONE;
}

struct byte_source *part_open(struct parts *parts, unsigned part, bool gzip)
{
    static const struct source_ops ops = {part_read, part_release, part_close};
    if (part >= parts_count(parts))
        return NULL;
    struct part_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return NULL;
    reader->base.ops = &ops;
    reader->base.size = gzip ? -1 : (int64_t)parts_size(parts, part);
    reader->parts = parts_ref(parts);
    reader->gzip = gzip;
    reader->start = reader->position = parts_offset(parts, part);
    reader->end = reader->start + parts_size(parts, part);
    if (gzip)
        gzip_begin(reader);
    return &reader->base;
}
