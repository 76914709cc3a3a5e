/* SPDX-License-Identifier: Apache-2.0 */
/* Root's capabilities that the program has no use for (capabilities(7)). */
#ifndef BASE_PRIVILEGE_H
#define BASE_PRIVILEGE_H

/* Gives up, for this process and its later threads, every capability but those for files of other
 * users, for signals to them, and for ports below 1024. What it starts (commands that reset a
 * board, policies, the agent in mode local) runs with all of root's again. Does nothing for other
 * users, who keep what they were given. To be called before the first thread is made. */
void privilege_reduce(void);

#endif
