/* SPDX-License-Identifier: Apache-2.0 */
/* A limit of bytes per second: tells how long the next ones have to wait. */
#ifndef TARGET_PACE_H
#define TARGET_PACE_H

#include <stddef.h>
#include <stdint.h>

struct pace {
    uint64_t rate;    /* bytes per second, 0: no limit */
    uint64_t free_at; /* ns of the caller's clock: all that was sent has had its time then */
};

/* ms from now (ms of the same clock) until something may be sent; 0: at once. What was not used is
 * saved up for a fifth of a second at most. */
uint64_t pace_wait(struct pace *pace, uint64_t now);

/* So many bytes were sent, at a time at which pace_wait said 0. */
void pace_spend(struct pace *pace, size_t bytes);

#endif
