/* SPDX-License-Identifier: Apache-2.0 */
/* --report FILE.xml: the run in the form of JUnit, which CI servers show as tests. */
#ifndef REPORT_JUNIT_REPORT_H
#define REPORT_JUNIT_REPORT_H

#include "run/run.h"

/* A suite for each wave with a test for each of its devices, and before them the suite "run" with
 * one test, "rollout": an error where the run itself did not get through (halted, interrupted, no
 * image), so that it is not green when nothing was started. Failed devices are failures, skipped
 * and not started ones skipped. Only what the common schemas have: facts of a device are its
 * system-out. For the caller to free; NULL when memory is short. */
char *junit_report_text(const struct run_view *run);

#endif
