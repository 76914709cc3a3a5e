/* SPDX-License-Identifier: Apache-2.0 */
/* A wire to a program on this machine, over pipes: for local mode and for tests. */
#ifndef LINK_WIRE_LOCAL_H
#define LINK_WIRE_LOCAL_H

#include "base/wire.h"

#include <uv.h>

/* Runs argv (NULL-terminated, looked up in PATH) with its stdin, stdout and stderr as the wire, in
 * a process group of its own. Where it cannot be started, `closed` says why, later. wire_close ends
 * it with SIGTERM when it still runs. NULL only when memory is short. */
struct wire *wire_spawn(uv_loop_t *loop, const char *const argv[], const struct wire_events *events,
                        void *arg);

#endif
