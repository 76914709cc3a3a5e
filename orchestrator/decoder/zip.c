/* SPDX-License-Identifier: Apache-2.0 */
/* A zip archive with one file in it, read by libarchive as it comes, without seeking: stored or
 * deflated, zip64 and data descriptors included. libarchive checks sizes and CRC. */
#include "decoder/format.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED_MAX 5u /* files that a refusal names */

struct zip {
    struct archive *archive;
    struct input *input; /* while read runs */
    struct error err;    /* of the source, inside a callback */
    char name[256];      /* of the image */
    bool inside;         /* its data is being read */
};

static bool zip_recognise(const uint8_t *head, size_t size)
{
    return size >= 4 && (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0);
}

/* libarchive asks for more. What it got last is its own until it asks again. */
static la_ssize_t zip_feed(struct archive *archive, void *arg, const void **bytes)
{
    struct zip *zip = arg;
    if (input_fill(zip->input, &zip->err) < 0) {
        archive_set_error(archive, EIO, "%s", zip->err.text);
        return -1;
    }
    *bytes = zip->input->bytes + zip->input->pos;
    size_t size = zip->input->size - zip->input->pos;
    zip->input->pos = zip->input->size;
    return (la_ssize_t)size;
}

static void zip_close(void *state)
{
    struct zip *zip = state;
    archive_read_free(zip->archive);
    free(zip);
}

static void *zip_open(struct input *input, struct error *err)
{
    struct zip *zip = calloc(1, sizeof *zip);
    if (zip != NULL)
        zip->archive = archive_read_new();
    if (zip != NULL && zip->archive != NULL &&
        archive_read_support_format_zip_streamable(zip->archive) == ARCHIVE_OK) {
        zip->input = input;
        return zip;
    }
    error_set(err, ERROR_IO, "out of memory");
    if (zip != NULL)
        zip_close(zip);
    return NULL;
}

/* libarchive has met something it does not like. */
static int zip_fault(struct zip *zip, struct input *input, struct error *err)
{
    if (zip->err.cls != ERROR_NONE) {
        *err = zip->err;
        return -1;
    }
    const char *text = archive_error_string(zip->archive);
    /* It asked for more than there was. */
    if (input_exhausted(input))
        return input_truncated(input, "zip", err);
    return input_corrupt(input, "zip", text != NULL ? text : "libarchive", err);
}

static const char *entry_name(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname_utf8(entry);
    if (name == NULL)
        name = archive_entry_pathname(entry);
    return name != NULL ? name : "?";
}

/* The next entry that is a file. 1 found; 0 there is none; -1 with err. */
static int next_file(struct zip *zip, struct input *input, struct archive_entry **entry,
                     struct error *err)
{
    for (;;) {
        int result = archive_read_next_header(zip->archive, entry);
        if (result == ARCHIVE_EOF)
            return 0;
        if (result < ARCHIVE_WARN)
            return zip_fault(zip, input, err);
        const char *name = entry_name(*entry);
        size_t size = strlen(name);
        if (archive_entry_filetype(*entry) != AE_IFDIR && (size == 0 || name[size - 1] != '/'))
            return 1;
    }
}

/* There is one file too many: names all, as far as there is room. */
static int refuse_several(struct zip *zip, struct input *input, struct archive_entry *entry,
                          struct error *err)
{
    char names[256];
    unsigned count = 1;
    size_t size = (size_t)snprintf(names, sizeof names, "%.80s", zip->name);
    for (int more = 1; more > 0 && count < NAMED_MAX && size < sizeof names; count++) {
        size += (size_t)snprintf(names + size, sizeof names - size, ", %.40s", entry_name(entry));
        more = next_file(zip, input, &entry, err);
    }
    error_set(err, ERROR_USAGE, "%.100s holds more than one file: %.250s%s", input->source->name,
              names, count == NAMED_MAX ? ", …" : "");
    return error_remedy(err, "take the image out and give that");
}

static int zip_begin(struct zip *zip, struct input *input, struct error *err)
{
    struct archive_entry *entry;
    zip->input = input;
    if (archive_read_open(zip->archive, zip, NULL, zip_feed, NULL) < ARCHIVE_WARN)
        return zip_fault(zip, input, err);
    int found = next_file(zip, input, &entry, err);
    if (found < 0)
        return -1;
    if (found == 0) {
        error_set(err, ERROR_USAGE, "the zip archive %.250s holds no file", input->source->name);
        return error_remedy(err, "fetch it again, or give another one");
    }
    snprintf(zip->name, sizeof zip->name, "%s", entry_name(entry));
    if (archive_entry_is_encrypted(entry)) {
        error_set(err, ERROR_USAGE, "%.150s in the zip archive %.180s is encrypted", zip->name,
                  input->source->name);
        return error_remedy(err, "take the image out and give that");
    }
    zip->inside = true;
    return 1;
}

/* The image is complete. Nothing but the archive's directory may follow, and that is read, too, for
 * the file's checksum. */
static int zip_finish(struct zip *zip, struct input *input, struct error *err)
{
    struct archive_entry *entry;
    int found = next_file(zip, input, &entry, err);
    if (found != 0)
        return found < 0 ? -1 : refuse_several(zip, input, entry, err);
    while (!input_exhausted(input)) {
        input->pos = input->size;
        if (input_fill(input, err) < 0)
            return -1;
    }
    return 0;
}

static int zip_read(void *state, struct input *input, uint8_t *out, size_t size, size_t *made,
                    struct error *err)
{
    struct zip *zip = state;
    if (!zip->inside && zip_begin(zip, input, err) < 0)
        return -1;
    la_ssize_t got = archive_read_data(zip->archive, out, size);
    if (got < 0)
        return zip_fault(zip, input, err);
    *made = (size_t)got;
    return got > 0 ? 1 : zip_finish(zip, input, err);
}

const struct format format_zip = {
    .name = "zip",
    .recognise = zip_recognise,
    .open = zip_open,
    .read = zip_read,
    .close = zip_close,
};
