/* SPDX-License-Identifier: Apache-2.0 */
/* The ends that the policies have in common. */
#ifndef COMMON_FINISH_H
#define COMMON_FINISH_H

#include <fleetflash/policy.h>

/* FAIL: nothing could be asked of the host. */
void finish_no_memory(const struct ff_host *host, struct ff_target *target);

/* FAIL: "WHAT failed (exit status N): first line of stderr", or why it did not run. */
void finish_failed(const struct ff_host *host, struct ff_target *target, const char *what,
                   const struct ff_result *result);

/* The end of leave_undo: logs when it did not work. */
void undo_left(const struct ff_host *host, struct ff_target *target,
               const struct ff_result *result);

/* "exit status 1: first line of stderr", or why it did not run; at most out_size bytes. */
void result_describe(const struct ff_result *result, char *out, size_t out_size);

#endif
