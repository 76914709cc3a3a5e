/* SPDX-License-Identifier: Apache-2.0 */
/* The hardware watchdog: whoever feeds it now may die with the old system. */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "protocol/protocol.h"

#include <sys/types.h>

struct watchdog {
    bool present; /* the device has one */
    pid_t owner;  /* process that holds it open; 0: nobody */
    char owner_name[32];
    bool ours;        /* taken over: fed by watchdog_feed */
    int fd;           /* -1: not held */
    int64_t fed;      /* ms */
    unsigned timeout; /* seconds, once ours */
    char setting[24]; /* what PID 1 had: microseconds */
};

/* Looks who holds it. */
void watchdog_look(struct watchdog *watchdog);
/* Is it held by another program than PID 1? Then nobody can take it over: fail says so. */
bool watchdog_is_foreign(const struct watchdog *watchdog, struct fail *fail);
/* Takes it over from PID 1 (its runtime watchdog set to 0 first). FAILCODE_REFUSED when it cannot
 * be taken, from whomever; then it is as it was. */
int watchdog_take(struct watchdog *watchdog, struct fail *fail);
/* One that another agent had taken, and never gives back. */
void watchdog_adopt(struct watchdog *watchdog, int fd);
/* Called often; does something every few seconds. now: monotonic ms. */
void watchdog_feed(struct watchdog *watchdog, int64_t now);
/* Backed out: closes it the magic way and gives it back to PID 1. */
void watchdog_give_back(struct watchdog *watchdog);

#endif
