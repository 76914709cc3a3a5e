/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says about itself: partitions, file systems, and what lies in its root. */
#ifndef IMAGE_FACTS_H
#define IMAGE_FACTS_H

#include "base/error.h"
#include "store/store.h"

#include <stddef.h>
#include <stdint.h>

/* Random access to the decoded image. */
struct image_reader {
    /* All of size bytes at offset (both inside the image). 0 or -1. */
    int (*read)(void *arg, uint64_t offset, void *out, size_t size);
    void *arg;
    uint64_t size; /* bytes of the image */
};

/* Fills everything that is read from the image itself (table … has_first_boot) of zeroed facts.
 * What is missing or damaged inside is left out. 0, or -1 with err (ERROR_USAGE) when the image
 * cannot be whole: a partition ends behind its end. name: the image's, for the message. */
int image_facts_collect(const struct image_reader *reader, const char *name,
                        struct image_facts *facts, struct error *err);

/* The parts of it: */

/* MBR (logical partitions included) or GPT, UEFI 2.10 §5: fills table, signature, GUID and where
 * the partitions lie. Same result as above. */
int table_parse(const struct image_reader *reader, const char *name, struct image_facts *facts,
                struct error *err);

/* Recognises the file system at partition->start; fills filesystem, uuid, label. */
void filesystem_probe(const struct image_reader *reader, struct image_partition *partition);

/* How much the ext file system of a partition looks like a root file system; 0: not at all, or it
 * cannot be read. */
unsigned rootfs_score(const struct image_reader *reader, const struct image_partition *partition);

/* Fills what is found inside: machine … has_first_boot, and looked_inside. */
void rootfs_inspect(const struct image_reader *reader, const struct image_partition *partition,
                    struct image_facts *facts);

/* Reads inside the image's bounds; -1 when it would leave them. */
static inline int image_read(const struct image_reader *reader, uint64_t offset, void *out,
                             size_t size)
{
    if (offset > reader->size || size > reader->size - offset)
        return -1;
    return reader->read(reader->arg, offset, out, size);
}

/* Writes 16 bytes as 8-4-4-4-12 lower-case hex digits. */
void image_format_uuid(const uint8_t bytes[16], char text[37]);

/* Copies a label of at most size bytes: ends at its first NUL, trailing blanks dropped, control
 * characters replaced. out holds out_size. */
void image_copy_text(const void *text, size_t size, char *out, size_t out_size);

#endif
