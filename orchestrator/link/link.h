/* SPDX-License-Identifier: Apache-2.0 */
/* One authenticated ssh session to one device, on the loop.
 *
 * Name resolution and connect go through uv; the handshake, the host-key check and the
 * authentication run on a worker thread of the link's own (libssh blocks there: ssh agents,
 * `Match exec`, known_hosts), at most link_pool's bound at once; then the session is switched to
 * non-blocking and driven by uv_poll. A route through jump hosts or a ProxyCommand is a child
 * process on a socket pair. */
#ifndef LINK_LINK_H
#define LINK_LINK_H

#include "base/error.h"
#include "base/wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct link_pool;
struct settings_cache;
struct link;

enum hostkey_policy {
    HOSTKEY_STRICT,      /* must be in known_hosts */
    HOSTKEY_ACCEPT_NEW,  /* unknown: remembered (appended to known_hosts); changed: refused */
    HOSTKEY_FINGERPRINT, /* must have this SHA256 fingerprint; known_hosts is not asked */
    HOSTKEY_ACCEPT_ONCE, /* whatever it is, accepted and not remembered */
};

/* Copied by link_open. Strings may be NULL where said. */
struct link_config {
    const char *name;     /* for messages */
    const char *host;     /* name or address as in the inventory; ssh config's HostName applies */
    const char *user;     /* NULL: ssh config's User, else the local user */
    const char *identity; /* private key file ("~/" allowed); NULL: ssh config, agent, defaults */
    const char *known_hosts; /* NULL: ssh's default files */
    const char *ssh_config;  /* NULL: ~/.ssh/config and /etc/ssh/ssh_config */
    const char *fingerprint; /* "SHA256:…" with HOSTKEY_FINGERPRINT */
    enum hostkey_policy hostkey;
    unsigned port;            /* 0: ssh config's Port, else 22 */
    uint64_t connect_timeout; /* ms for all of it, authentication included */
    uint64_t keepalive; /* ms between keepalives; three unanswered ones end the link; 0: none */
    bool is_local; /* this machine: commands are child processes, all else but name is unused */
};

/* Known once the link is up. Owned by the link. */
struct link_facts {
    const char *host_fingerprint; /* "SHA256:…" of the key the server proved */
    const char *host_key_type;    /* "ssh-ed25519", … */
    const char *cipher;
    const char *server_banner; /* "SSH-2.0-dropbear…" */
    const char *peer_address;  /* numeric, "" behind a ProxyCommand */
    const char *route;         /* "direct", or the proxy command as it was run */
    bool host_key_known;       /* known_hosts had it */
};

struct link_events {
    void (*up)(struct link *link, const struct link_facts *facts, void *arg);
    /* Failed to come up, or went down later. The owner still calls link_close. */
    void (*down)(struct link *link, const struct error *err, void *arg);
};

/* max_handshakes: how many handshakes run at once (others queue; their connect_timeout starts when
 * their turn comes). Returns NULL only when memory is short. */
struct link_pool *link_pool_new(uv_loop_t *loop, unsigned max_handshakes);

/* What ssh's configuration said to this pool's links lately; the pool's own. For those who ask ssh
 * about the same hosts. */
struct settings_cache *link_pool_settings(struct link_pool *pool);

/* Frees the pool once its links are closed. */
void link_pool_free(struct link_pool *pool);

/* Starts connecting. Never NULL but when memory is short; all failures arrive through down. A local
 * link comes up at once and never goes down; its wires live until their owners close them. */
struct link *link_open(struct link_pool *pool, const struct link_config *config,
                       const struct link_events *events, void *arg);

/* False once it is down, also before `down` was called. */
bool link_is_up(const struct link *link);

/* Ends the session at once and frees it when its worker and handles are done; closes its channels
 * first (their owners get `closed` with ERROR_CANCELLED unless they closed them already). No link
 * callback after this returns. NULL is allowed. */
void link_close(struct link *link);

/* Runs a command on the device (no pty). Its stdin, stdout and stderr are the wire. */
struct wire *link_exec(struct link *link, const char *command, const struct wire_events *events,
                       void *arg);

/* A short command whose whole output is wanted. */
struct link_run;
struct link_run_result {
    int exit_status; /* -1: not known */
    const char *out; /* terminated; at most 64 KiB are kept */
    size_t out_size;
    const char *err_text;    /* stderr, terminated; at most 4 KiB are kept */
    const struct error *err; /* NULL: the command ran and ended (whatever its status) */
};
typedef void (*link_run_callback)(const struct link_run_result *result, void *arg);

/* input (may be NULL) is sent to its stdin, followed by end-of-file; timeout in ms. The callback
 * runs exactly once unless link_run_cancel comes first; when the link dies it gets its error. */
struct link_run *link_run_command(struct link *link, const char *command, struct buffer *input,
                                  uint64_t timeout, link_run_callback callback, void *arg);
void link_run_cancel(struct link_run *run);

#endif
