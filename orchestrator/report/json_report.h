/* SPDX-License-Identifier: Apache-2.0 */
/* --report FILE: what became of a run, in a file. The format is chosen by the file's ending; .json
 * is described in docs/report.md. */
#ifndef REPORT_JSON_REPORT_H
#define REPORT_JSON_REPORT_H

#include "base/error.h"
#include "run/run.h"

#define REPORT_VERSION 1

/* Before the run: is the ending known, and can the file be written (or replaced)? Creates and
 * removes a file beside it. 0, or -1 with err (ERROR_USAGE). */
int report_check_writable(const char *path, struct error *err);

/* At the run's end: writes a file beside path and renames it, so that path is the old report or the
 * whole new one; a symbolic link is followed. 0, or -1 with err (ERROR_USAGE, ERROR_IO). */
int report_write(const struct run_view *run, const char *path, struct error *err);

/* For a wave's gate: the same document with that wave's targets only, and `wave`, its number
 * from 1. For the caller to free; NULL when memory is short. */
char *report_wave_text(const struct run_view *run, unsigned wave);

/* The whole document, as a .json report has it; the same. */
char *report_text(const struct run_view *run);

#endif
