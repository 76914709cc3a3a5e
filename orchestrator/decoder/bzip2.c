/* SPDX-License-Identifier: Apache-2.0 */
/* bzip2, streams one after the other. libbz2 checks the CRC of each block and stream. */
#include "decoder/format.h"

#include <bzlib.h>
#include <stdlib.h>
#include <string.h>

struct bzip2 {
    bz_stream stream;
    bool between; /* a stream has ended; the library's state is gone */
};

/* "BZh", the level, then the magic of a block or of an empty stream's end. */
static bool bzip2_recognise(const uint8_t *head, size_t size)
{
    return size >= 10 && memcmp(head, "BZh", 3) == 0 && head[3] >= '1' && head[3] <= '9' &&
           (memcmp(head + 4, "\x31\x41\x59\x26\x53\x59", 6) == 0 ||
            memcmp(head + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0);
}

static void *bzip2_open(struct input *input, struct error *err)
{
    (void)input;
    struct bzip2 *bzip2 = calloc(1, sizeof *bzip2);
    if (bzip2 != NULL && BZ2_bzDecompressInit(&bzip2->stream, 0, 0) == BZ_OK)
        return bzip2;
    error_set(err, ERROR_IO, "out of memory");
    free(bzip2);
    return NULL;
}

static int bzip2_next(struct bzip2 *bzip2, struct input *input, struct error *err)
{
    size_t available;
    const uint8_t *head = input_peek(input, 10, &available, err);
    if (head == NULL)
        return -1;
    if (available == 0)
        return 0;
    if (available < 10 && memcmp(head, "BZh", available < 3 ? available : 3) == 0)
        return input_truncated(input, "bzip2", err);
    if (!bzip2_recognise(head, available))
        return input_garbage(input, "bzip2", err);
    memset(&bzip2->stream, 0, sizeof bzip2->stream);
    if (BZ2_bzDecompressInit(&bzip2->stream, 0, 0) != BZ_OK)
        return error_set(err, ERROR_IO, "out of memory");
    bzip2->between = false;
    return 1;
}

static int bzip2_read(void *state, struct input *input, uint8_t *out, size_t size, size_t *made,
                      struct error *err)
{
    struct bzip2 *bzip2 = state;
    if (bzip2->between)
        return bzip2_next(bzip2, input, err);
    if (input_fill(input, err) < 0)
        return -1;
    bool exhausted = input_exhausted(input);
    /* With no input left the library may still hold decoded bytes. */
    bzip2->stream.next_in = (char *)input->bytes + input->pos;
    bzip2->stream.avail_in = (unsigned)(input->size - input->pos);
    bzip2->stream.next_out = (char *)out;
    bzip2->stream.avail_out = (unsigned)size;
    int result = BZ2_bzDecompress(&bzip2->stream);
    input->pos = input->size - bzip2->stream.avail_in;
    *made = size - bzip2->stream.avail_out;
    if (result == BZ_STREAM_END) {
        BZ2_bzDecompressEnd(&bzip2->stream);
        bzip2->between = true;
        return 1;
    }
    if (result == BZ_MEM_ERROR)
        return error_set(err, ERROR_IO, "out of memory");
    if (result != BZ_OK)
        return input_corrupt(input, "bzip2",
                             result == BZ_DATA_ERROR ? "checksum or structure" : "structure", err);
    if (exhausted && *made == 0)
        return input_truncated(input, "bzip2", err);
    return 1;
}

static void bzip2_close(void *state)
{
    struct bzip2 *bzip2 = state;
    if (!bzip2->between)
        BZ2_bzDecompressEnd(&bzip2->stream);
    free(bzip2);
}

const struct format format_bzip2 = {
    .name = "bzip2",
    .recognise = bzip2_recognise,
    .open = bzip2_open,
    .read = bzip2_read,
    .close = bzip2_close,
};
