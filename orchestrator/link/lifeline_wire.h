/* SPDX-License-Identifier: Apache-2.0 */
/* The second way to an agent: its own TCP port, reached by the same route as ssh was (jump hosts
 * and proxy commands included), authenticated and encrypted with the secret that went over ssh
 * (protocol/lifeline.h). */
#ifndef LINK_LIFELINE_WIRE_H
#define LINK_LIFELINE_WIRE_H

#include "base/wire.h"
#include "link/link.h"
#include "protocol/protocol.h"

/* config says where the device is, as for link_open; on the way that its ssh port is reached by,
 * port takes that one's place (a ProxyCommand without %p is ERROR_USAGE). The owner writes its
 * first frame without waiting: the agent says nothing before it. `opened` comes when the agent's
 * first record has proven that it knows the secret, so does everything that goes wrong before
 * through `closed`; connect_timeout (config) bounds all of that. key is copied. NULL when memory is
 * short.
 */
struct wire *lifeline_wire_open(struct link_pool *pool, const struct link_config *config,
                                unsigned port, const uint8_t key[PROTOCOL_KEY_SIZE],
                                const struct wire_events *events, void *arg);

#endif
