/* SPDX-License-Identifier: Apache-2.0 */
/* Resets one board as its inventory says: a pulse on a GPIO line, or a command that switches its
 * power. Nothing here blocks the loop. */
#ifndef RESET_RESET_H
#define RESET_RESET_H

#include "base/error.h"
#include "inventory.h"

#include <uv.h>

struct reset;

/* err: NULL when all went well, else why not; it is valid during the call. acted: the line was
 * driven or the command started, so that the board may be reset, error or not. */
typedef void (*reset_callback)(const struct error *err, bool acted, void *arg);

/* Begins to reset target, which outlives it and whose reset is present. A line is claimed, held
 * active for the target's `hold`, driven inactive, made an input and given back; a command is run
 * by /bin/sh with the target's name, address and MAC address as $1, $2 and $3, two minutes at most.
 * done comes from the loop, exactly once. Returns NULL when there is no memory. */
struct reset *reset_start(uv_loop_t *loop, const struct target_spec *target, reset_callback done,
                          void *arg);

/* Only looks whether the line is there and free; nothing is claimed, a command is not run. */
struct reset *reset_check(uv_loop_t *loop, const struct target_spec *target, reset_callback done,
                          void *arg);

/* Cuts it short: a line is given back at once, a command ended. done is not called any more. The
 * loop must go on until all is let go. NULL is allowed. */
void reset_cancel(struct reset *reset);

/* "line 17 of gpiochip0 low for 500 ms" or "its command", for messages. Returns out. */
char *reset_text(const struct reset_spec *spec, char *out, size_t out_size);

#endif
