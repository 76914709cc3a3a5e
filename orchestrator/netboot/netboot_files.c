/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/netboot_files.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct memory_file {
    char *name;
    struct buffer *data;
};

struct part_sum {
    bool known;
    uint32_t crc;
};

struct netboot_files {
    struct parts *parts;
    struct part_sum *sums; /* one for each part */
    size_t count;
    struct memory_file *files;
};

struct netboot_files *netboot_files_new(struct parts *parts, const struct netboot_file *files,
                                        size_t count)
{
    struct netboot_files *all = calloc(1, sizeof *all);
    if (all == NULL)
        return NULL;
    all->parts = parts != NULL ? parts_ref(parts) : NULL;
    all->sums = calloc(parts != NULL ? parts_count(parts) : 1, sizeof *all->sums);
    all->files = calloc(count + 1, sizeof *all->files);
    bool short_of_memory = all->sums == NULL || all->files == NULL;
    for (size_t i = 0; i < count && !short_of_memory; i++) {
        all->files[i].name = strdup(files[i].name);
        all->files[i].data = buffer_copy(files[i].data, files[i].size);
        all->count = i + 1;
        short_of_memory = all->files[i].name == NULL || all->files[i].data == NULL;
    }
    if (short_of_memory) {
        netboot_files_free(all);
        return NULL;
    }
    return all;
}

static struct byte_source *open_part(struct netboot_files *files, const struct netboot_name *name,
                                     struct error *err)
{
    if (files->parts == NULL || name->part >= parts_count(files->parts)) {
        error_set(err, ERROR_USAGE, "there is no part %u", name->part);
        return NULL;
    }
    struct byte_source *source = part_open(files->parts, name->part, name->gzip);
    if (source == NULL)
        error_set(err, ERROR_IO, "out of memory");
    return source;
}

static struct byte_source *open_memory(struct buffer *data, struct error *err)
{
    struct byte_source *source = data != NULL ? source_memory_new(data) : NULL;
    if (source == NULL)
        error_set(err, ERROR_IO, "out of memory");
    return source;
}

/* Some clients take an empty file for a failure. */
static struct byte_source *open_receipt(struct error *err)
{
    struct buffer *data = buffer_copy("OK\n", 3);
    struct byte_source *source = open_memory(data, err);
    buffer_unref(data);
    return source;
}

struct byte_source *netboot_files_open(struct netboot_files *files, const struct netboot_name *name,
                                       struct error *err)
{
    if (name->kind == NAME_PART)
        return open_part(files, name, err);
    if (name->kind == NAME_REPORT)
        return netboot_files_judge(files, &name->report, err) == 0 ? open_receipt(err) : NULL;
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->files[i].name, name->file) == 0)
            return open_memory(files->files[i].data, err);
    error_set(err, ERROR_USAGE, "there is no such file");
    return NULL;
}

void netboot_files_served(struct netboot_files *files, unsigned part, uint32_t crc)
{
    files->sums[part] = (struct part_sum){true, crc};
}

bool netboot_files_all_served(const struct netboot_files *files)
{
    unsigned count = files->parts != NULL ? parts_count(files->parts) : 0;
    for (unsigned i = 0; i < count; i++)
        if (!files->sums[i].known)
            return false;
    return true;
}

bool netboot_files_crc(const struct netboot_files *files, uint32_t *crc)
{
    unsigned count = files->parts != NULL ? parts_count(files->parts) : 0;
    *crc = 0;
    for (unsigned i = 0; i < count; i++)
        *crc =
            (uint32_t)crc32_combine(*crc, files->sums[i].crc, (z_off_t)parts_size(files->parts, i));
    return netboot_files_all_served(files);
}

int netboot_files_judge(const struct netboot_files *files, const struct netboot_report *report,
                        struct error *err)
{
    if (report->kind != REPORT_PART)
        return 0;
    if (files->parts == NULL || report->part >= parts_count(files->parts))
        return error_set(err, ERROR_PROTOCOL, "there is no part %u", report->part);
    uint64_t size = parts_size(files->parts, report->part);
    if (report->bytes != size)
        return error_set(err, ERROR_PROTOCOL, "part %u has %llu bytes, not %llu", report->part,
                         (unsigned long long)size, (unsigned long long)report->bytes);
    const struct part_sum *sum = &files->sums[report->part];
    if (!sum->known)
        return error_set(err, ERROR_PROTOCOL, "part %u was not fetched yet", report->part);
    if (!report_crc_equals(report, sum->crc))
        return error_set(err, ERROR_PROTOCOL, "the crc32 of part %u is %08x, not %08x",
                         report->part, sum->crc, report->crc);
    return 0;
}

void netboot_files_free(struct netboot_files *files)
{
    if (files == NULL)
        return;
    for (size_t i = 0; i < files->count; i++) {
        free(files->files[i].name);
        buffer_unref(files->files[i].data);
    }
    free(files->files);
    free(files->sums);
    parts_close(files->parts);
    free(files);
}
