/* SPDX-License-Identifier: Apache-2.0 */
/* Services that a policy of the controller has stopped, and left word how to start them again:
 * shell commands in files `undo-????????` of the agent's folder. The controller takes them away
 * when it has started them itself. */
#ifndef SERVICES_H
#define SERVICES_H

#include <stdbool.h>

/* Starts them again, in a process of its own that nobody waits for, and takes the files away.
 * False: nothing was left there, or it could not be begun. */
bool services_start(const char *directory);

#endif
