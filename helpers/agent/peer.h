/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to the agent: stdin and stdout, the unix socket, or the TCP port with its
 * lifeline. Non-blocking; belongs to the main thread. */
#ifndef PEER_H
#define PEER_H

#include "protocol/lifeline.h"

#include <sys/types.h>

enum peer_kind { PEER_STDIO, PEER_UNIX, PEER_TCP };

struct peer {
    enum peer_kind kind;
    int in_fd, out_fd;  /* the same for sockets */
    bool authenticated; /* its HELLO was right */
    bool ending;        /* to be closed once everything is sent */
    int64_t deadline;   /* ms on the monotonic clock: authenticated by then, or closed */
    pid_t pid;          /* unix: the other end */
    uint8_t *in;        /* plain bytes that have come */
    size_t in_size, in_capacity;
    uint8_t *out; /* bytes to be sent, sealed already */
    size_t out_at, out_size, out_capacity;
    struct lifeline *line; /* TCP only */
    uint8_t *raw;          /* TCP only: sealed bytes that have come */
    size_t raw_size;
};

/* Takes over the descriptors. NULL: out of memory (they are closed). secret: TCP only. */
struct peer *peer_new(enum peer_kind kind, int in_fd, int out_fd, const uint8_t *secret,
                      int64_t deadline);
void peer_free(struct peer *peer);
/* Room for whole frames, once it is known who this is. -1: out of memory. */
int peer_admit(struct peer *peer);
/* Reads what is there. 1: bytes came; 0: none now; -1: ended or not acceptable. */
int peer_receive(struct peer *peer);
/* Drops the first size plain bytes. */
void peer_consume(struct peer *peer, size_t size);
/* Queues and sends what goes; -1: the connection is gone or too much is waiting. */
int peer_send(struct peer *peer, const uint8_t *data, size_t size);
int peer_flush(struct peer *peer);
static inline size_t peer_pending(const struct peer *peer)
{
    return peer->out_size - peer->out_at;
}

#endif
