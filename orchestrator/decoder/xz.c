/* SPDX-License-Identifier: Apache-2.0 */
/* xz, streams one after the other, zero padding between them allowed. liblzma checks every block
 * and the index. Files of several blocks are decoded on several threads where that fits into
 * memory. */
#include "decoder/format.h"

#include <lzma.h>
#include <stdlib.h>
#include <string.h>

/* A thread needs the dictionary and room for a whole decoded block (24 MiB in files made with
 * `xz -6 -T0`); above this liblzma takes fewer threads, then streams on one. */
#define THREADING_LIMIT (40ull << 20)
/* More than `xz -9` needs (65 MiB); a file that wants more is refused. */
#define MEMORY_LIMIT (200ull << 20)
#define THREADS_MAX  8u

struct xz {
    lzma_stream stream;
    bool between; /* a stream has ended */
};

static bool xz_recognise(const uint8_t *head, size_t size)
{
    static const uint8_t magic[] = {0xfd, '7', 'z', 'X', 'Z', 0};
    return size >= sizeof magic && memcmp(head, magic, sizeof magic) == 0;
}

/* Starts on a stream's first byte. */
static int xz_begin(struct xz *xz, struct error *err)
{
    uint32_t cores = lzma_cputhreads();
    lzma_mt options = {
        .flags = LZMA_TELL_UNSUPPORTED_CHECK,
        .threads = cores == 0            ? 1
                   : cores > THREADS_MAX ? THREADS_MAX
                                         : cores,
        .memlimit_threading = THREADING_LIMIT,
        .memlimit_stop = MEMORY_LIMIT,
    };
    if (lzma_stream_decoder_mt(&xz->stream, &options) != LZMA_OK)
        return error_set(err, ERROR_IO, "out of memory");
    xz->between = false;
    return 1;
}

static void *xz_open(struct input *input, struct error *err)
{
    (void)input;
    struct xz *xz = calloc(1, sizeof *xz);
    if (xz == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    xz->stream = (lzma_stream)LZMA_STREAM_INIT;
    if (xz_begin(xz, err) > 0)
        return xz;
    free(xz);
    return NULL;
}

/* After a stream: zero padding in steps of four bytes, another stream, or the end (the .xz format,
 * 2.2). Done here because liblzma does not tell garbage from damage. */
static int xz_next(struct xz *xz, struct input *input, struct error *err)
{
    static const uint8_t padding[4] = {0};
    for (;;) {
        size_t available;
        const uint8_t *head = input_peek(input, 6, &available, err);
        if (head == NULL)
            return -1;
        if (available == 0)
            return 0;
        if (xz_recognise(head, available))
            return xz_begin(xz, err);
        if (available < 4 || memcmp(head, padding, 4) != 0)
            return input_garbage(input, "xz", err);
        input->pos += 4;
    }
}

static int xz_failed(struct xz *xz, const struct input *input, lzma_ret result, struct error *err)
{
    switch (result) {
    case LZMA_MEM_ERROR:
        return error_set(err, ERROR_IO, "out of memory");
    case LZMA_MEMLIMIT_ERROR:
        error_set(err, ERROR_USAGE,
                  "%s needs %llu MiB of memory to decode, more than the %llu allowed",
                  input->source->name, (unsigned long long)(lzma_memusage(&xz->stream) >> 20),
                  (unsigned long long)(MEMORY_LIMIT >> 20));
        return error_remedy(err, "compress the image again with `xz -9` or less");
    case LZMA_OPTIONS_ERROR:
    case LZMA_UNSUPPORTED_CHECK:
        return input_corrupt(input, "xz", "unknown options or check", err);
    case LZMA_BUF_ERROR:
        return input_truncated(input, "xz", err);
    default:
        return input_corrupt(input, "xz", "checksum or structure", err);
    }
}

static int xz_read(void *state, struct input *input, uint8_t *out, size_t size, size_t *made,
                   struct error *err)
{
    struct xz *xz = state;
    if (xz->between)
        return xz_next(xz, input, err);
    if (input_fill(input, err) < 0)
        return -1;
    xz->stream.next_in = input->bytes + input->pos;
    xz->stream.avail_in = input->size - input->pos;
    xz->stream.next_out = out;
    xz->stream.avail_out = size;
    lzma_ret result = lzma_code(&xz->stream, input->ended ? LZMA_FINISH : LZMA_RUN);
    input->pos = input->size - xz->stream.avail_in;
    *made = size - xz->stream.avail_out;
    if (result == LZMA_STREAM_END) {
        xz->between = true;
        return 1;
    }
    /* Without input and output at once liblzma says BUF_ERROR; before the end that only means more
     * input. */
    if (result == LZMA_OK || (result == LZMA_BUF_ERROR && !input->ended))
        return 1;
    return xz_failed(xz, input, result, err);
}

static void xz_close(void *state)
{
    struct xz *xz = state;
    lzma_end(&xz->stream);
    free(xz);
}

const struct format format_xz = {
    .name = "xz",
    .recognise = xz_recognise,
    .open = xz_open,
    .read = xz_read,
    .close = xz_close,
};
