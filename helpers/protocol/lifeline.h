/* SPDX-License-Identifier: Apache-2.0 */
/* The second way into an agent: its own TCP port, authenticated and encrypted with the secret that
 * the controller handed over through the ssh session (the `key` line of `agent start`).
 *
 * Both programs use this code; it does no input or output. On the wire, all numbers little-endian:
 *
 *     controller → agent   LIFELINE_HELLO_SIZE bytes: "FFLIFE01" | nonce_controller (24 random
 * bytes) agent → controller   the same with nonce_agent; sent once the controller's has come then,
 * each way       24 bytes of secretstream header, and records: u32 size of the ciphertext |
 * ciphertext (plaintext 1…65536 bytes + 17)
 *
 * A direction has its own key:
 *
 *     key = crypto_generichash(32 bytes, key = secret,
 *               "fleetflash stream v1" | 'c' (controller → agent) or 'a' | nonce_controller |
 * nonce_agent)
 *
 * and is a libsodium crypto_secretstream_xchacha20poly1305 (order and integrity are the stream's;
 * the fresh nonce of both sides makes an earlier conversation useless to a replay, the two keys
 * make a reflected one). The plaintext is the byte stream of protocol.h, which begins with HELLO;
 * the controller speaks first. A peer is authenticated when its first record opens; until then the
 * agent sends nothing but its nonce. Whatever does not open ends the connection. */
#ifndef LIFELINE_H
#define LIFELINE_H

#include "protocol/protocol.h"

#include <sodium.h>

#define LIFELINE_NONCE_SIZE  24u
#define LIFELINE_HELLO_SIZE  (8u + LIFELINE_NONCE_SIZE)
#define LIFELINE_PLAIN_MAX   65536u
#define LIFELINE_RECORD_MAX  (4u + LIFELINE_PLAIN_MAX + crypto_secretstream_xchacha20poly1305_ABYTES)
#define LIFELINE_HEADER_SIZE crypto_secretstream_xchacha20poly1305_HEADERBYTES
/* What lifeline_seal may write for one record. */
#define LIFELINE_SEALED_MAX (LIFELINE_HEADER_SIZE + LIFELINE_RECORD_MAX)

enum lifeline_side { LIFELINE_CONTROLLER, LIFELINE_AGENT };

/* One connection's state; a value without resources, wiped by lifeline_wipe. */
struct lifeline {
    enum lifeline_side side;
    uint8_t secret[PROTOCOL_KEY_SIZE];
    uint8_t nonce[LIFELINE_NONCE_SIZE];
    bool met;        /* the other side's nonce has come: both keys are set */
    bool push_begun; /* our secretstream header was sent */
    bool pull_begun; /* theirs has come */
    bool proven;     /* a record of theirs has opened: they know the secret */
    uint8_t push_key[crypto_secretstream_xchacha20poly1305_KEYBYTES];
    uint8_t pull_key[crypto_secretstream_xchacha20poly1305_KEYBYTES];
    crypto_secretstream_xchacha20poly1305_state push, pull;
};

/* HELLO's token: crypto_generichash(32, "fleetflash token v1", key = secret). */
void lifeline_token(const uint8_t secret[PROTOCOL_KEY_SIZE], uint8_t token[PROTOCOL_TOKEN_SIZE]);

/* Starts one connection's state; makes our nonce. sodium_init() must have been called. */
void lifeline_start(struct lifeline *line, enum lifeline_side side,
                    const uint8_t secret[PROTOCOL_KEY_SIZE]);
void lifeline_wipe(struct lifeline *line);

/* Our first bytes. */
void lifeline_put_hello(const struct lifeline *line, uint8_t out[LIFELINE_HELLO_SIZE]);

/* Takes from the first available bytes of what the other side sent. Returns the bytes consumed; 0
 * when more are needed; -1 when this is not the other side (the connection must be closed).
 * *plain_size bytes of plaintext are written to out (room for LIFELINE_PLAIN_MAX); 0 for the
 * opening steps. */
int64_t lifeline_open(struct lifeline *line, const uint8_t *data, size_t available, uint8_t *out,
                      size_t *plain_size);

/* Seals 1…LIFELINE_PLAIN_MAX bytes into out (LIFELINE_SEALED_MAX bytes of room); returns what it
 * wrote, 0 when the other side's nonce has not come yet or size is out of range. */
size_t lifeline_seal(struct lifeline *line, const uint8_t *plain, size_t size, uint8_t *out);

#endif
