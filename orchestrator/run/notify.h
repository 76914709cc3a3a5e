/* SPDX-License-Identifier: Apache-2.0 */
/* `notify: {on: failure|always, command: …}`: somebody is told how a run has ended. */
#ifndef RUN_NOTIFY_H
#define RUN_NOTIFY_H

struct run;

/* At the run's end, its exit code known: starts the command with the report on its stdin, where the
 * inventory has one for such an end. The loop goes on until it has ended, a minute at most. */
void notify_send(struct run *run);

#endif
