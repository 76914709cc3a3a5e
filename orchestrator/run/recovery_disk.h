/* SPDX-License-Identifier: Apache-2.0 */
/* The image of a disk with nothing on it but the boot loader's partition: FAT, 4 MiB from the
 * beginning. What is flashed goes behind it. */
#ifndef RUN_RECOVERY_DISK_H
#define RUN_RECOVERY_DISK_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>

#define RECOVERY_DISK_START ((uint64_t)4 << 20)   /* bytes; where Raspberry Pi's images begin */
#define RECOVERY_DISK_SIZE  ((uint64_t)128 << 20) /* of the partition */

/* Makes the file at path, which must not be there: the same bytes of the same files and script.
 * files: what goes into the partition by its own name, NULL-terminated (of a directory all that is
 * in it); script goes there as boot.scr, and a config.txt for Raspberry Pis where none is given. 0,
 * or -1 with err (ERROR_USAGE: a file is missing, a tool is; ERROR_IO). */
int recovery_disk_make(const char *path, const char *const *files, const struct buffer *script,
                       struct error *err);

/* Whether files has a Raspberry Pi's firmware, and no device tree for it to hand to U-Boot, which
 * does not start without one. */
bool recovery_disk_lacks_tree(const char *const *files);

#endif
