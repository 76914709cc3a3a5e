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

#endif
