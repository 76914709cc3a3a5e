/* SPDX-License-Identifier: Apache-2.0 */
/* Who watches a run for the user: the fleet view or lines on standard error, --json on standard
 * output, and the journal, which keeps the events. */
#ifndef WATCHERS_H
#define WATCHERS_H

#include "cli/options.h"
#include "journal/journal.h"
#include "run/run.h"

struct watchers {
    struct run *run; /* for the keys, NULL: it has not begun */
    struct plain *plain;
    struct screen *screen;
    struct events *events, *kept; /* kept: by the journal */
    struct run_observer observers[3];
    const struct run_observer *list[4]; /* ends with NULL */
};

/* journal: NULL where nothing is recorded. 0, or -1 with err when memory or threads are short;
 * watchers_close in both cases. */
int watchers_open(struct watchers *watchers, const struct options *options, uv_loop_t *loop,
                  struct journal *journal, struct error *err);

/* Waits until all is written. */
void watchers_close(struct watchers *watchers);

#endif
