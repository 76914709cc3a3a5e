/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal knows of earlier runs, for people and for `--json`; and how long it keeps it. */
#ifndef JOURNAL_HISTORY_H
#define JOURNAL_HISTORY_H

#include "journal/journal.h"

/* Runs are forgotten after this many days, or when there are more than this many newer ones; never
 * one of which something is left for --resume. */
#define HISTORY_DAYS 180u
#define HISTORY_RUNS 1000u
/* Its events, which are most of the file, earlier. */
#define HISTORY_EVENT_DAYS 30u
#define HISTORY_EVENT_RUNS 100u

/* How many devices of a run have which outcome. */
struct history_counts {
    unsigned devices, flashed, unchanged, failed, skipped, not_started;
    unsigned under_way; /* without an outcome: the run was killed, or is at work */
};

/* One step that a device has taken. Strings are valid until the callback returns. */
struct history_step {
    uint64_t time;                              /* Unix time in ms */
    const char *step, *state, *outcome, *error; /* "" where there is none */
};

/* An event as it was told, by --json where that was asked for. */
struct history_event {
    uint64_t time;
    const char *target;       /* "": the run's */
    const char *event, *text; /* its name, and the JSON object */
};

/* All runs, the latest first. 0, or -1 with err. */
int history_each_run(struct journal *journal,
                     void (*each)(const struct journal_run *run,
                                  const struct history_counts *counts, void *arg),
                     void *arg, struct error *err);

/* The steps of one device in a run, in their order. 0, or -1 with err. */
int history_each_step(struct journal *journal, const char *run, const char *target,
                      void (*each)(const struct history_step *step, void *arg), void *arg,
                      struct error *err);

/* The events of a run that are still there, in their order. 0, or -1 with err. */
int history_each_event(struct journal *journal, const char *run,
                       void (*each)(const struct history_event *event, void *arg), void *arg,
                       struct error *err);

/* The run whose id begins with text, which must be just one. 0 with its whole id, or -1 with err
 * (ERROR_USAGE when there is none or several). */
int history_resolve(struct journal *journal, const char *text, char id[PROTOCOL_RUN_ID_MAX + 1],
                    struct error *err);

/* Forgets what is too old; before the loop runs. now: ms since 1970, as clock_unix_ms tells; a
 * controller without a battery may start in 1970, and then nothing is old. 0, or -1 with err. */
int history_prune(struct journal *journal, uint64_t now, struct error *err);

#endif
