/* SPDX-License-Identifier: Apache-2.0 */
/* A run told in single lines, "[ 12.3s] pi-01: transfer": what plain output consists of, and what
 * scrolls above the live screen. */
#ifndef REPORT_LINES_H
#define REPORT_LINES_H

#include "report/text.h"
#include "run/run.h"

/* What a line is about; decides at which verbosity it is shown. */
enum line_kind {
    LINE_FAILURE, /* failed or not-started, errors: always */
    LINE_WARNING, /* warnings, retries, skipped: from -1 */
    LINE_OUTCOME, /* flashed, unchanged: from -1 */
    LINE_STATE,   /* state changes, the run's own messages, the image: from 0 */
    LINE_DETAIL,  /* activities, info logs, proofs: from 1 */
    LINE_DEBUG,   /* from 2 */
    LINE_KIND_COUNT
};

struct lines;

struct lines_options {
    int verbosity; /* -2 … 2 */
    bool live; /* a live screen shows states, outcomes and the image: they need one -v more here */
    bool utf8;
    uint64_t (*now)(void); /* ms, NULL: clock_monotonic */
    /* Gets a cleaned line without its end; valid during the call. */
    void (*line)(enum line_kind kind, const char *text, void *arg);
    void *arg;
};

/* Time counts from here. NULL when memory is short. */
struct lines *lines_new(const struct lines_options *options);
void lines_free(struct lines *lines);

/* To be called from the observer's callbacks of the same name. */
void lines_image_progress(struct lines *lines, const struct run_view *run);
void lines_image_ready(struct lines *lines, const struct run_view *run);
void lines_wave_started(struct lines *lines, const struct run_view *run, unsigned wave);
void lines_target_changed(struct lines *lines, const struct target_status *target);
void lines_target_log(struct lines *lines, const struct target_status *target, enum log_level level,
                      const char *text);
void lines_target_done(struct lines *lines, const struct target_status *target);
void lines_target_soaked(struct lines *lines, const struct target_status *target);
void lines_message(struct lines *lines, enum log_level level, const char *text);

#endif
