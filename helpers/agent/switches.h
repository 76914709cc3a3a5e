/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of the fence that tests can leave out and faults that they can put in. Compiled into the
 * test agent only (AGENT_TEST_SWITCHES); in the production program every question answers "no" at
 * compile time. */
#ifndef SWITCHES_H
#define SWITCHES_H

#include "protocol/protocol.h"

/* Beside the phases: where the writer can be told to linger. */
#define SWITCH_AT_FLUSH ((int)PHASE_COUNT)

enum agent_switch {
    SWITCH_NO_KILL,
    SWITCH_NO_SWAPOFF,
    SWITCH_NO_REMOUNT,
    SWITCH_NO_SHUTDOWN,
    SWITCH_NO_ROSET,
    SWITCH_NO_PIN,
    SWITCH_NO_READBACK,
    SWITCH_NO_CALM,    /* settings that panic stay as they are */
    SWITCH_NO_NEWS,    /* nothing is looked for that came while the fence went up */
    SWITCH_NO_REBOOT,  /* the system call does nothing, as one that never returns */
    SWITCH_NO_FOOTING, /* it stays in its session's control group, and may be killed for memory */
    SWITCH_NO_GUARD,   /* no second process: one that dies behind its fence is gone for good */
    SWITCH_IMPATIENT,  /* one that has changed nothing is gone after 5 s without a controller */
    SWITCH_COUNT
};

/* Moments while the fence goes up at which a test can interfere. */
enum fence_point {
    POINT_NONE,
    POINT_REMOUNTED, /* all is read-only, seen once */
    POINT_SHUT,      /* file systems are shut down */
    POINT_ROSET,     /* layers are made read-only */
    POINT_FENCED,    /* the fence is up, nothing is written yet */
    POINT_COUNT
};

#ifdef AGENT_TEST_SWITCHES
struct switches {
    bool on[SWITCH_COUNT];
    int64_t corrupt_write;  /* 1 + index of the block that is spoiled once after it was written; 0:
                               none */
    int64_t corrupt_always; /* the same, each time it is written */
    enum agent_phase
        die_at; /* the agent ends itself when it reaches this phase; PHASE_IDLE: never */
    enum fence_point fail_at; /* the step there fails; POINT_NONE: none */
    enum fence_point run_at;  /* /dev/shm/intruder is run there, and waited for */
    int linger_at; /* the writer rests a moment at the begin of this phase, or before each flush
                      (SWITCH_AT_FLUSH); 0: never */
};

static inline bool switch_is_on(const struct switches *switches, enum agent_switch which)
{
    return switches->on[which];
}
static inline bool switch_fails_at(const struct switches *switches, enum fence_point point)
{
    return switches->fail_at == point;
}
/* Runs the test's program where the test wants it to be run. */
void switch_visit(const struct switches *switches, enum fence_point point);
/* Whether to rest here, so that a test can do something at just this moment. */
static inline bool switch_lingers(const struct switches *switches, int at)
{
    return switches->linger_at == at;
}
/* Takes a text such as "no-kill", "corrupt-write=7", "die-at=writing", "linger-at=writing",
 * "linger-at=flush" or "fail-at=fenced". False: unknown. */
bool switch_parse(struct switches *switches, const char *text);
/* Takes the kernel command line's word "ff.agent=no-kill,no-roset", which is how the lab's tests
 * reach an agent that a controller started. Returns the word's value for a message (the caller
 * frees it), or NULL: there is none. */
char *switches_from_kernel(struct switches *switches);
#else
struct switches {
    char unused;
};

static inline bool switch_is_on(const struct switches *switches, enum agent_switch which)
{
    (void)switches;
    (void)which;
    return false;
}

static inline bool switch_fails_at(const struct switches *switches, enum fence_point point)
{
    (void)switches;
    (void)point;
    return false;
}

static inline void switch_visit(const struct switches *switches, enum fence_point point)
{
    (void)switches;
    (void)point;
}

static inline bool switch_lingers(const struct switches *switches, int at)
{
    (void)switches;
    (void)at;
    return false;
}

static inline char *switches_from_kernel(struct switches *switches)
{
    (void)switches;
    return NULL;
}
#endif
#endif
