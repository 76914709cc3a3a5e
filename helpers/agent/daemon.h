/* SPDX-License-Identifier: Apache-2.0 */
/* `agent start`: from a command of an ssh session to a program that depends on nothing. */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdint.h>

/* Reads the configuration from stdin, starts the daemon, prints "ready PID PORT". Exit status: 0,
 * 1 failed, 2 not root, 4 the device is being flashed by another run. */
int daemon_start(void);
/* The daemon itself, after it has executed itself from memory: argv of the internal command. */
int daemon_main(int argc, char **argv);
/* A listening TCP socket on *port (0: any; set to what it got). -1 and errno. */
int daemon_listen_tcp(uint16_t *port);
/* Settings every long-lived form of the program wants. */
void daemon_settle(void);

#endif
