/* SPDX-License-Identifier: Apache-2.0 */
/* What all the observers need to know of a run: counts, names, and a memory for each target. */
#ifndef REPORT_FLEET_H
#define REPORT_FLEET_H

#include "run/run.h"

/* Sums over the targets of a run. */
struct fleet {
    size_t outcomes[OUTCOME_COUNT]; /* OUTCOME_NONE: waiting and active ones */
    size_t states[STATE_COUNT];     /* of the active ones */
    size_t waiting, active;
    uint64_t bytes_sent, bytes_written, bytes_skipped;
    double rate; /* of the active ones, bytes per second */
};
void fleet_count(const struct run_view *run, struct fleet *fleet);

/* Milliseconds until the last target is done, UINT64_MAX when nothing is known: from how long the
 * flashed ones took; before there are any (then rough is set), from the present pass of those under
 * way. now_ms is Unix time. */
uint64_t fleet_remaining(const struct run_view *run, uint64_t now_ms, bool *rough);

/* Under way: its turn has come and its outcome is not set. */
bool target_is_active(const struct target_status *target);

/* "10.0.0.12:22", "[fe80::1]:22"; without a port where it is left to the ssh configuration. Returns
 * out. */
char *target_address(const struct target_spec *spec, char *out, size_t out_size);

/* Milliseconds that the run (or a target) took, up to now when it has not ended. */
uint64_t run_duration(const struct run_view *run);
uint64_t target_duration(const struct target_status *target);

/* "debug", "info", "warning", "error". */
const char *log_level_name(enum log_level level);

/* A zeroed piece of memory for each target, by target_status.index, made when first asked for. */
struct slots {
    char *data;
    size_t count;
    size_t item; /* bytes of one piece; set by the owner */
};
/* NULL when memory is short. Valid until the next call. */
void *slots_at(struct slots *slots, unsigned index);
void slots_free(struct slots *slots);

/* ms of a clock that only goes forward; Unix time in ms. */
uint64_t clock_monotonic(void);
uint64_t clock_unix(void);

#endif
