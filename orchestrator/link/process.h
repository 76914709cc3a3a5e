/* SPDX-License-Identifier: Apache-2.0 */
/* A helper program on the loop (ssh -G, a ProxyCommand), in a process group of its own, with what
 * it says kept for the error message. */
#ifndef LINK_PROCESS_H
#define LINK_PROCESS_H

#include <stddef.h>
#include <uv.h>

struct process;

struct process_result {
    int exit_status; /* -1 when a signal ended it */
    int signal;      /* 0, or the signal that ended it */
    const char *out; /* terminated; stdout, at most 64 KiB ("" where stdout was a descriptor) */
    const char *err_text; /* terminated; stderr, at most 2 KiB, without trailing line ends */
};

typedef void (*process_callback)(const struct process_result *result, void *arg);

/* Runs argv (looked up in PATH, no controlling terminal). io_fd: a socket that becomes its stdin
 * and stdout (the caller still closes its own copy), or -1: stdin is /dev/null and stdout is kept.
 * done runs once, later, when the program has ended and its streams are at their end. Returns 0, or
 * a libuv error with *process NULL. */
int process_start(uv_loop_t *loop, const char *const argv[], int io_fd, process_callback done,
                  void *arg, struct process **process);

/* What it has said on stderr so far; terminated. */
const char *process_err_text(const struct process *process);

/* Kills its process group, reaps it and frees everything; no callback follows. Called once for each
 * process_start that succeeded, after done as well. NULL is allowed. */
void process_stop(struct process *process);

#endif
