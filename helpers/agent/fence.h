/* SPDX-License-Identifier: Apache-2.0 */
/* Silencing the file systems of a disk before it is overwritten (DESIGN: safety rule 2). */
#ifndef FENCE_H
#define FENCE_H

#include "guard.h"
#include "holders.h"
#include "report.h"
#include "switches.h"
#include "target.h"

struct fence_state;

struct fence {
    struct fence_state *state; /* NULL: not raised */
    struct ended ended;        /* processes that no undoing brings back */
    bool irreversible;         /* a file system was shut down: only a reboot brings it back */
};

struct fence_config {
    const struct target *target;
    const struct switches *switches;
    const struct report *report;
    pid_t
        relay; /* the process that relays for the controller; 0: none. It and its ancestors live */
    struct guard *guard; /* lives, with the disk open, and pins what is pinned; may be NULL */
    int watchdog_owner;  /* a process that must live on; 0: none */
};

/* Raises the fence. -1: it could not be, all that could be undone was; fence->irreversible says
 * whether the old system must be rebooted. */
int fence_raise(struct fence *fence, const struct fence_config *config, struct fail *fail);
/* Takes it down again. -1: irreversible, nothing was done. */
int fence_undo(struct fence *fence, const struct report *report);

/* Open files on file systems of other disks. Returns how many (at most max). */
unsigned fence_others(const struct fence *fence, int *fds, unsigned max);

#endif
