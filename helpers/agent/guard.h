/* SPDX-License-Identifier: Apache-2.0 */
/* A second process that outlives an agent which dies behind its fence (a bug, a signal, memory that
 * runs short): without it a device whose processes are ended and whose file systems are silent
 * would stay so for ever.
 *
 * It is the agent's own program executed anew, as small as possible, and does nothing but listen.
 * It is told in which of three conditions the disk is; when the line ends without a farewell the
 * agent is dead, and the last word decides (docs/safety.md):
 *
 * - nothing written: the old system is rebooted, untouched
 * - incomplete: it starts the agent's heir (heir.h), which the controller finds where the agent
 * was; a reboot would lose the device. It stays beside it: it has in memory what init and sshd
 * run, which nobody could read again once the file systems are shut
 * - complete: the new system is booted, as the agent would have done */
#ifndef GUARD_H
#define GUARD_H

#include <stdbool.h>
#include <sys/types.h>

enum guard_word {
    GUARD_NOTHING = 0,     /* never told anything: nothing is to be done */
    GUARD_UNTOUCHED = 'u', /* the fence goes up or is up, no byte is written */
    GUARD_INCOMPLETE = 'i',
    GUARD_COMPLETE = 'c',
    GUARD_FAREWELL = 'f', /* the agent ends in order */
    GUARD_HOLD = 'h',     /* a request: hold what the agent has pinned; answered with a byte */
};

/* All zeros: there is none. */
struct guard {
    pid_t pid; /* 0: none */
    int fd;
};

/* What it keeps for an heir: FD_UNIX, FD_TCP, FD_CONFIG, FD_DISK, FD_WATCHDOG, in this order. */
#define GUARD_ESTATE_SIZE 5u

/* Starts it, and tells it GUARD_UNTOUCHED. estate: descriptors, -1: there is none; they stay the
 * caller's. -1: it cannot be started (errno); nothing else is lost. */
int guard_post(struct guard *guard, const int estate[GUARD_ESTATE_SIZE]);
/* A guard that cannot be told is ended: it must never act on an old word. Nothing without one. May
 * be called on any thread, not at the same time. */
void guard_tell(struct guard *guard, enum guard_word word);
/* Has it hold in memory all files that the agent has mapped just now (pin.h), whose pages they
 * share. -1: it does not, or there is none. Waits for its answer. */
int guard_hold(struct guard *guard);
/* Says farewell and waits for its end. */
void guard_dismiss(struct guard *guard);

/* The guard's side: the last word when the line has ended. hold: answers GUARD_HOLD. */
enum guard_word guard_listen(int fd, bool (*hold)(void));
/* The guard itself, `fleetflash-agent guard`, with the line as its standard input. */
int guard_main(void);

#endif
