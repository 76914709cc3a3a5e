/* SPDX-License-Identifier: Apache-2.0 */
/* What the plan warns of: what does not forbid a flash, and may still not be what is wanted. */
#ifndef RUN_DOUBTS_H
#define RUN_DOUBTS_H

#include "run/run_internal.h"

#define DOUBTS_MAX 8u
#define DOUBT_SIZE 680u /* an error and its remedy */

struct doubts {
    size_t count;
    char texts[DOUBTS_MAX][DOUBT_SIZE];
    const char *list[DOUBTS_MAX + 1]; /* NULL-terminated */
};

/* Takes a copy; those beyond DOUBTS_MAX are left out, the most important come first. */
void doubts_add(struct doubts *doubts, const char *text);

/* Adds all that is to be said of a target that was probed. */
void doubts_find(const struct run *run, const struct target_status *status, struct doubts *doubts);

/* Which partitions stay as they are, as in struct plan_extra: of a device that is not asked
 * (netboot) none is known, and the first one may stay. */
uint32_t doubts_kept(const struct run *run, const struct target_status *status);

#endif
