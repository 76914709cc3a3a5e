/* SPDX-License-Identifier: Apache-2.0 */
#include "image/facts.h"

#include <stdio.h>
#include <string.h>

/* More partitions than this are not looked into for a root. */
#define ROOTS_MAX 8u

void image_format_uuid(const uint8_t bytes[16], char text[37])
{
    size_t pos = 0;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[pos++] = '-';
        pos += (size_t)snprintf(text + pos, 37 - pos, "%02x", bytes[i]);
    }
}

void image_copy_text(const void *text, size_t size, char *out, size_t out_size)
{
    const unsigned char *from = text;
    size_t length = 0;
    while (length < size && length + 1 < out_size && from[length] != '\0') {
        out[length] = from[length] < 0x20 || from[length] == 0x7f ? '?' : (char)from[length];
        length++;
    }
    while (length > 0 && out[length - 1] == ' ')
        length--;
    out[length] = '\0';
}

static bool is_ext(const struct image_partition *partition)
{
    return strncmp(partition->filesystem, "ext", 3) == 0;
}

/* Of file systems that cannot be looked into: the largest that Linux has its root on. */
static int guess_root(const struct image_facts *facts)
{
    static const char *const rooted[] = {"ext4",  "ext3", "ext2",     "xfs",
                                         "btrfs", "f2fs", "squashfs", "erofs"};
    int found = -1;
    for (unsigned i = 0; i < facts->partition_count; i++) {
        const struct image_partition *partition = &facts->partitions[i];
        for (size_t k = 0; k < sizeof rooted / sizeof *rooted; k++) {
            if (strcmp(partition->filesystem, rooted[k]) == 0 &&
                (found < 0 || partition->size > facts->partitions[found].size))
                found = (int)i;
        }
    }
    return found;
}

static void find_root(const struct image_reader *reader, struct image_facts *facts)
{
    unsigned best = 0, looked = 0;
    facts->root_partition = -1;
    for (unsigned i = 0; i < facts->partition_count && looked < ROOTS_MAX; i++) {
        if (!is_ext(&facts->partitions[i]))
            continue;
        unsigned score = rootfs_score(reader, &facts->partitions[i]);
        looked++;
        if (score <= best)
            continue;
        best = score;
        facts->root_partition = (int)i;
    }
    if (facts->root_partition >= 0)
        rootfs_inspect(reader, &facts->partitions[facts->root_partition], facts);
    else
        facts->root_partition = guess_root(facts);
}

int image_facts_collect(const struct image_reader *reader, const char *name,
                        struct image_facts *facts, struct error *err)
{
    facts->root_partition = -1;
    if (table_parse(reader, name, facts, err) < 0)
        return -1;
    for (unsigned i = 0; i < facts->partition_count; i++)
        filesystem_probe(reader, &facts->partitions[i]);
    if (facts->table[0] == '\0') {
        /* No table: a file system that begins with the disk counts as the only partition. */
        facts->partitions[0].size = reader->size;
        filesystem_probe(reader, &facts->partitions[0]);
        facts->partition_count = facts->partitions[0].filesystem[0] != '\0';
    }
    find_root(reader, facts);
    return 0;
}
