/* SPDX-License-Identifier: Apache-2.0 */
/* The last words of a run, the same on a screen and in a log. */
#ifndef REPORT_SUMMARY_H
#define REPORT_SUMMARY_H

#include "report/text.h"
#include "run/run.h"

/* Prints one sentence on the whole, then what went wrong with reason and remedy (targets with the
 * same trouble together), then bytes and time. Lines are broken at width columns; 0: never. */
void summary_print(const struct run_view *run, const struct paint *paint, unsigned width,
                   FILE *out);

/* That one sentence; true when all went well. */
bool summary_headline(const struct run_view *run, char *out, size_t out_size);

/* Did something go wrong with it, or not happen at all? */
bool summary_is_trouble(const struct run_view *run, const struct target_status *target);

/* What went wrong with it, for where its name stands already: without that at its beginning. Part
 * of the target's own text. */
const char *summary_told(const struct target_status *target);

/* The same to print. shared: as it can be said of several devices, "it" in place of its name
 * and address. */
void summary_reason(const struct target_status *target, bool shared, char *out, size_t out_size);

/* Is there the same to say of both, but for their names and addresses? */
bool summary_same_trouble(const struct target_status *a, const struct target_status *b);

/* How far a troubled one got and what that means for the device. */
void summary_meaning(const struct target_status *target, char *out, size_t out_size);

/* Its disk in a line, as far as it is known: "/dev/mmcblk0, 29.7 GiB SC32G 0x1a2b". Returns out. */
char *summary_disk(const struct target_facts *facts, char *out, size_t out_size);

#endif
