/* SPDX-License-Identifier: Apache-2.0 */
/* gzip (RFC 1952), members one after the other. zlib checks each member's CRC and length. */
#include "decoder/format.h"

#include <stdlib.h>
#include <zlib.h>

struct gzip {
    z_stream stream;
    bool between; /* a member has ended */
};

static bool gzip_recognise(const uint8_t *head, size_t size)
{
    return size >= 2 && head[0] == 0x1f && head[1] == 0x8b;
}

static void *gzip_open(struct input *input, struct error *err)
{
    (void)input;
    struct gzip *gzip = calloc(1, sizeof *gzip);
    if (gzip != NULL && inflateInit2(&gzip->stream, 15 + 16) == Z_OK)
        return gzip;
    error_set(err, ERROR_IO, "out of memory");
    free(gzip);
    return NULL;
}

/* After a member: another one, zero padding (tapes and some tools add it), or the end. */
static int gzip_next(struct gzip *gzip, struct input *input, struct error *err)
{
    size_t available;
    const uint8_t *head = input_peek(input, 2, &available, err);
    if (head == NULL)
        return -1;
    if (available == 0)
        return 0;
    if (gzip_recognise(head, available)) {
        gzip->between = false;
        return inflateReset(&gzip->stream) == Z_OK ? 1 : error_set(err, ERROR_IO, "out of memory");
    }
    int zeros = input_only_zeros(input, err);
    if (zeros != 0)
        return zeros < 0 ? -1 : 0;
    return input_garbage(input, "gzip", err);
}

static int gzip_read(void *state, struct input *input, uint8_t *out, size_t size, size_t *made,
                     struct error *err)
{
    struct gzip *gzip = state;
    if (gzip->between)
        return gzip_next(gzip, input, err);
    if (input_fill(input, err) < 0)
        return -1;
    if (input_exhausted(input))
        return input_truncated(input, "gzip", err);
    gzip->stream.next_in = input->bytes + input->pos;
    gzip->stream.avail_in = (uInt)(input->size - input->pos);
    gzip->stream.next_out = out;
    gzip->stream.avail_out = (uInt)size;
    int result = inflate(&gzip->stream, Z_NO_FLUSH);
    input->pos = input->size - gzip->stream.avail_in;
    *made = size - gzip->stream.avail_out;
    if (result == Z_MEM_ERROR)
        return error_set(err, ERROR_IO, "out of memory");
    if (result == Z_STREAM_END)
        gzip->between = true;
    else if (result != Z_OK && result != Z_BUF_ERROR)
        return input_corrupt(input, "gzip", gzip->stream.msg != NULL ? gzip->stream.msg : "zlib",
                             err);
    return 1;
}

static void gzip_close(void *state)
{
    struct gzip *gzip = state;
    inflateEnd(&gzip->stream);
    free(gzip);
}

const struct format format_gzip = {
    .name = "gzip",
    .recognise = gzip_recognise,
    .open = gzip_open,
    .read = gzip_read,
    .close = gzip_close,
};
