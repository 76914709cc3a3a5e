/* SPDX-License-Identifier: Apache-2.0 */
/* The script that a board's U-Boot fetches when it is to be flashed. It is made for one run and
 * knows the image's parts: it fetches each, writes it, reads it back, tells its crc32, reports, and
 * resets the board. How it works together with the script on the board: docs/netboot.md. */
#ifndef NETBOOT_FLASH_SCRIPT_H
#define NETBOOT_FLASH_SCRIPT_H

#include "base/error.h"
#include "inventory.h"
#include "netboot/part.h"
#include "store/store.h"

/* The range of the image that a layout puts on the board's disk: all of it, or what is behind the
 * boot loader's own partition there: from the image's first partition on. 0, or -1 with err
 * (ERROR_REFUSED) where that layout cannot take the image, or the parts (range->size) are no whole
 * sectors. */
int flash_script_range(enum netboot_layout layout, const struct store_info *info,
                       struct part_layout *range, struct error *err);

struct flash_script {
    const char *mac;  /* canonical */
    const char *disk; /* as U-Boot calls it: "mmc 0" */
    enum netboot_layout layout;
    const struct image_facts *facts; /* the image's partitions */
    const struct parts *parts;       /* of the layout's range */
    unsigned tries;                  /* of each part, at least 1 */
};

/* The text is the caller's to free; NULL with err. */
char *flash_script_make(const struct flash_script *script, struct error *err);

#endif
