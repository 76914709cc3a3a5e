/* SPDX-License-Identifier: Apache-2.0 */
/* What --list prints. */
#ifndef CLI_LIST_H
#define CLI_LIST_H

#include "inventory.h"

#include <stdio.h>

/* A table of the selected targets (selected has target_count entries, NULL: all) and, below it, the
 * waves as far as they concern them. */
void list_print(const struct inventory *inventory, const bool *selected, FILE *out);

/* The same for programs: one object a line, {"event": "target_listed", …} for each target, then
 * {"event": "wave_listed", …} for each wave, in the conventions of docs/events.md. Returns 0, or -1
 * when memory is short or writing fails. */
int list_print_json(const struct inventory *inventory, const bool *selected, FILE *out);

#endif
