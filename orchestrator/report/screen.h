/* SPDX-License-Identifier: Apache-2.0 */
/* The run as a live picture on a terminal: a line for each device below a header, redrawn in place
 * a few times a second; warnings and failures scroll by above it. */
#ifndef REPORT_SCREEN_H
#define REPORT_SCREEN_H

#include "run/run.h"

#include <stdbool.h>

struct screen;

struct screen_options {
    uv_loop_t *loop;
    int fd;        /* the terminal, stderr; stays the caller's */
    int verbosity; /* as plain's; what needs v there needs v + 1 here where the picture shows it */
    uint64_t (*now)(void); /* ms, NULL: the monotonic clock */
};

/* True when fd is a terminal that can be drawn on (TERM is set and not "dumb"). */
bool screen_is_possible(int fd);

/* The terminal is written by a thread: ^S or a slow line stalls nothing. The timer and the signal
 * watchers (SIGWINCH, SIGCONT, SIGTSTP) do not keep the loop alive. Only one at a time, because of
 * screen_restore. NULL when memory is short. */
struct screen *screen_new(const struct screen_options *options);

/* What to call; valid until screen_free. */
struct run_observer screen_observer(struct screen *screen);

/* Restores the terminal, waits until all is written, closes the handles (memory goes when the loop
 * has run once more). NULL is allowed. */
void screen_free(struct screen *screen);

/* Shows the cursor again and leaves the picture, wherever the program is: from atexit, from a
 * signal handler (it only calls write). Does nothing when nothing is hidden. */
void screen_restore(void);

#endif
