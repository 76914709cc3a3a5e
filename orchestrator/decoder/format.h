/* SPDX-License-Identifier: Apache-2.0 */
/* What each compression format implements for decoder.c. */
#ifndef DECODER_FORMAT_H
#define DECODER_FORMAT_H

#include "base/error.h"
#include "source/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Undecoded bytes. Formats take from bytes[pos, size) and call input_fill when that is empty. */
#define INPUT_SIZE (128u * 1024u)
struct input {
    struct source *source;
    size_t pos, size;
    bool ended; /* nothing comes after bytes[size) */
    uint8_t bytes[INPUT_SIZE];
};

/* Reads more when everything was taken. 0, or -1 with err; sets ended at the end. */
int input_fill(struct input *input, struct error *err);

/* The next bytes without taking them: *available of them, at least count (a few) if the source
 * still has so many. NULL with err. */
const uint8_t *input_peek(struct input *input, size_t count, size_t *available, struct error *err);

/* Everything was taken, and there is no more. */
static inline bool input_exhausted(const struct input *input)
{
    return input->ended && input->pos == input->size;
}

/* Where in the source the next byte to be taken stands. */
uint64_t input_offset(const struct input *input);

/* The common sentences; both return -1. */
int input_truncated(const struct input *input, const char *format, struct error *err);
int input_corrupt(const struct input *input, const char *format, const char *detail,
                  struct error *err);
int input_garbage(const struct input *input, const char *format, struct error *err);

/* Takes zero bytes. 1: nothing but zeros was left in the source; 0: something else is; -1 with err.
 */
int input_only_zeros(struct input *input, struct error *err);

struct format {
    const char *name;
    bool (*recognise)(const uint8_t *head, size_t size);
    /* The format's state, or NULL with err. */
    void *(*open)(struct input *input, struct error *err);
    /* Decodes up to size > 0 bytes. Sets *made (may be 0 while there is more to do). Returns 1 to
     * go on, 0 at the checked end, -1 with err. */
    int (*read)(void *state, struct input *input, uint8_t *out, size_t size, size_t *made,
                struct error *err);
    void (*close)(void *state);
};

/* The longest head that recognise needs. */
#define FORMAT_HEAD 16u

extern const struct format format_xz, format_gzip, format_zstd, format_bzip2, format_zip,
    format_raw;

#endif
