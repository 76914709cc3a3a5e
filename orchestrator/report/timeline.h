/* SPDX-License-Identifier: Apache-2.0 */
/* The bar of a device's states in an HTML report: every bar of a report has the same scale. */
#ifndef REPORT_TIMELINE_H
#define REPORT_TIMELINE_H

#include "run/run.h"

#include <stdio.h>

struct timeline {
    uint64_t from_ms, to_ms; /* Unix time in ms of the bar's ends */
    uint64_t step_ms;        /* between two marks of the scale */
};

/* From the first to the last thing that was done to a device of the run. */
struct timeline timeline_of(const struct run_view *run);

/* The scale: an element of class "axis". */
void timeline_put_axis(const struct timeline *timeline, FILE *out);

/* The time in each state, "probe 3s, transfer 1m05s". */
void timeline_put_words(const struct target_status *target, FILE *out);

/* A device's bar: an element of class "track" with one of class "span STATE" for each span, and,
 * when the device failed, one of class "end" where that was. */
void timeline_put_track(const struct timeline *timeline, const struct target_status *target,
                        FILE *out);

#endif
