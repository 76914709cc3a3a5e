/* SPDX-License-Identifier: Apache-2.0 */
/* Stands between libssh and the ssh agent, on the loop.
 *
 * libssh blocks while an agent thinks and always offers every key the agent has. With the relay in
 * between, closing it gives libssh's thread an error at once (an agent that never answers holds up
 * nobody), and only the keys that were asked for are offered, so that servers with a low
 * MaxAuthTries are not used up by others. Protocol: draft-miller-ssh-agent. */
#ifndef LINK_AGENT_RELAY_H
#define LINK_AGENT_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define AGENT_KEYS 32

/* Shared between the relay (loop) and the handshake's thread; take the lock. */
struct agent_keys {
    uv_mutex_t lock;
    bool only_wanted;         /* offer nothing but the wanted ones */
    char *wanted[AGENT_KEYS]; /* base64 of public key blobs */
    size_t wanted_count;
    char *offered[AGENT_KEYS];  /* what libssh was shown, base64 */
    char *comments[AGENT_KEYS]; /* of those */
    size_t offered_count;
    bool unreachable; /* nobody listens at the agent's socket */
};

int agent_keys_init(struct agent_keys *keys);
void agent_keys_free(struct agent_keys *keys);

struct agent_relay;

/* Connects to the agent at path. *fd becomes libssh's end (owned by the caller). keys must outlive
 * the relay. Returns NULL with *fd -1 when memory or descriptors are short. */
struct agent_relay *agent_relay_start(uv_loop_t *loop, const char *path, struct agent_keys *keys,
                                      int *fd);

/* Closes both sides; keys is not touched afterwards. NULL is allowed. */
void agent_relay_stop(struct agent_relay *relay);

#endif
