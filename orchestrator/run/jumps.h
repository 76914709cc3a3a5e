/* SPDX-License-Identifier: Apache-2.0 */
/* Which device each target is, as ssh's configuration has it, and which targets are reached through
 * which others: a jump host is flashed after those behind it, or they could not be reached in the
 * middle of their disks. */
#ifndef RUN_JUMPS_H
#define RUN_JUMPS_H

#include "base/error.h"
#include "inventory.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct jumps;
struct settings_cache;

struct jumps_target {
    const struct target_spec *spec; /* outlives the jumps */
    unsigned wave;
    bool is_local; /* the machine we run on: ssh is not asked */
};

/* Finds out by asking ssh (ssh -G in child processes); runs the loop until it is known. ssh_config:
 * NULL for ssh's default files. cache: see settings_query; NULL for none. NULL and ERROR_USAGE when
 * two targets are one device, when targets are reached through each other, or when a jump host is
 * in an earlier wave than one behind it; ERROR_IO when memory is short. */
struct jumps *jumps_find(uv_loop_t *loop, const struct jumps_target *targets, size_t count,
                         const char *ssh_config, struct settings_cache *cache, struct error *err);

/* What the device is for ssh: "10.0.0.1 port 22", "10.0.0.1 port 22 via …". Owned by jumps; not
 * longer than 2 KiB. */
const char *jumps_key(const struct jumps *jumps, size_t target);

/* The target, as it was given. */
const struct target_spec *jumps_spec(const struct jumps *jumps, size_t target);

/* The targets that this one is reached through (jump hosts of jump hosts too). */
size_t jumps_gates(const struct jumps *jumps, size_t target, const size_t **gates);

/* How many targets are reached through this one. */
size_t jumps_behind(const struct jumps *jumps, size_t target);

void jumps_free(struct jumps *jumps);

#endif
