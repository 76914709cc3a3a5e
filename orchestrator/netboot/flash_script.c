/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/flash_script.h"

#include "netboot/report_text.h"
#include "values.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR    512u
#define MBR_TABLE 0x1beu /* where the first of the four entries is */

/* --- what fits ----------------------------------------------------------------------- */

/* Behind the boot loader's partition the image's become the second, third, …: there are four. */
static int shifted_fits(const struct image_facts *facts, struct error *err)
{
    const char *why = NULL;
    if (strcmp(facts->table, "mbr") != 0)
        why = "it has no MBR";
    else if (facts->partition_count == 0 || facts->partition_count > 3)
        why = "it does not have one to three partitions";
    for (unsigned i = 0; why == NULL && i < facts->partition_count; i++) {
        const struct image_partition *partition = &facts->partitions[i];
        const char *number = strrchr(partition->partuuid, '-');
        if (number == NULL || strtoul(number + 1, NULL, 16) != i + 1)
            why = "its partitions are not numbered 1, 2, 3";
        else if (i > 0 && partition->start < partition[-1].start)
            why = "its partitions are not in the order of their numbers";
    }
    if (why == NULL)
        return 0;
    error_set(err, ERROR_REFUSED, "the image cannot be put behind the boot loader's partition: %s",
              why);
    return error_remedy(err, "use an image with an MBR and one to three partitions; where the boot "
                             "loader does not live on this disk write netboot: {layout: disk}");
}

int flash_script_range(enum netboot_layout layout, const struct store_info *info,
                       struct part_layout *range, struct error *err)
{
    if (layout == NETBOOT_SHIFTED) {
        if (shifted_fits(&info->facts, err) != 0)
            return -1;
        range->start = info->facts.partitions[0].start;
    }
    if (range->size % SECTOR != 0) {
        error_set(err, ERROR_REFUSED, "parts of %" PRIu64 " bytes are no whole sectors of %u",
                  range->size, SECTOR);
        return error_remedy(err, "write netboot: {part_size: 64M}");
    }
    if (range->size != 0 && (info->image_size - range->start - 1) / range->size >= PARTS_MAX) {
        error_set(err, ERROR_REFUSED,
                  "in parts of %" PRIu64 " bytes the image has more than %u of them", range->size,
                  PARTS_MAX);
        return error_remedy(err, "write a larger netboot: {part_size}");
    }
    if ((info->image_size - range->start) % SECTOR == 0)
        return 0;
    error_set(err, ERROR_REFUSED,
              "the image's %" PRIu64 " bytes are no whole sectors of %u bytes, and U-Boot writes "
              "only those",
              info->image_size, SECTOR);
    return error_remedy(err, "make the image longer: truncate --size %%%u", SECTOR);
}

/* --- writing ------------------------------------------------------------------------- */

/* Where the image begins on the disk, as a sector, and the addresses in RAM. */
static void write_places(FILE *out, const struct flash_script *script)
{
    int length = (int)strcspn(script->disk, " ");
    fprintf(out, "setenv ff_if %.*s\nsetenv ff_dev%s\n", length, script->disk,
            script->disk + length);
    fprintf(out, "setenv ff_mac ");
    for (const char *c = script->mac; *c != '\0'; c++)
        fputc(*c == ':' ? '-' : *c, out);
    fprintf(out, "\nsetexpr ff_scratch ${scriptaddr} + 200000\n"
                 "setexpr ff_entry ${ff_scratch} + 800\n"
                 "setexpr ff_table ${ff_scratch} + 1000\n"
                 "setenv tftptimeout 5000; setenv tftptimeoutcountmax 10\n"
                 "setenv ff_bytes 0\n"
                 "setenv ff_failed\n"
                 "${ff_if} dev ${ff_dev} || setenv ff_failed no-disk\n");
    if (script->layout == NETBOOT_SHIFTED)
        fprintf(
            out,
            "part start ${ff_if} ${ff_dev} 1 ff_first && part size ${ff_if} ${ff_dev} 1 ff_size && "
            "setexpr ff_base ${ff_first} + ${ff_size} || setenv ff_failed no-boot-partition\n");
    else
        fprintf(out, "setenv ff_base 0\n");
}

/* What is done for each part. It is read back to where it was fetched to, and the sum of that is
 * what the server compares: a part that is told of is on the disk. */
static void write_functions(FILE *out, unsigned tries)
{
    fprintf(
        out,
        "setenv ff_do 'setexpr ff_at ${ff_base} + ${ff_offset}; "
        "setenv ff_step " REPORT_FETCH
        "; tftpboot ${ramdisk_addr_r} ${ff_mac}/rpi_image_part_${ff_n} && "
        "test 0x${filesize} = ${ff_size} && "
        "setenv ff_step write && ${ff_if} write ${ramdisk_addr_r} ${ff_at} ${ff_count} && "
        "mw.l ${ramdisk_addr_r} 0 ${ff_words} && "
        "setenv ff_step read && ${ff_if} read ${ramdisk_addr_r} ${ff_at} ${ff_count} && "
        "crc32 ${ramdisk_addr_r} ${ff_size} ${ff_scratch} && setexpr.l ff_crc *${ff_scratch} && "
        "setenv ff_step compare && "
        "tftpboot ${ff_scratch} ${ff_mac}/report/PART-${ff_n}-${ff_size}-${ff_crc}'\n");
    fprintf(out, "setenv ff_part 'run ff_do");
    for (unsigned i = 1; i < tries; i++)
        fprintf(out, " || run ff_do");
    fprintf(out, "'\n");
    /* The text of a variable as a file: "ff_text=…" in memory, without its first eight bytes. */
    fprintf(
        out,
        "setenv ff_put 'env export -t ${ff_scratch} ff_text && "
        "setexpr ff_at ${ff_scratch} + 8 && setexpr ff_size ${filesize} - 9 && "
        "tftpput ${ff_at} ${ff_size} ${ff_mac}/report'\n"
        "setenv ff_tell 'run ff_put || tftpboot ${ff_scratch} ${ff_mac}/report/${ff_report}'\n");
}

/* A board whose power fails in the middle must not try to boot half a system. */
static void write_head_away(FILE *out)
{
    fprintf(out, "if test -z \"${ff_failed}\"; then\n"
                 "  mw.b ${ramdisk_addr_r} 0 10000\n"
                 "  ${ff_if} write ${ramdisk_addr_r} ${ff_base} 80 || setenv ff_failed head-write\n"
                 "fi\n");
}

static void write_part(FILE *out, const struct flash_script *script, unsigned part)
{
    uint64_t offset = parts_offset(script->parts, part) - parts_offset(script->parts, 0);
    uint64_t size = parts_size(script->parts, part);
    /* The first part comes last. Not the board's own sum: one with 32 bits counts to 4 GiB. */
    uint64_t done =
        part > 0 ? offset - parts_size(script->parts, 0) + size : parts_total(script->parts);
    fprintf(out, "if test -z \"${ff_failed}\"; then\n");
    fprintf(out,
            "  setenv ff_n %u; setenv ff_offset 0x%" PRIx64 "; setenv ff_count 0x%" PRIx64
            "; setenv ff_words 0x%" PRIx64 "; setenv ff_size 0x%" PRIx64 "\n"
            "  run ff_part || setenv ff_failed part-%u-${ff_step}\n"
            "fi\n"
            "if test -z \"${ff_failed}\"; then setenv ff_bytes %" PRIx64 "; fi\n",
            part, offset / SECTOR, size / SECTOR, size / 4, size, part, done);
}

/* Linux looks at the type only for extended partitions; board firmware wants to see FAT. */
static unsigned partition_type(const struct image_partition *partition)
{
    return strcmp(partition->filesystem, "vfat") == 0   ? 0x0c
           : strcmp(partition->filesystem, "swap") == 0 ? 0x82
                                                        : 0x83;
}

/* The entries behind the boot loader's become the image's, moved to where it is now. */
static void write_table(FILE *out, const struct flash_script *script)
{
    const struct image_facts *facts = script->facts;
    fprintf(out, "if test -z \"${ff_failed}\"; then\n"
                 "  ${ff_if} read ${ff_table} 0 1 || setenv ff_failed table-read\n");
    for (unsigned i = 0; i < 3; i++) {
        const struct image_partition *partition = &facts->partitions[i];
        if (i < facts->partition_count)
            fprintf(out,
                    "  mw.l ${ff_entry} fffffe00; setexpr ff_at ${ff_entry} + 4\n"
                    "  mw.l ${ff_at} fffffe%02x; setexpr ff_at ${ff_entry} + 8\n"
                    "  setexpr ff_lba ${ff_base} + 0x%" PRIx64 "\n"
                    "  mw.l ${ff_at} ${ff_lba}; setexpr ff_at ${ff_entry} + c\n"
                    "  mw.l ${ff_at} %" PRIx64 "\n",
                    partition_type(partition),
                    (partition->start - facts->partitions[0].start) / SECTOR,
                    partition->size / SECTOR);
        else
            fprintf(out, "  mw.b ${ff_entry} 0 10\n");
        fprintf(out, "  setexpr ff_at ${ff_table} + %x; cp.b ${ff_entry} ${ff_at} 10\n",
                MBR_TABLE + 16 * (i + 1));
    }
    fprintf(out, "  if test -z \"${ff_failed}\"; then "
                 "${ff_if} write ${ff_table} 0 1 || setenv ff_failed table-write; fi\n"
                 "fi\n");
}

static void write_report(FILE *out)
{
    fprintf(out, "if test -z \"${ff_failed}\"; then\n"
                 "  setenv ff_report OK-0x${ff_bytes}; setenv ff_text OK 0x${ff_bytes}\n"
                 "  run ff_tell || run ff_tell || run ff_tell\n"
                 "  echo fleetflash: flashed\n"
                 "  reset\n"
                 "else\n"
                 "  echo \"fleetflash: failed: ${ff_failed}\"\n"
                 "  setenv ff_report FAILED-0x${ff_bytes}-${ff_failed}\n"
                 "  setenv ff_text FAILED 0x${ff_bytes} ${ff_failed}\n"
                 "  run ff_tell || run ff_tell || run ff_tell\n"
                 "fi\n");
}

char *flash_script_make(const struct flash_script *script, struct error *err)
{
    char *text = NULL;
    size_t size;
    if (!value_is_disk(script->disk)) {
        error_set(err, ERROR_USAGE, "'%s' is no disk of U-Boot", script->disk);
        error_remedy(err, "write netboot: {disk: mmc 0}");
        return NULL;
    }
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        unsigned count = parts_count(script->parts);
        fprintf(out, "# fleetflash: %u parts, %" PRIu64 " bytes\n", count,
                parts_total(script->parts));
        write_places(out, script);
        write_functions(out, script->tries);
        write_head_away(out);
        for (unsigned part = 1; part < count; part++)
            write_part(out, script, part);
        if (script->layout == NETBOOT_SHIFTED)
            write_table(out, script);
        write_part(out, script, 0);
        write_report(out);
        if (fclose(out) == 0)
            return text;
    }
    free(text);
    error_set(err, ERROR_IO, "out of memory");
    return NULL;
}
