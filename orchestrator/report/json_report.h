/* SPDX-License-Identifier: Apache-2.0 */
/* What became of a run, as a JSON document: --report FILE.json, and what a gate and the notify
 * command get. Every name is in docs/report.md. */
#ifndef REPORT_JSON_REPORT_H
#define REPORT_JSON_REPORT_H

#include "run/run.h"

#define REPORT_VERSION 1

/* For a wave's gate: the same document with that wave's targets only, and `wave`, its number
 * from 1. For the caller to free; NULL when memory is short. */
char *report_wave_text(const struct run_view *run, unsigned wave);

/* The whole document, as a .json report has it; the same. */
char *report_text(const struct run_view *run);

#endif
