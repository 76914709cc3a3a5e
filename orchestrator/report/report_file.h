/* SPDX-License-Identifier: Apache-2.0 */
/* --report FILE: what became of a run, in a file. The format is chosen by the file's ending: .json
 * (docs/report.md), .xml (JUnit) or .html. */
#ifndef REPORT_REPORT_FILE_H
#define REPORT_REPORT_FILE_H

#include "base/error.h"
#include "run/run.h"

/* Before the run: is the ending known, and can the file be written (or replaced)? Creates and
 * removes a file beside it. 0, or -1 with err (ERROR_USAGE). */
int report_check_writable(const char *path, struct error *err);

/* At the run's end: writes a file beside path and renames it, so that path is the old report or the
 * whole new one; a symbolic link is followed. 0, or -1 with err (ERROR_USAGE, ERROR_IO). */
int report_write(const struct run_view *run, const char *path, struct error *err);

#endif
