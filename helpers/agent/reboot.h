/* SPDX-License-Identifier: Apache-2.0 */
/* Leaving a system whose root file system must not be touched any more. */
#ifndef REBOOT_H
#define REBOOT_H

#include <stdbool.h>

/* Opens what a later reboot_now needs; returns a descriptor of /proc/sysrq-trigger or -1. */
int reboot_prepare(void);
/* By system call and without sync, on a thread of its own; 30 s later by SysRq-b. others: open
 * files on file systems of other disks, which are synchronized first for at most 10 s. Returns at
 * once unless no thread can be made. only_sysrq is for tests: as if the system call hung. */
void reboot_now(int sysrq_fd, const int *others, unsigned count, bool only_sysrq);

#endif
