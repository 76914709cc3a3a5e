/* SPDX-License-Identifier: Apache-2.0 */
#include "sectors.h"

#include "fault.h"

#include <string.h>

#define MBR_ENTRY      16u
#define MBR_FIRST      446u
#define MBR_PROTECTIVE 0xee /* the entry that stands for a GPT */

static bool has_gpt(const uint8_t *first, size_t size, uint32_t sector)
{
    return sector + 8u <= size && memcmp(first + sector, "EFI PART", 8) == 0;
}

static uint32_t number(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Does a partition end behind the image, counted in these sectors? Is one a GPT's? */
static void look_at_mbr(const uint8_t *first, uint32_t sector, uint64_t image_size, bool *beyond,
                        bool *protective)
{
    *beyond = *protective = false;
    if (first[510] != 0x55 || first[511] != 0xaa)
        return;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = first + MBR_FIRST + i * MBR_ENTRY;
        uint64_t end = (uint64_t)number(entry + 8) + number(entry + 12);
        *protective |= entry[4] == MBR_PROTECTIVE;
        *beyond |= entry[4] != 0 && end * sector > image_size;
    }
}

static int refuse(const struct disk *disk, unsigned other, struct fail *fail)
{
    fault_set(fail, FAILCODE_DISK,
              "%s has %u-byte sectors, the image's partition table counts in %u-byte ones",
              disk->path, disk->logical_sector, other);
    return fault_remedy(fail, "use an image made for %u-byte sectors", disk->logical_sector);
}

int sectors_check(const struct disk *disk, const uint8_t *first, size_t size, uint64_t image_size,
                  struct fail *fail)
{
    uint32_t sector = disk->logical_sector;
    bool beyond, protective;
    if (size < 4096 + 8)
        return 0;
    look_at_mbr(first, sector, image_size, &beyond, &protective);
    if (sector != 512 && (has_gpt(first, size, 512) || (beyond && !has_gpt(first, size, sector))))
        return refuse(disk, 512, fail);
    /* What happens to stand at byte 4096 of an image with a table of its own means nothing. */
    if (sector == 512 && protective && !has_gpt(first, size, 512) && has_gpt(first, size, 4096))
        return refuse(disk, 4096, fail);
    return 0;
}
