/* SPDX-License-Identifier: Apache-2.0 */
/* A program on the controller, run for a policy: bounded in time and output, its whole process
 * group ended when its time is over. */
#ifndef POLICY_LOCAL_H
#define POLICY_LOCAL_H

#include <uv.h>

#define LOCAL_OUT_MAX (64u * 1024u)
#define LOCAL_ERR_MAX (4u * 1024u)

struct local_process;

/* exit_status -1: could not be started, died of a signal or timed out; error says so (else ""). The
 * strings are valid during the call. */
typedef void (*local_done)(int exit_status, const char *out, const char *err, const char *error,
                           void *arg);

/* Starts argv (argv[0] searched for in PATH) with input (NULL: empty) as its stdin. done comes
 * later and exactly once, unless local_cancel comes first. NULL when memory is short. */
struct local_process *local_start(uv_loop_t *loop, const char *const *argv, const char *input,
                                  uint64_t timeout, local_done done, void *arg);

/* Ends the program: SIGTERM to its process group, SIGKILL two seconds later. done is not called any
 * more. Memory and handles go when it has ended. NULL is allowed. */
void local_cancel(struct local_process *process);

#endif
