/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder/format.h"

#include <string.h>

static bool raw_recognise(const uint8_t *head, size_t size)
{
    (void)head;
    (void)size;
    return true;
}

static void *raw_open(struct input *input, struct error *err)
{
    (void)err;
    return input; /* there is no state; any non-NULL pointer does */
}

static int raw_read(void *state, struct input *input, uint8_t *out, size_t size, size_t *made,
                    struct error *err)
{
    (void)state;
    if (input->pos == input->size && !input->ended && size >= INPUT_SIZE) {
        ssize_t got = source_read(input->source, out, size, err); /* saves a copy */
        if (got < 0)
            return -1;
        *made = (size_t)got;
        input->ended = got == 0;
        return got > 0;
    }
    if (input_fill(input, err) < 0)
        return -1;
    size_t take = input->size - input->pos;
    if (take > size)
        take = size;
    memcpy(out, input->bytes + input->pos, take);
    input->pos += take;
    *made = take;
    return take > 0;
}

static void raw_close(void *state)
{
    (void)state;
}

const struct format format_raw = {
    .name = "raw",
    .recognise = raw_recognise,
    .open = raw_open,
    .read = raw_read,
    .close = raw_close,
};
