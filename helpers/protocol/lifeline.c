/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/lifeline.h"

#include <string.h>

static const uint8_t magic[8] = {'F', 'F', 'L', 'I', 'F', 'E', '0', '1'};
static const char stream_label[] = "fleetflash stream v1";
static const char token_label[] = "fleetflash token v1";

void lifeline_token(const uint8_t secret[PROTOCOL_KEY_SIZE], uint8_t token[PROTOCOL_TOKEN_SIZE])
{
    crypto_generichash(token, PROTOCOL_TOKEN_SIZE, (const uint8_t *)token_label,
                       sizeof token_label - 1, secret, PROTOCOL_KEY_SIZE);
}

void lifeline_start(struct lifeline *line, enum lifeline_side side,
                    const uint8_t secret[PROTOCOL_KEY_SIZE])
{
    memset(line, 0, sizeof *line);
    line->side = side;
    memcpy(line->secret, secret, PROTOCOL_KEY_SIZE);
    randombytes_buf(line->nonce, sizeof line->nonce);
}

void lifeline_wipe(struct lifeline *line)
{
    sodium_memzero(line, sizeof *line);
}

void lifeline_put_hello(const struct lifeline *line, uint8_t out[LIFELINE_HELLO_SIZE])
{
    memcpy(out, magic, sizeof magic);
    memcpy(out + sizeof magic, line->nonce, LIFELINE_NONCE_SIZE);
}

static void derive(const struct lifeline *line, char direction, const uint8_t *theirs,
                   uint8_t key[crypto_secretstream_xchacha20poly1305_KEYBYTES])
{
    bool controller = line->side == LIFELINE_CONTROLLER;
    crypto_generichash_state state;
    crypto_generichash_init(&state, line->secret, PROTOCOL_KEY_SIZE,
                            crypto_secretstream_xchacha20poly1305_KEYBYTES);
    crypto_generichash_update(&state, (const uint8_t *)stream_label, sizeof stream_label - 1);
    crypto_generichash_update(&state, (const uint8_t *)&direction, 1);
    crypto_generichash_update(&state, controller ? line->nonce : theirs, LIFELINE_NONCE_SIZE);
    crypto_generichash_update(&state, controller ? theirs : line->nonce, LIFELINE_NONCE_SIZE);
    crypto_generichash_final(&state, key, crypto_secretstream_xchacha20poly1305_KEYBYTES);
    sodium_memzero(&state, sizeof state);
}

/* The other side's nonce: both keys follow. */
static int64_t open_hello(struct lifeline *line, const uint8_t *data, size_t available)
{
    size_t known = available < sizeof magic ? available : sizeof magic;
    if (memcmp(data, magic, known) != 0)
        return -1;
    if (available < LIFELINE_HELLO_SIZE)
        return 0;
    bool controller = line->side == LIFELINE_CONTROLLER;
    derive(line, controller ? 'c' : 'a', data + sizeof magic, line->push_key);
    derive(line, controller ? 'a' : 'c', data + sizeof magic, line->pull_key);
    line->met = true;
    return LIFELINE_HELLO_SIZE;
}

static int64_t open_record(struct lifeline *line, const uint8_t *data, size_t available,
                           uint8_t *out, size_t *plain_size)
{
    if (available < 4)
        return 0;
    size_t size = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24;
    if (size <= crypto_secretstream_xchacha20poly1305_ABYTES || size > LIFELINE_RECORD_MAX - 4)
        return -1;
    if (available - 4 < size)
        return 0;
    unsigned char tag;
    unsigned long long plain;
    if (crypto_secretstream_xchacha20poly1305_pull(&line->pull, out, &plain, &tag, data + 4, size,
                                                   NULL, 0) != 0)
        return -1;
    line->proven = true;
    *plain_size = (size_t)plain;
    return (int64_t)(4 + size);
}

int64_t lifeline_open(struct lifeline *line, const uint8_t *data, size_t available, uint8_t *out,
                      size_t *plain_size)
{
    *plain_size = 0;
    if (available == 0)
        return 0;
    if (!line->met)
        return open_hello(line, data, available);
    if (line->pull_begun)
        return open_record(line, data, available, out, plain_size);
    if (available < LIFELINE_HEADER_SIZE)
        return 0;
    if (crypto_secretstream_xchacha20poly1305_init_pull(&line->pull, data, line->pull_key) != 0)
        return -1;
    line->pull_begun = true;
    return LIFELINE_HEADER_SIZE;
}

size_t lifeline_seal(struct lifeline *line, const uint8_t *plain, size_t size, uint8_t *out)
{
    size_t at = 0;
    if (!line->met || size == 0 || size > LIFELINE_PLAIN_MAX)
        return 0;
    if (!line->push_begun) {
        crypto_secretstream_xchacha20poly1305_init_push(&line->push, out, line->push_key);
        line->push_begun = true;
        at = LIFELINE_HEADER_SIZE;
    }
    size_t sealed = size + crypto_secretstream_xchacha20poly1305_ABYTES;
    for (size_t i = 0; i < 4; i++)
        out[at++] = (uint8_t)(sealed >> (8 * i));
    crypto_secretstream_xchacha20poly1305_push(&line->push, out + at, NULL, plain, size, NULL, 0,
                                               0);
    return at + sealed;
}
