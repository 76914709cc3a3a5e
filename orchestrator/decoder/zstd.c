/* SPDX-License-Identifier: Apache-2.0 */
/* zstd (RFC 8878), frames one after the other, skippable ones included. Frames made by the zstd
 * command end in a checksum, which the library compares. */
#include "decoder/format.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

/* What `zstd -d` takes without --long or --memory: 128 MiB. Levels up to 19 need 8 MiB. */
#define WINDOW_LOG_MAX 27

struct zstd {
    ZSTD_DStream *stream;
    bool inside; /* of a frame */
};

static bool zstd_recognise(const uint8_t *head, size_t size)
{
    if (size < 4)
        return false;
    if (memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0)
        return true;
    return (head[0] & 0xf0) == 0x50 && memcmp(head + 1, "\x2a\x4d\x18", 3) == 0;
}

static void *zstd_open(struct input *input, struct error *err)
{
    (void)input;
    struct zstd *zstd = calloc(1, sizeof *zstd);
    if (zstd != NULL)
        zstd->stream = ZSTD_createDStream();
    if (zstd != NULL && zstd->stream != NULL &&
        !ZSTD_isError(ZSTD_DCtx_setParameter(zstd->stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        zstd->inside = true;
        return zstd;
    }
    error_set(err, ERROR_IO, "out of memory");
    if (zstd != NULL)
        ZSTD_freeDStream(zstd->stream);
    free(zstd);
    return NULL;
}

static int zstd_failed(const struct input *input, size_t result, struct error *err)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_frameParameter_windowTooLarge:
        error_set(err, ERROR_USAGE, "%s needs more than %u MiB of memory to decode (zstd window)",
                  input->source->name, 1u << (WINDOW_LOG_MAX - 20));
        return error_remedy(err, "compress the image again without --long");
    case ZSTD_error_memory_allocation:
        return error_set(err, ERROR_IO, "out of memory");
    default:
        return input_corrupt(input, "zstd", ZSTD_getErrorName(result), err);
    }
}

static int zstd_read(void *state, struct input *input, uint8_t *out, size_t size, size_t *made,
                     struct error *err)
{
    struct zstd *zstd = state;
    if (!zstd->inside) {
        size_t available;
        const uint8_t *head = input_peek(input, 4, &available, err);
        if (head == NULL)
            return -1;
        if (available == 0)
            return 0;
        if (!zstd_recognise(head, available))
            return input_garbage(input, "zstd", err);
        zstd->inside = true;
    }
    if (input_fill(input, err) < 0)
        return -1;
    bool exhausted = input_exhausted(input);
    ZSTD_inBuffer in = {.src = input->bytes, .size = input->size, .pos = input->pos};
    ZSTD_outBuffer produced = {.dst = out, .size = size, .pos = 0};
    size_t result = ZSTD_decompressStream(zstd->stream, &produced, &in);
    input->pos = in.pos;
    *made = produced.pos;
    if (ZSTD_isError(result))
        return zstd_failed(input, result, err);
    if (result == 0)
        zstd->inside = false;
    else if (exhausted && produced.pos == 0)
        return input_truncated(input, "zstd", err);
    return 1;
}

static void zstd_close(void *state)
{
    struct zstd *zstd = state;
    ZSTD_freeDStream(zstd->stream);
    free(zstd);
}

const struct format format_zstd = {
    .name = "zstd",
    .recognise = zstd_recognise,
    .open = zstd_open,
    .read = zstd_read,
    .close = zstd_close,
};
