/* SPDX-License-Identifier: Apache-2.0 */
/* Earlier runs on standard output: --history and --show. For people a table; with json one object a
 * line (docs/events.md). */
#ifndef REPORT_PAST_H
#define REPORT_PAST_H

#include "journal/history.h"

#include <stdbool.h>
#include <stdio.h>

/* All runs, the latest first. 0, or -1 with err. */
int past_print_runs(struct journal *journal, bool json, FILE *out, struct error *err);

/* One run with its devices; from verbosity 1 on each device's steps too (json: always), from 2 on
 * (json: 1) what was told meanwhile. id must be a whole one (history_resolve). 0, or -1 with err.
 */
int past_print_run(struct journal *journal, const char *id, bool json, int verbosity, FILE *out,
                   struct error *err);

#endif
