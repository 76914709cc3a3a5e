/* SPDX-License-Identifier: Apache-2.0 */
/* How the controller reaches this device. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct network {
    char interface[32]; /* "" unknown */
    bool wifi;
    int64_t lease; /* seconds left of a DHCP lease, -1: none known */
};

/* relay: a process that the controller's ssh session started; its address is in SSH_CONNECTION of
 * one of its ancestors. Without it, the interface of the default route. */
void network_look(pid_t relay, struct network *network);

#endif
