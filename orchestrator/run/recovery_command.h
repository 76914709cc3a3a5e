/* SPDX-License-Identifier: Apache-2.0 */
/* fleetflash recovery: what boards that are flashed by their boot loader are prepared with. */
#ifndef RUN_RECOVERY_COMMAND_H
#define RUN_RECOVERY_COMMAND_H

#include "base/error.h"
#include "inventory.h"

#include <stdbool.h>

struct recovery_command {
    const struct inventory *inventory;
    const char *limit;        /* --limit, NULL: all that are flashed by their boot loaders */
    const char *const *words; /* NULL-terminated; of a script: more patterns of targets; of an
                                 image: files and directories for the boot loader's partition */
    const char *output;       /* the file that is made, replaced once it is complete; NULL: not
                                 given, which is an error */
    bool quiet;
};

/* Writes the boot script for the targets, as U-Boot's `source` wants it. 0, or -1 with err
 * (ERROR_USAGE, ERROR_IO). */
int recovery_script(const struct recovery_command *command, struct error *err);

/* Writes an SD card's image with that script and the files in its first partition. It runs
 * mkfs.vfat and mtools, and waits for them. 0, or -1 with err. */
int recovery_image(const struct recovery_command *command, struct error *err);

#endif
