/* SPDX-License-Identifier: Apache-2.0 */
/* fleetflash reset: one board is reset, nothing else. */
#ifndef RUN_RESET_COMMAND_H
#define RUN_RESET_COMMAND_H

#include "base/error.h"
#include "inventory.h"

#include <stdbool.h>
#include <uv.h>

struct reset_command {
    uv_loop_t *loop;
    const struct inventory *inventory;
    const char *target;    /* its name */
    const char *state_dir; /* where the devices' locks are */
    bool quiet;            /* says only what went wrong */
};

/* Takes the device's lock (a reset in the middle of a flash would lose it), resets it and says so
 * on stderr; runs the loop. Returns 0; 130 when a signal cut it short, its line let go; or -1 with
 * the reason: ERROR_USAGE (no such target, chip or line, nothing said about its reset), ERROR_BUSY
 * with who holds the device, ERROR_IO (somebody else holds the line, the command failed). */
int reset_command(const struct reset_command *command, struct error *err);

#endif
