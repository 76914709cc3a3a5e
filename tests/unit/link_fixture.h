/* SPDX-License-Identifier: Apache-2.0 */
/* Real ssh servers on loopback ports and a client on a loop, for the link's tests. */
#ifndef LINK_FIXTURE_H
#define LINK_FIXTURE_H

#include "link/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

/* A temporary directory with keys: user_key (authorized), other_key (not), locked_key (authorized,
 * passphrase "secret"). */
struct place {
    char dir[64];
};

enum server_kind { SERVER_OPENSSH, SERVER_DROPBEAR };

struct server {
    enum server_kind kind;
    pid_t pid;
    unsigned port;
    char key[128]; /* host key file */
};

/* Exit 77 of a test program: what it needs is not installed. */
bool fixture_available(void);
bool dropbear_available(void);

void place_make(struct place *place);
void place_remove(struct place *place);
/* "DIR/name" in one of a few static buffers. */
const char *place_path(const struct place *place, const char *name);
void place_write(const struct place *place, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Contents of a file in it, static buffer; "" when it does not exist. */
const char *place_read(const struct place *place, const char *name);

/* key_type: "ed25519", "ecdsa", "rsa". extra: lines for sshd_config or NULL. */
void server_start(struct server *server, const struct place *place, enum server_kind kind,
                  const char *key_type, const char *extra);
void server_stop(struct server *server);
/* The same with an ed25519 key, made known; dropbear only where it is installed (pid 0 else). */
void server_start_known(struct server *server, const struct place *place, enum server_kind kind);
/* The SHA256 fingerprint of its host key, static buffer. */
const char *server_fingerprint(const struct server *server);
/* Makes the server's key known in DIR/known_hosts. */
void server_make_known(const struct server *server, const struct place *place);

/* A socket that listens on a free loopback port. */
int listen_on_loopback(unsigned *port);
/* A port nobody listens on. */
unsigned free_port(void);
/* Runs a shell command, fails the test unless it succeeds. */
void must_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct client {
    uv_loop_t loop;
    struct link_pool *pool;
    uv_timer_t tick; /* every 10 ms: how long was the loop away? */
    uint64_t last_tick, longest_gap;
    uint64_t turns;   /* of the loop, in the last run_until or run_for */
    unsigned sockets; /* open before it began */
    unsigned max_handshakes;
};

/* No agent of the user's in the environment. */
void client_init(struct client *client, unsigned max_handshakes);
/* As client_finish and client_init: one that remembers nothing of ssh's configuration. */
void client_renew(struct client *client);
/* Runs the loop until *flag or seconds have passed; fails the test in the latter case. */
void client_run_until(struct client *client, const bool *flag, unsigned seconds);
/* Runs the loop for so long. */
void client_run_for(struct client *client, unsigned milliseconds);
/* Everything must have been closed; runs the loop to its end. */
void client_finish(struct client *client);

/* A link and what became of it. */
struct peer {
    struct link_config config;
    struct link *link;
    bool up, down, done; /* done: one of them */
    struct error err;
    struct link_facts facts;
    uint64_t up_at; /* uv_hrtime */
    char fingerprint[80], type[40], cipher[64], banner[128], route[512];
    void (*on_up)(struct peer *peer);
    void (*on_down)(struct peer *peer);
    void *data;
};

/* A configuration for the server: user root, user_key, DIR/known_hosts, an empty ssh_config. */
void peer_init(struct peer *peer, const struct place *place, const struct server *server);
void peer_open(struct peer *peer, struct client *client);
/* Opens and waits for up or down. */
void peer_connect(struct peer *peer, struct client *client);
void peer_expect_up(struct peer *peer);
void peer_expect_down(struct peer *peer, enum error_class cls, const char *part);
void peer_close(struct peer *peer);

/* link_run_command and wait. */
struct ran {
    bool done;
    int status;
    char out[65537];
    size_t out_size;
    char err_text[4200];
    struct error err;
};
void peer_run(struct peer *peer, struct client *client, const char *command, struct buffer *input,
              uint64_t timeout, struct ran *ran);

#endif
