/* SPDX-License-Identifier: Apache-2.0 */
/* The agents' programs, one for each architecture, held in memory for upload. */
#ifndef TARGET_AGENT_FILES_H
#define TARGET_AGENT_FILES_H

#include "base/buffer.h"
#include "base/error.h"

struct agent_file {
    const char *arch; /* "aarch64" */
    char sha256[65];
    struct buffer *content; /* NULL: not built */
    struct buffer *packed;  /* the same, by gzip, for devices that can unpack it; NULL: not there */
};

struct agent_files;

/* Reads them, with the .gz beside each, from $FLEETFLASH_AGENT_PATH, the build tree's or the
 * installed folder. NULL and a sentence when there is none at all. */
struct agent_files *agent_files_load(struct error *err);
void agent_files_free(struct agent_files *files);

/* The agent for a kernel's machine (uname -m); NULL when there is none. */
const struct agent_file *agent_files_find(const struct agent_files *files, const char *machine);

#endif
