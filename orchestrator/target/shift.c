/* SPDX-License-Identifier: Apache-2.0 */
#include "target/shift.h"

#include "netboot/flash_script.h"
#include "netboot/part.h"

#include <inttypes.h>
#include <string.h>

#define SECTOR 512u

_Static_assert(STATUS_PARTITIONS_MAX <= 32, "shift_kept has a bit for each");

bool shift_is_wanted(const struct target_spec *spec)
{
    return spec != NULL && spec->recovery == RECOVERY_NETBOOT &&
           spec->netboot.layout == NETBOOT_SHIFTED;
}

uint32_t shift_first_block(const struct target_spec *spec, const struct store_info *info)
{
    return shift_is_wanted(spec) && info->facts.partition_count > 0
               ? (uint32_t)(info->facts.partitions[0].start / info->block_size)
               : 0;
}

/* By the number in the table: not all need be there. NULL: it has none. */
static const struct fact_partition *find_partition(const struct target_facts *facts,
                                                   unsigned number)
{
    for (unsigned i = 0; i < facts->partition_count; i++)
        if (facts->partitions[i].number == number)
            return &facts->partitions[i];
    return NULL;
}

/* --- the disk ------------------------------------------------------------------------- */

static int loader_missing(const struct target_facts *facts, const char *why, struct error *err)
{
    error_set(err, ERROR_REFUSED,
              "%s has no boot loader in front that recovery: netboot could fall back on: %s",
              facts->disk, why);
    return error_remedy(err,
                        "where the boot loader lives elsewhere write netboot: {layout: disk}; else "
                        "make the disk with `fleetflash recovery image` and flash it once with "
                        "mode: netboot");
}

/* Is there something to recover with, and room for an image behind it? */
static int look_at_disk(const struct target_facts *facts, struct error *err)
{
    const struct fact_partition *first = find_partition(facts, 1);
    const struct fact_partition *second = find_partition(facts, 2);
    if (facts->disk_sector != 0 && facts->disk_sector != SECTOR) {
        error_set(err, ERROR_REFUSED,
                  "%s has logical sectors of %u bytes: nothing is put behind a boot loader, as "
                  "recovery: netboot wants it, on disks with other sectors than %u bytes",
                  facts->disk, facts->disk_sector, SECTOR);
        return error_remedy(err, "use another disk or card; where the boot loader lives elsewhere "
                                 "write netboot: {layout: disk}");
    }
    if (strcmp(facts->table, "mbr") != 0)
        return loader_missing(facts, "it has no MBR", err);
    if (first == NULL || first->boot_loader[0] == '\0')
        return loader_missing(facts,
                              "its first partition is no FAT file system with boot.scr, or a file "
                              "u-boot… or uboot…, in it",
                              err);
    if (second == NULL || first->start == 0 || first->size == 0 ||
        second->start < first->start + first->size)
        return loader_missing(facts, "there is no second partition behind the first one", err);
    if (facts->stale_table) {
        error_set(err, ERROR_REFUSED,
                  "the partition table of %s was changed, and the kernel still goes by the old one",
                  facts->disk);
        return error_remedy(err, "reboot the device");
    }
    return 0;
}

/* --- the image ------------------------------------------------------------------------ */

static int misfit(struct error *err)
{
    return error_remedy(err,
                        "use an image that is partitioned like the disk, or flash it once with "
                        "mode: netboot, which writes the partition table as well and keeps "
                        "nothing but the boot loader's partition");
}

/* Whole blocks are sent, so the first partition has to begin with one. */
static int find_place(const struct target_facts *facts, const struct store_info *info,
                      struct shift *shift, struct error *err)
{
    uint64_t from = info->facts.partitions[0].start;
    const struct fact_partition *second = find_partition(facts, 2);
    if (from == 0 || from % info->block_size != 0) {
        error_set(err, ERROR_REFUSED,
                  "the image's first partition begins at byte %" PRIu64
                  ", which is no whole number of %u KiB: it cannot be written without what is in "
                  "front of it",
                  from, info->block_size / 1024);
        return error_remedy(err, "let the image's partitions begin at whole MiB");
    }
    if (second->start < from) {
        error_set(err, ERROR_REFUSED,
                  "%s begins at byte %" PRIu64 ", in front of the image's first partition "
                  "(%" PRIu64 ")",
                  second->path, second->start, from);
        return misfit(err);
    }
    *shift = (struct shift){(uint32_t)(from / info->block_size), second->start - from};
    if (shift->bytes <= facts->disk_size && info->image_size <= facts->disk_size - shift->bytes)
        return 0;
    error_set(err, ERROR_REFUSED,
              "the image (%" PRIu64 " bytes, of which %" PRIu64
              " are left out) is larger than what %s has behind its boot loader",
              info->image_size, from, facts->disk);
    return error_remedy(err, "use a smaller image or a larger disk");
}

/* The table stays: the image's partitions must be where it says. */
static int compare_partition(const struct target_facts *facts, const struct store_info *info,
                             const struct shift *shift, unsigned i, struct error *err)
{
    const struct image_partition *image = &info->facts.partitions[i];
    const struct fact_partition *disk = find_partition(facts, i + 2);
    if (disk == NULL)
        error_set(err, ERROR_REFUSED, "%s has no partition %u for the image's partition %u",
                  facts->disk, i + 2, i + 1);
    else if (disk->start != image->start + shift->bytes)
        error_set(err, ERROR_REFUSED,
                  "%s begins at byte %" PRIu64
                  ", but behind the boot loader the image's partition %u begins at byte %" PRIu64,
                  disk->path, disk->start, i + 1, image->start + shift->bytes);
    else if (disk->size < image->size)
        error_set(err, ERROR_REFUSED,
                  "%s has %" PRIu64 " bytes, the image's partition %u has %" PRIu64, disk->path,
                  disk->size, i + 1, image->size);
    else
        return 0;
    return misfit(err);
}

static bool is_images(const struct fact_partition *partition, const struct store_info *info)
{
    return partition->number >= 2 && partition->number <= info->facts.partition_count + 1;
}

/* What is not the image's must not be touched by what the image has between and behind its own. */
static int compare_others(const struct target_facts *facts, const struct store_info *info,
                          const struct shift *shift, struct error *err)
{
    uint64_t from = info->facts.partitions[0].start + shift->bytes;
    uint64_t end = info->image_size + shift->bytes;
    for (unsigned i = 0; i < facts->partition_count; i++) {
        const struct fact_partition *partition = &facts->partitions[i];
        if (is_images(partition, info) || partition->start >= end ||
            partition->start + partition->size <= from)
            continue;
        error_set(err, ERROR_REFUSED,
                  "%s lies where the image goes, and none of the image's %u partitions is there",
                  partition->path, info->facts.partition_count);
        return misfit(err);
    }
    return 0;
}

int shift_find(const struct target_status *status, const struct store_info *info,
               struct shift *shift, struct error *err)
{
    const struct target_facts *facts = &status->facts;
    struct part_layout range = {0};
    *shift = (struct shift){0};
    if (!shift_is_wanted(status->spec))
        return 0;
    if (look_at_disk(facts, err) != 0)
        return -1;
    if (info == NULL)
        return 0;
    if (flash_script_range(NETBOOT_SHIFTED, info, &range, err) != 0 ||
        find_place(facts, info, shift, err) != 0)
        return -1;
    for (unsigned i = 0; i < info->facts.partition_count; i++)
        if (compare_partition(facts, info, shift, i, err) != 0)
            return -1;
    return compare_others(facts, info, shift, err);
}

const struct fact_partition *shift_doubt(const struct target_status *status)
{
    const struct target_spec *spec = status->spec;
    const struct fact_partition *first = find_partition(&status->facts, 1);
    if (spec->recovery != RECOVERY_NETBOOT || spec->netboot.layout != NETBOOT_DISK)
        return NULL;
    return first != NULL && first->boot_loader[0] != '\0' ? first : NULL;
}

uint32_t shift_kept(const struct target_status *status, const struct store_info *info)
{
    uint32_t kept = 0;
    for (unsigned i = 0; shift_is_wanted(status->spec) && i < status->facts.partition_count; i++) {
        const struct fact_partition *partition = &status->facts.partitions[i];
        if (info == NULL ? partition->number == 1 : !is_images(partition, info))
            kept |= 1u << i;
    }
    return kept;
}
