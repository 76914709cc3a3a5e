/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded of a run and of a target, as JSON: the same in the event stream (docs/events.md)
 * and in the report (docs/report.md). */
#ifndef REPORT_RECORD_H
#define REPORT_RECORD_H

#include "report/fleet.h"

#include <jansson.h>

/* All of these return a new reference, NULL when memory is short. */

/* A string that may have come from a device; null for NULL and "". */
json_t *record_text(const char *text);

/* RFC 3339 with ms, null for 0. */
json_t *record_time(uint64_t unix_ms);

/* ms as seconds. */
json_t *record_seconds(uint64_t milliseconds);

/* {"class", "text", "remedy"}; null where there is none. */
json_t *record_error(const struct error *error);

/* {"flashed": n, …} with every outcome's stable name, and "unfinished". */
json_t *record_counts(const struct run_view *run);

/* Everything that a report says of a target. */
json_t *record_target(const struct target_status *target);

/* Compact, one line; the caller frees. */
char *record_dump(const json_t *value, size_t flags);

#endif
