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
 * cannot be whole: a partition ends behind its end. */
int image_facts_collect(const struct image_reader *reader, const char *name,
                        struct image_facts *facts, struct error *err);

/* The parts of it. */

/* MBR, extended MBR or GPT: fills table, signature, GUID and the partitions' places. */
int table_parse(const struct image_reader *reader, const char *name, struct image_facts *facts,
                struct error *err);

/* Recognises the file system at partition->start; fills filesystem, uuid, label. */
void filesystem_probe(const struct image_reader *reader, struct image_partition *partition);

/* Looks into the ext file system of a partition. Fills what it finds and returns how much it looks
 * like a root file system: 0 not at all (nothing is filled then). */
int rootfs_inspect(const struct image_reader *reader, const struct image_partition *partition,
                   struct image_facts *facts);

/* Reads inside the image's bounds; -1 when it would leave them. */
static inline int image_read(const struct image_reader *reader, uint64_t offset, void *out,
                             size_t size)
{
    if (offset > reader->size || size > reader->size - offset)
        return -1;
    return reader->read(reader->arg, offset, out, size);
}

#endif
