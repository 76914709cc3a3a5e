/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of the fence that tests can leave out and faults that they can put in. Compiled into the
 * test agent only (AGENT_TEST_SWITCHES); in the production program every question answers "no" at
 * compile time. */
#ifndef SWITCHES_H
#define SWITCHES_H

#include "protocol/protocol.h"

enum agent_switch {
    SWITCH_NO_KILL,
    SWITCH_NO_SWAPOFF,
    SWITCH_NO_REMOUNT,
    SWITCH_NO_SHUTDOWN,
    SWITCH_NO_ROSET,
    SWITCH_NO_PIN,
    SWITCH_NO_READBACK,
    SWITCH_COUNT
};

#ifdef AGENT_TEST_SWITCHES
struct switches {
    bool on[SWITCH_COUNT];
    int64_t corrupt_write;  /* 1 + index of the block that is spoiled once after it was written; 0:
                               none */
    int64_t corrupt_always; /* the same, each time it is written */
    enum agent_phase
        die_at; /* the agent ends itself when it reaches this phase; PHASE_IDLE: never */
};

static inline bool switch_is_on(const struct switches *switches, enum agent_switch which)
{
    return switches->on[which];
}
/* Takes a text such as "no-kill", "corrupt-write=7" or "die-at=writing". False: unknown. */
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

static inline char *switches_from_kernel(struct switches *switches)
{
    (void)switches;
    return NULL;
}
#endif
#endif
