/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent stands on: it must outlive the ssh session that started it, and a kernel that runs
 * short of memory. */
#ifndef FOOTING_H
#define FOOTING_H

#include "switches.h"

#include <stddef.h>

/* Of the daemon: into a control group of its own, so that nobody who ends the session's ends the
 * agent, and out of the OOM killer's choice. What does not work is found by footing_check(). */
void footing_take(const struct switches *switches);

/* Calls warn with a sentence for each thing that is not as it should be. */
void footing_check(void (*warn)(const char *sentence, void *arg), void *arg);

/* The text of /proc/self/cgroup (cgroups(7)): is one of the groups somebody else's? Then its path
 * is in out. */
bool footing_find_foreign(const char *text, char *out, size_t size);

#endif
