/* SPDX-License-Identifier: Apache-2.0 */
/* `agent start`: from a command of an ssh session to a program that depends on nothing. */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdint.h>

/* Descriptors that a daemon finds after it has executed itself. The last two only an heir (heir.h);
 * of the others it has no FD_READY and no FD_CONSOLE. */
enum {
    FD_UNIX = 3,
    FD_TCP,
    FD_CONFIG,
    FD_READY,
    FD_CONSOLE,
    FD_LAST,
    FD_DISK = FD_LAST,
    FD_WATCHDOG
};

/* A leading '@' tells systemd to leave the process alone at shutdown ("Root Storage Daemons"). */
#define DAEMON_NAME "@fleetflash-agent"

/* Reads the configuration from stdin, starts the daemon, prints "ready PID PORT". Exit status: 0,
 * 1 failed, 2 not root, 4 the device is being flashed by another run. */
int daemon_start(void);
/* The daemon itself, after it has executed itself from memory: argv of the internal command. */
int daemon_main(int argc, char **argv);
/* The same for one that takes the place of a dead one. */
int daemon_inherit(void);
/* A listening TCP socket on *port (0: any; set to what it got). -1 and errno. */
int daemon_listen_tcp(uint16_t *port);
/* Settings every long-lived form of the program wants. */
void daemon_settle(void);

#endif
