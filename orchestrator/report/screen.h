/* SPDX-License-Identifier: Apache-2.0 */
/* The run as a live picture on a terminal: a line for each device below a header, redrawn in place
 * a few times a second; warnings and failures scroll by above it. Keys choose a device whose log is
 * shown, pause the run and stop it. */
#ifndef REPORT_SCREEN_H
#define REPORT_SCREEN_H

#include "run/run.h"

#include <stdbool.h>

struct screen;

/* What the user asks for by a key. */
enum screen_command {
    SCREEN_PAUSE,  /* p: start no new device */
    SCREEN_RESUME, /* r */
    SCREEN_STOP,   /* q: an orderly stop, as by the first ^C */
};

struct screen_options {
    uv_loop_t *loop;
    int fd;        /* the terminal, stderr; stays the caller's */
    int keys;      /* an own descriptor of it to read keys from, -1: no keys; goes to the screen */
    int verbosity; /* as plain's; what needs v there needs v + 1 here where the picture shows it */
    uint64_t (*now)(void);                                   /* ms, NULL: the monotonic clock */
    void (*command)(enum screen_command command, void *arg); /* NULL: there is nobody to ask */
    void *arg;
};

/* The terminal is written by a thread: ^S or a slow line stalls nothing. Keys are read while
 * devices are flashed and nothing else is asked. The timer and the watchers (SIGWINCH, SIGCONT,
 * SIGTSTP, keys) do not keep the loop alive. Only one at a time, because of report/terminal.h. NULL
 * when memory is short. */
struct screen *screen_new(const struct screen_options *options);

/* What to call; valid until screen_free. */
struct run_observer screen_observer(struct screen *screen);

/* Restores the terminal, waits until all is written, closes the handles (memory goes when the loop
 * has run once more). NULL is allowed. */
void screen_free(struct screen *screen);

#endif
