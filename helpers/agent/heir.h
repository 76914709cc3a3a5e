/* SPDX-License-Identifier: Apache-2.0 */
/* An agent that takes the place of one which died in the middle of the write. It has what its guard
 * kept for it: the sockets that controllers know, the configuration with the secret, the disk,
 * locked and open, and the watchdog. What the dead one knew of the image is lost: the controller
 * sees in HELLO_REPLY that there is no manifest, sends it again, and WRITE compares the disk and
 * goes on. */
#ifndef HEIR_H
#define HEIR_H

struct agent;

/* Takes the disk (FD_DISK) and the watchdog (-1: there is none) and stands where a failed write
 * leaves an agent. -1: there is no disk to be taken. */
int heir_take(struct agent *agent, int watchdog);
/* On the worker, before the write: memory for the stream mode, which an heir always uses. */
int heir_prepare(struct agent *agent);
/* Posts a guard beside an agent, with all that an heir of it would need. -1 and errno. */
int heir_provide(struct agent *agent);

#endif
