/* SPDX-License-Identifier: Apache-2.0 */
/* The run as plain lines, for a stderr that is no terminal. */
#ifndef REPORT_PLAIN_H
#define REPORT_PLAIN_H

#include "run/run.h"

#include <stdbool.h>

struct plain;

struct plain_options {
    int fd;                /* where the lines go, stderr; stays the caller's */
    int verbosity;         /* -2: failures only, nothing when all went well; -1: outcomes, warnings
                              and the summary; 0; 1: activities and info logs; 2: debug logs */
    uint64_t (*now)(void); /* ms, NULL: the monotonic clock; lines count from plain_new */
};

/* Lines are written by a thread: a slow reader stalls nothing. NULL when memory is short. */
struct plain *plain_new(const struct plain_options *options);

/* What to call; valid until plain_free. */
struct run_observer plain_observer(struct plain *plain);

/* Waits until all is written. NULL is allowed. */
void plain_free(struct plain *plain);

#endif
