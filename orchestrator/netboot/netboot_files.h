/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of one target: the parts of its image, files in memory, and reports. */
#ifndef NETBOOT_NETBOOT_FILES_H
#define NETBOOT_NETBOOT_FILES_H

#include "netboot/byte_source.h"
#include "netboot/netboot_name.h"
#include "netboot/part.h"

#include <stdbool.h>
#include <stddef.h>

/* A file in memory, by its name in the target's directory ("boot.scr"). */
struct netboot_file {
    const char *name;
    const void *data;
    size_t size;
};

struct netboot_files;

/* Takes a reference to parts (NULL: there are none) and copies the files. NULL when memory is
 * short. */
struct netboot_files *netboot_files_new(struct parts *parts, const struct netboot_file *files,
                                        size_t count);

/* Opens what a read request asks for; asking for a report gets a short file. NULL with err: there
 * is no such file (the sentence is for the client). */
struct byte_source *netboot_files_open(struct netboot_files *files, const struct netboot_name *name,
                                       struct error *err);

/* A part has been handed out to its last byte. */
void netboot_files_served(struct netboot_files *files, unsigned part, uint32_t crc);

/* Whether every part has been. */
bool netboot_files_all_served(const struct netboot_files *files);

/* The crc32 of all parts, one behind the other, as they were handed out. False: not all were. */
bool netboot_files_crc(const struct netboot_files *files, uint32_t *crc);

/* Is what a report says of a part true? 0, or -1 with err (ERROR_PROTOCOL). Other reports are for
 * others to judge: 0. */
int netboot_files_judge(const struct netboot_files *files, const struct netboot_report *report,
                        struct error *err);

/* NULL is allowed. */
void netboot_files_free(struct netboot_files *files);

#endif
