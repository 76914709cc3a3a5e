/* SPDX-License-Identifier: Apache-2.0 */
/* The script that is on boards for good, for their U-Boot: it asks the controller for a flash
 * script (netboot/flash_script.h) and boots what is on the disk where there is none. How the two
 * work together: docs/netboot.md. */
#ifndef NETBOOT_BOOT_SCRIPT_H
#define NETBOOT_BOOT_SCRIPT_H

#include "base/error.h"
#include "inventory.h"

/* The file that boards ask for, in their directories. */
#define FLASH_SCRIPT_NAME "boot.scr"

/* A board, and the controller's address as it sees it. */
struct boot_script_board {
    const struct target_spec *spec;
    const char *server; /* IPv4 address */
};

/* One script for count boards, at least one; if there are several it tells them apart by their MAC
 * addresses. Checks that nothing of the inventory can be taken for something else by U-Boot's
 * shell. The text is the caller's to free; NULL with err (ERROR_USAGE, naming the target). */
char *boot_script_make(const struct boot_script_board *boards, size_t count, struct error *err);

/* Whether the board finds the server: by DHCP it is told how, else it is in the board's network or
 * behind a gateway. U-Boot warns where it is not, and tries; it works where the netmask is wrong
 * only here. */
bool boot_script_has_route(const struct boot_script_board *board);

#endif
