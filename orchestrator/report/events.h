/* SPDX-License-Identifier: Apache-2.0 */
/* --json: the run as one JSON object a line. Stable; every event and field is in docs/events.md. */
#ifndef REPORT_EVENTS_H
#define REPORT_EVENTS_H

#include "run/run.h"

#include <stdbool.h>

#define EVENTS_VERSION 1

struct events;

struct events_options {
    int fd;                     /* where they go, stdout; stays the caller's */
    int verbosity;              /* from 2 on debug logs, too */
    uint64_t (*unix_now)(void); /* ms, NULL: the system's clock */
    /* Gets each event but progress instead of fd. target "": the run's; object: its JSON, valid
     * until this returns. */
    void (*keep)(const char *run, const char *target, const char *event, const char *object,
                 void *arg);
    void *arg;
};

/* Lines are written by a thread, each at once; a slow reader stalls nothing. NULL when memory is
 * short. */
struct events *events_new(const struct events_options *options);

/* What to call; valid until events_free. */
struct run_observer events_observer(struct events *events);

/* Waits until all is written; 0, or why some events were not: an errno as of outbox_error. NULL is
 * allowed. */
int events_error(struct events *events);

/* Waits until all is written. NULL is allowed. */
void events_free(struct events *events);

#endif
