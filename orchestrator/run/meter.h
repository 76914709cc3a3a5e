/* SPDX-License-Identifier: Apache-2.0 */
/* What a run costs the controller, for benchmarks: how long the loop was kept from its callers, CPU
 * time, peak memory. Off unless the environment names a file for it. */
#ifndef RUN_METER_H
#define RUN_METER_H

#include <uv.h>

/* The file that the figures go to; unset or empty: nothing is measured. */
#define METER_VARIABLE "FLEETFLASH_METER"

struct meter;

/* Begins to measure loop, from the thread that runs it; it does not keep the loop alive. NULL when
 * METER_VARIABLE is not set (or there is no memory). */
struct meter *meter_start(uv_loop_t *loop);

/* Ends, writes one JSON object to the file, and closes what it had in the loop, which must turn
 * once more. NULL is allowed. A file that cannot be written is complained about on stderr: figures
 * are no reason for a run to fail.
 *
 * turns; stall_longest_ms and stall_p99_ms: of the time between two waits for events, in which
 * nothing else could be served, per turn of the loop, percentile by turns (within an eighth);
 * over_50ms: turns longer than that; busy_seconds: all of that time; work_longest_ms and
 * work_p99_ms: what a turn took by itself, without the time in which other programs had the cores
 * (the loop's thread waiting for one: schedstat of proc(5)), but with waiting for a disk;
 * loop_cpu_seconds: the loop thread's, cpu_seconds: all threads' and those of children that have
 * ended (ssh -G); peak_kib: VmHWM of proc(5). */
void meter_stop(struct meter *meter);

#endif
