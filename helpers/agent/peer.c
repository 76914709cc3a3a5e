/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IN_STRANGER  1024u /* a HELLO and no more */
#define IN_ADMITTED  (PROTOCOL_PAYLOAD_MAX + PROTOCOL_HEADER_SIZE + LIFELINE_PLAIN_MAX)
#define RAW_STRANGER (LIFELINE_HELLO_SIZE + LIFELINE_HEADER_SIZE + 4u + IN_STRANGER)
#define RAW_ADMITTED (2u * LIFELINE_RECORD_MAX)
#define OUT_MAX      (4u * 1024u * 1024u) /* more is waiting: the other side does not read */

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct peer *peer_new(enum peer_kind kind, int in_fd, int out_fd, const uint8_t *secret,
                      int64_t deadline)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        close(in_fd);
        if (out_fd != in_fd)
            close(out_fd);
        return NULL;
    }
    *peer = (struct peer){.kind = kind, .in_fd = in_fd, .out_fd = out_fd, .deadline = deadline};
    set_nonblocking(in_fd);
    set_nonblocking(out_fd);
    peer->in = malloc(IN_STRANGER);
    peer->in_capacity = IN_STRANGER;
    if (kind == PEER_TCP) {
        peer->raw = malloc(RAW_STRANGER);
        peer->line = malloc(sizeof *peer->line);
    }
    if (peer->in == NULL || (kind == PEER_TCP && (peer->raw == NULL || peer->line == NULL))) {
        peer_free(peer);
        return NULL;
    }
    if (kind == PEER_TCP)
        lifeline_start(peer->line, LIFELINE_AGENT, secret);
    return peer;
}

void peer_free(struct peer *peer)
{
    if (peer == NULL)
        return;
    close(peer->in_fd);
    if (peer->out_fd != peer->in_fd)
        close(peer->out_fd);
    if (peer->line != NULL)
        lifeline_wipe(peer->line);
    free(peer->line);
    free(peer->raw);
    free(peer->in);
    free(peer->out);
    free(peer);
}

int peer_admit(struct peer *peer)
{
    uint8_t *in = realloc(peer->in, IN_ADMITTED);
    if (in == NULL)
        return -1;
    peer->in = in;
    peer->in_capacity = IN_ADMITTED;
    if (peer->kind == PEER_TCP) {
        uint8_t *raw = realloc(peer->raw, RAW_ADMITTED);
        if (raw == NULL)
            return -1;
        peer->raw = raw;
    }
    peer->authenticated = true;
    return 0;
}

/* Bytes read, 0 for none now, -1 for the end. */
static ssize_t read_some(int fd, uint8_t *out, size_t room)
{
    ssize_t n = read(fd, out, room);
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* Opens all whole records that fit. */
static int open_records(struct peer *peer)
{
    uint8_t plain[LIFELINE_PLAIN_MAX]; /* opened aside: a bad record must leave nothing behind */
    size_t at = 0;
    while (at < peer->raw_size) {
        size_t size, room = peer->in_capacity - peer->in_size;
        if (peer->line->met && peer->line->pull_begun && peer->authenticated &&
            room < LIFELINE_PLAIN_MAX)
            break;
        bool met = peer->line->met;
        int64_t n = lifeline_open(peer->line, peer->raw + at, peer->raw_size - at, plain, &size);
        if (n < 0 || size > room)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
        memcpy(peer->in + peer->in_size, plain, size);
        peer->in_size += size;
        if (!met && peer->line->met) {
            uint8_t hello[LIFELINE_HELLO_SIZE];
            lifeline_put_hello(peer->line, hello);
            if (write(peer->out_fd, hello, sizeof hello) != sizeof hello)
                return -1; /* the first bytes into an empty socket buffer */
        }
    }
    memmove(peer->raw, peer->raw + at, peer->raw_size - at);
    peer->raw_size -= at;
    return 0;
}

int peer_receive(struct peer *peer)
{
    if (peer->kind == PEER_TCP) {
        size_t capacity = peer->authenticated ? RAW_ADMITTED : RAW_STRANGER;
        size_t before = peer->in_size;
        ssize_t n = 0;
        if (peer->raw_size < capacity) {
            n = read_some(peer->in_fd, peer->raw + peer->raw_size, capacity - peer->raw_size);
            if (n < 0)
                return -1;
            peer->raw_size += (size_t)n;
        }
        if (open_records(peer) != 0 ||
            (n == 0 && !peer->authenticated && peer->raw_size == capacity))
            return -1;
        return n > 0 || peer->in_size > before;
    }
    if (peer->in_size == peer->in_capacity)
        return peer->authenticated ? 0 : -1;
    ssize_t n = read_some(peer->in_fd, peer->in + peer->in_size, peer->in_capacity - peer->in_size);
    if (n < 0)
        return -1;
    peer->in_size += (size_t)n;
    return n > 0;
}

void peer_consume(struct peer *peer, size_t size)
{
    memmove(peer->in, peer->in + size, peer->in_size - size);
    peer->in_size -= size;
}

static int reserve(struct peer *peer, size_t size)
{
    if (peer->out_at > 0) {
        memmove(peer->out, peer->out + peer->out_at, peer_pending(peer));
        peer->out_size -= peer->out_at;
        peer->out_at = 0;
    }
    if (peer->out_capacity - peer->out_size >= size)
        return 0;
    size_t capacity = peer->out_size + size + 8192;
    uint8_t *out = capacity > OUT_MAX ? NULL : realloc(peer->out, capacity);
    if (out == NULL)
        return -1;
    peer->out = out;
    peer->out_capacity = capacity;
    return 0;
}

int peer_send(struct peer *peer, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t n = size < LIFELINE_PLAIN_MAX ? size : LIFELINE_PLAIN_MAX;
        if (peer->kind != PEER_TCP) {
            if (reserve(peer, n) != 0)
                return -1;
            memcpy(peer->out + peer->out_size, data, n);
            peer->out_size += n;
        } else {
            if (reserve(peer, n + LIFELINE_SEALED_MAX - LIFELINE_PLAIN_MAX) != 0)
                return -1;
            peer->out_size += lifeline_seal(peer->line, data, n, peer->out + peer->out_size);
        }
        data += n;
        size -= n;
    }
    return peer_flush(peer);
}

int peer_flush(struct peer *peer)
{
    while (peer_pending(peer) > 0) {
        ssize_t n = write(peer->out_fd, peer->out + peer->out_at, peer_pending(peer));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        peer->out_at += (size_t)n;
    }
    if (peer->out_capacity > 65536) { /* FACTS is the only large one */
        free(peer->out);
        peer->out = NULL;
        peer->out_capacity = 0;
    }
    peer->out_at = peer->out_size = 0;
    return 0;
}
