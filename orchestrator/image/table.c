/* SPDX-License-Identifier: Apache-2.0 */
/* Partition tables: MBR with logical partitions, and GPT (UEFI 2.10 §5.3). */
#include "image/facts.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SECTOR 512u
#define PARTITIONS_MAX                                                                             \
    (sizeof((struct image_facts *)0)->partitions / sizeof(struct image_partition))
#define TYPE_PROTECTIVE 0xeeu
#define GPT_ENTRIES_MAX (1u << 20) /* bytes of the entry array */

static uint16_t get16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return le16toh(value);
}

static uint32_t get32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return le32toh(value);
}

static uint64_t get64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return le64toh(value);
}

/* A GUID as it is written: the first three fields are little-endian (RFC 9562 has them big-endian).
 */
static void format_guid(const uint8_t *guid, char text[37])
{
    uint8_t bytes[16] = {guid[3], guid[2], guid[1], guid[0], guid[5], guid[4], guid[7], guid[6]};
    memcpy(bytes + 8, guid + 8, 8);
    image_format_uuid(bytes, text);
}

/* A table being read. */
struct table_walk {
    const struct image_reader *reader;
    const char *name;
    struct image_facts *facts;
    struct error *err;
};

/* start and size in bytes. NULL with err when it ends behind the image. */
static struct image_partition *partition_add(struct table_walk *walk, unsigned number,
                                             uint64_t start, uint64_t size)
{
    struct image_facts *facts = walk->facts;
    if (start > walk->reader->size || size > walk->reader->size - start) {
        error_set(walk->err, ERROR_USAGE,
                  "%s is cut short: partition %u ends at byte %llu, the image has %llu", walk->name,
                  number, (unsigned long long)(start + size),
                  (unsigned long long)walk->reader->size);
        error_remedy(walk->err, "fetch the image again, or make it again with all its partitions");
        return NULL;
    }
    /* Devices with more partitions than the facts hold are rare; the last one is overwritten. */
    if (facts->partition_count < PARTITIONS_MAX)
        facts->partition_count++;
    struct image_partition *partition = &facts->partitions[facts->partition_count - 1];
    memset(partition, 0, sizeof *partition);
    partition->start = start;
    partition->size = size;
    return partition;
}

/* --- MBR ----------------------------------------------------------------------------------- */

static bool is_extended(uint8_t type)
{
    return type == 0x05 || type == 0x0f || type == 0x85;
}

static int mbr_add(struct table_walk *walk, unsigned number, uint64_t start, uint64_t sectors)
{
    struct image_partition *partition =
        partition_add(walk, number, start * SECTOR, sectors * SECTOR);
    if (partition == NULL)
        return -1;
    snprintf(partition->partuuid, sizeof partition->partuuid, "%08x-%02x",
             walk->facts->mbr_signature, number & 0xffu);
    return 0;
}

/* The chain of logical partitions in an extended one; its length is bounded, it may be a loop. */
static int mbr_logical(struct table_walk *walk, uint64_t first)
{
    uint8_t sector[SECTOR];
    uint64_t link = first;
    for (unsigned number = 5; number < 5 + PARTITIONS_MAX; number++) {
        if (image_read(walk->reader, link * SECTOR, sector, SECTOR) < 0 ||
            get16(sector + 510) != 0xaa55)
            return 0;
        const uint8_t *entry = sector + 446, *next = sector + 462;
        if (entry[4] != 0 && get32(entry + 12) != 0 &&
            mbr_add(walk, number, link + get32(entry + 8), get32(entry + 12)) < 0)
            return -1;
        if (!is_extended(next[4]) || get32(next + 12) == 0)
            return 0;
        link = first + get32(next + 8);
    }
    return 0;
}

/* A boot sector of a file system ends in the same two bytes; then these are no partition entries.
 */
static bool mbr_plausible(const uint8_t *sector)
{
    bool any = false;
    if (get16(sector + 510) != 0xaa55)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = sector + 446 + 16 * i;
        if ((entry[0] & 0x7f) != 0)
            return false;
        any = any || (entry[4] != 0 && get32(entry + 12) != 0);
    }
    return any;
}

static int mbr_parse(struct table_walk *walk, const uint8_t *sector)
{
    strcpy(walk->facts->table, "mbr");
    walk->facts->mbr_signature = get32(sector + 440);
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = sector + 446 + 16 * i;
        uint64_t start = get32(entry + 8), sectors = get32(entry + 12);
        if (entry[4] == 0 || sectors == 0 || is_extended(entry[4]) || entry[4] == TYPE_PROTECTIVE)
            continue;
        if (mbr_add(walk, i + 1, start, sectors) < 0)
            return -1;
    }
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = sector + 446 + 16 * i;
        if (is_extended(entry[4]) && mbr_logical(walk, get32(entry + 8)) < 0)
            return -1;
    }
    return 0;
}

/* --- GPT ----------------------------------------------------------------------------------- */

struct gpt {
    uint32_t sector; /* bytes */
    uint8_t header[SECTOR];
    uint8_t *entries;     /* its checksum is right */
    uint32_t count, size; /* of entries */
};

/* Reads the header at a sector and its entries; both have checksums. */
static bool gpt_read(const struct image_reader *reader, uint64_t lba, struct gpt *gpt)
{
    uint8_t *header = gpt->header;
    if (lba > UINT64_MAX / gpt->sector ||
        image_read(reader, lba * gpt->sector, header, SECTOR) < 0 ||
        memcmp(header, "EFI PART", 8) != 0)
        return false;
    uint32_t header_size = get32(header + 12), sum = get32(header + 16);
    if (header_size < 92 || header_size > SECTOR)
        return false;
    memset(header + 16, 0, 4);
    if (crc32(0, header, header_size) != sum || get64(header + 24) != lba)
        return false;
    gpt->count = get32(header + 80);
    gpt->size = get32(header + 84);
    uint64_t at = get64(header + 72), bytes = (uint64_t)gpt->count * gpt->size;
    if (gpt->size < 128 || gpt->count == 0 || bytes > GPT_ENTRIES_MAX ||
        at > UINT64_MAX / gpt->sector)
        return false;
    gpt->entries = malloc(bytes);
    if (gpt->entries != NULL && image_read(reader, at * gpt->sector, gpt->entries, bytes) == 0 &&
        crc32(0, gpt->entries, (uInt)bytes) == get32(header + 88))
        return true;
    free(gpt->entries);
    gpt->entries = NULL;
    return false;
}

/* The primary header, else the backup at the image's end; 512-byte sectors, else 4096-byte ones. */
static bool gpt_find(const struct image_reader *reader, struct gpt *gpt)
{
    static const uint32_t sectors[] = {512, 4096};
    for (size_t i = 0; i < 2; i++) {
        gpt->sector = sectors[i];
        if (gpt_read(reader, 1, gpt) || (reader->size >= 4ull * gpt->sector &&
                                         gpt_read(reader, reader->size / gpt->sector - 1, gpt)))
            return true;
    }
    return false;
}

static int gpt_parse(struct table_walk *walk, const struct gpt *gpt)
{
    static const uint8_t unused[16] = {0};
    strcpy(walk->facts->table, "gpt");
    walk->facts->gpt_sector = gpt->sector;
    format_guid(gpt->header + 56, walk->facts->gpt_guid);
    for (uint32_t i = 0; i < gpt->count; i++) {
        const uint8_t *entry = gpt->entries + (size_t)i * gpt->size;
        uint64_t first = get64(entry + 32), last = get64(entry + 40);
        if (memcmp(entry, unused, 16) == 0 || last < first || last >= UINT64_MAX / gpt->sector)
            continue;
        struct image_partition *partition =
            partition_add(walk, i + 1, first * gpt->sector, (last - first + 1) * gpt->sector);
        if (partition == NULL)
            return -1;
        format_guid(entry + 16, partition->partuuid);
    }
    return 0;
}

int table_parse(const struct image_reader *reader, const char *name, struct image_facts *facts,
                struct error *err)
{
    uint8_t sector[SECTOR];
    struct gpt gpt = {0};
    struct table_walk walk = {reader, name, facts, err};
    if (image_read(reader, 0, sector, SECTOR) < 0)
        return 0;
    bool is_mbr = mbr_plausible(sector);
    bool is_protective = false;
    for (unsigned i = 0; i < 4 && is_mbr; i++)
        is_protective = is_protective || sector[446 + 16 * i + 4] == TYPE_PROTECTIVE;
    if ((is_protective || !is_mbr) && gpt_find(reader, &gpt)) {
        if (is_mbr)
            facts->mbr_signature = get32(sector + 440);
        int result = gpt_parse(&walk, &gpt);
        free(gpt.entries);
        return result;
    }
    return is_mbr ? mbr_parse(&walk, sector) : 0;
}
