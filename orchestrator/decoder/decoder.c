/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder/decoder.h"

#include "decoder/format.h"

#include <stdlib.h>
#include <string.h>

struct decoder {
    const struct format *format;
    void *state;
    bool ended;
    struct input input;
};

/* raw recognises everything, so it stands last. */
static const struct format *const formats[] = {
    &format_xz, &format_gzip, &format_zstd, &format_bzip2, &format_zip, &format_raw,
};

int input_fill(struct input *input, struct error *err)
{
    if (input->pos < input->size || input->ended)
        return 0;
    ssize_t got = source_read(input->source, input->bytes, INPUT_SIZE, err);
    if (got < 0)
        return -1;
    input->pos = 0;
    input->size = (size_t)got;
    input->ended = got == 0;
    return 0;
}

const uint8_t *input_peek(struct input *input, size_t count, size_t *available, struct error *err)
{
    if (input->size - input->pos < count && !input->ended) {
        memmove(input->bytes, input->bytes + input->pos, input->size - input->pos);
        input->size -= input->pos;
        input->pos = 0;
    }
    while (input->size - input->pos < count && !input->ended) {
        ssize_t got =
            source_read(input->source, input->bytes + input->size, INPUT_SIZE - input->size, err);
        if (got < 0)
            return NULL;
        input->size += (size_t)got;
        input->ended = got == 0;
    }
    *available = input->size - input->pos;
    return input->bytes + input->pos;
}

uint64_t input_offset(const struct input *input)
{
    return input->source->offset - (input->size - input->pos);
}

int input_truncated(const struct input *input, const char *format, struct error *err)
{
    error_set(err, ERROR_USAGE, "%s is cut short: its %s data has no end at byte %llu",
              input->source->name, format, (unsigned long long)input_offset(input));
    return error_remedy(err, "fetch the image again, it was not downloaded completely");
}

int input_corrupt(const struct input *input, const char *format, const char *detail,
                  struct error *err)
{
    error_set(err, ERROR_USAGE, "%s is damaged: its %s data is corrupt near byte %llu (%s)",
              input->source->name, format, (unsigned long long)input_offset(input), detail);
    return error_remedy(err, "fetch the image again");
}

int input_garbage(const struct input *input, const char *format, struct error *err)
{
    error_set(err, ERROR_USAGE, "%s has something else after its %s data, from byte %llu on",
              input->source->name, format, (unsigned long long)input_offset(input));
    return error_remedy(err, "fetch the image again; two files may have been joined into one");
}

int input_only_zeros(struct input *input, struct error *err)
{
    for (;;) {
        while (input->pos < input->size) {
            if (input->bytes[input->pos] != 0)
                return 0;
            input->pos++;
        }
        if (input->ended)
            return 1;
        if (input_fill(input, err) < 0)
            return -1;
    }
}

struct decoder *decoder_open(struct source *source, struct error *err)
{
    struct decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    decoder->input.source = source;
    size_t available;
    const uint8_t *head = input_peek(&decoder->input, FORMAT_HEAD, &available, err);
    if (head == NULL)
        goto fail;
    if (available == 0) {
        error_set(err, ERROR_USAGE, "%s is empty", source->name);
        error_remedy(err, "fetch the image again");
        goto fail;
    }
    size_t i = 0;
    while (!formats[i]->recognise(head, available))
        i++;
    decoder->format = formats[i];
    decoder->state = decoder->format->open(&decoder->input, err);
    if (decoder->state != NULL)
        return decoder;
fail:
    free(decoder);
    return NULL;
}

const char *decoder_format(const struct decoder *decoder)
{
    return decoder->format->name;
}

ssize_t decoder_read(struct decoder *decoder, uint8_t *out, size_t size, struct error *err)
{
    size_t filled = 0;
    while (filled < size && !decoder->ended) {
        size_t made = 0;
        int more = decoder->format->read(decoder->state, &decoder->input, out + filled,
                                         size - filled, &made, err);
        if (more < 0)
            return -1;
        filled += made;
        decoder->ended = more == 0;
    }
    return (ssize_t)filled;
}

void decoder_close(struct decoder *decoder)
{
    if (decoder == NULL)
        return;
    decoder->format->close(decoder->state);
    free(decoder);
}
