/* SPDX-License-Identifier: Apache-2.0 */
/* What the link's tests stand on: an OpenSSH server that is known, one of dropbear where asked for,
 * a client for each test, and a wire that is written to without end. */
#ifndef LINK_STAND_H
#define LINK_STAND_H

#include "link_fixture.h"

#include <stdbool.h>
#include <stdint.h>

extern struct place place;
extern struct server server;
extern struct server dropbear; /* pid 0 where it is not installed, or was not asked for */
extern struct client client;

/* For cmocka: of the group, and of each test. */
int stand_begin(void **state);
int stand_begin_both(void **state); /* with dropbear */
int stand_end(void **state);
int stand_setup(void **state);
int stand_teardown(void **state);

struct feed {
    struct wire *wire;
    struct buffer *buffer;
    bool closed;
    struct error err;
    uint64_t received;
};

/* Their arg is a struct feed. */
extern const struct wire_events feed_events;

/* Runs command on the peer, and writes to it what it takes. */
void feed_start(struct feed *feed, struct peer *peer, const char *command);
/* Runs the client's loop until more than that has been sent. */
void feed_until(struct client *client, const struct feed *feed, uint64_t sent);
void feed_stop(struct feed *feed);

#endif
