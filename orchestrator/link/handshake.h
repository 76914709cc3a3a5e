/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a link that libssh does with blocking calls, on a thread of its own: key exchange,
 * host key, authentication. The loop starts one with handshake_start and gets it back through
 * link_pool's queue when the thread is through; until then only the thread touches it, but for the
 * fields that say otherwise. */
#ifndef LINK_HANDSHAKE_H
#define LINK_HANDSHAKE_H

#include "base/error.h"
#include "link/agent_relay.h"
#include "link/link.h"
#include "link/settings.h"

#include <libssh/libssh.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

enum handshake_stage { STAGE_KEX, STAGE_HOSTKEY, STAGE_AUTH };

struct handshake {
    /* Set before the start. */
    struct settings settings;
    char *name;
    char *fingerprint;
    enum hostkey_policy hostkey;
    uint64_t timeout; /* ms; the loop's own timer is the one that counts */
    int fd;           /* connected socket; libssh has it as well */
    int watch_fd;     /* a duplicate to wait on: libssh closes its own when it likes */
    int agent_fd;     /* -1: no agent */
    uv_mutex_t *known_hosts_lock;
    struct link *owner;     /* loop only; NULL: nobody waits any more */
    struct handshake *next; /* queue of the finished ones */
    void (*finished)(struct handshake *handshake, void *arg); /* on the thread */
    void *finished_arg;

    uv_thread_t thread;
    struct agent_keys keys; /* has a lock of its own */
    uint64_t deadline;      /* uv_hrtime */
    atomic_int stage;       /* enum handshake_stage, for the message of a timeout */

    /* Set by the thread. */
    bool ok;
    struct error err;
    ssh_session session; /* NULL when not ok */
    char host_fingerprint[64];
    char host_key_type[40];
    bool host_key_known;
};

/* A new one with empty settings, or NULL. */
struct handshake *handshake_new(void);

/* Starts the thread. Returns 0 or a libuv error (finished will not run then). */
int handshake_start(struct handshake *handshake);

/* Ends a session (NULL: none) that was made on this handshake's socket, and closes that. libssh
 * closes a socket that it was given by itself on some errors and in some versions, and not in
 * others: the number is closed only while it still is that socket. */
void handshake_end_session(struct handshake *handshake, ssh_session session);

/* After the thread has been joined (or was never started): ends the session, closes what is left.
 */
void handshake_free(struct handshake *handshake);

/* On the thread, after libssh has said SSH_AGAIN: waits until there is something to read or room to
 * write. False when the connection or the time is over. */
bool handshake_wait(struct handshake *handshake);

/* Authenticates handshake->session; in auth.c. Returns 0, or -1 with handshake->err set. */
int auth_run(struct handshake *handshake);

#endif
