/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the link share: the pool, the link and its channels. */
#ifndef LINK_INTERNAL_H
#define LINK_INTERNAL_H

#include "link/agent_relay.h"
#include "link/handshake.h"
#include "link/link.h"
#include "link/route.h"
#include "link/settings_cache.h"

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <sys/queue.h>
#include <uv.h>

#define LINK_PIECE (256u * 1024u) /* of a channel's bytes, handed to libssh at once */

struct link_pool {
    uv_loop_t *loop;
    uv_async_t wake; /* a thread is through; referenced while threads run */
    uv_timer_t pace; /* between two links' starts */
    unsigned handles;
    struct settings_cache *settings;
    uv_mutex_t known_hosts_lock;
    uv_mutex_t done_lock;
    struct handshake *done; /* finished by their threads, guarded by done_lock */
    TAILQ_HEAD(link_queue, link) waiting;
    unsigned limit;  /* handshakes at once */
    unsigned active; /* links between their turn and up or down */
    unsigned threads;
    unsigned links;
    bool freeing;
    uint8_t piece[LINK_PIECE]; /* what one channel writes just now, on the loop's thread */
};

enum link_state {
    LINK_QUEUED,    /* waits for its turn */
    LINK_ROUTE,     /* the way is found and connected */
    LINK_HANDSHAKE, /* a thread has it */
    LINK_GRACE,     /* failed behind a proxy: what has the proxy to say? */
    LINK_UP,
    LINK_DOWN,
};

struct channel;

struct link {
    struct link_pool *pool;
    const struct link_events *events;
    void *arg;
    enum link_state state;
    bool has_turn;
    bool closing;  /* link_close was called */
    bool is_local; /* no session: link_exec starts a child process */
    unsigned busy; /* depth of our own stack frames that use the link */

    /* configuration, copied */
    char *name, *host, *fingerprint;
    enum hostkey_policy hostkey;
    uint64_t connect_timeout, keepalive;

    struct route *route;
    struct agent_relay *relay;
    struct handshake *handshake; /* while its thread has it */
    struct handshake *kept;      /* afterwards: facts and settings */
    /* A duplicate of the session's descriptor: libssh closes its own when it likes, from any
     * thread, so polling and shutting down go through one that stays. -1: none. */
    int fd;
    char peer_address[64];
    char *via; /* the route's words, for the facts */

    uv_timer_t timer; /* connect_timeout, then keepalive */
    uv_timer_t soon;  /* 0 ms: the session's pump */
    uv_poll_t poll;
    bool polling;    /* poll was initialised */
    int poll_events; /* what it is started for */
    bool unfinished; /* the pump stopped, or libssh read, before everything was looked at */
    unsigned handles;

    ssh_session session;
    ssh_event event;
    struct ssh_counter_struct counter; /* of the socket */
    uint64_t bytes_seen;               /* received, at the last keepalive */
    unsigned unanswered;
    struct link_facts facts;
    char cipher[64], banner[256];
    struct error err; /* why it is down */

    TAILQ_HEAD(channel_list, channel) channels;
    size_t channel_count;
    TAILQ_ENTRY(link) in_queue;
};

enum channel_state {
    CHANNEL_WAITING,    /* for the link to be up */
    CHANNEL_OPENING,    /* asked for, no answer yet */
    CHANNEL_REQUESTING, /* open; the command has been asked for */
    CHANNEL_RUNNING,
    CHANNEL_OVER,     /* closed by the other side, or the link is gone; to be reported */
    CHANNEL_REPORTED, /* the owner knows */
};

struct chunk {
    STAILQ_ENTRY(chunk) next;
    struct buffer *buffer;
    size_t offset, size;
};

struct channel {
    struct wire wire;  /* first */
    struct link *link; /* NULL: the link is gone */
    TAILQ_ENTRY(channel) in_list;
    enum channel_state state;
    bool released; /* wire_close was called; freed as soon as nobody looks */
    bool shut;     /* end-of-file after what is queued */
    bool eof_sent;
    bool above; /* pending has been above the low-water mark */
    ssh_channel ssh;
    struct ssh_channel_callbacks_struct callbacks;
    char *command;
    int exit_status;
    struct error err;
    STAILQ_HEAD(, chunk) queue;
};

/* pool.c */
void pool_enqueue(struct link *link);
void pool_leave(struct link *link); /* gives its turn to the next, or leaves the queue */
void pool_link_gone(struct link_pool *pool);
int pool_start_handshake(struct link_pool *pool, struct handshake *handshake);

/* link.c */
void link_begin(struct link *link); /* its turn has come */
void link_handshake_done(struct link *link, struct handshake *handshake);
void link_fail(struct link *link, const struct error *err); /* any state → DOWN; tells the owner */
void link_enter(struct link *link);
void link_handle_closed_callback(uv_handle_t *handle);
void link_leave(struct link *link); /* finishes a link_close that came meanwhile */

/* session.c: from up on */
int session_start(struct link *link, struct error *err);
void session_stop(struct link *link);
void session_kick(struct link *link); /* something is to be done: pump soon */
void session_keepalive(struct link *link);

/* channel.c */
bool channel_step(
    struct channel *channel); /* one bounded piece of work; true: worth another round */
bool channel_can_step(const struct channel *channel);
void channel_orphan_all(struct link *link, const struct error *err); /* session is gone: report */
void channel_forget_all(struct link *link); /* the link goes: owners keep what they hold */
void channel_sweep(struct link *link);      /* frees released ones; not while iterating */

#endif
