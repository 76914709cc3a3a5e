/* SPDX-License-Identifier: Apache-2.0 */
#include "link/agent_relay.h"

#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDENTITIES_ANSWER 12
#define MESSAGE_LIMIT     (256u * 1024u) /* OpenSSH's own bound */

struct side {
    uv_pipe_t pipe;
    bool open;
};

struct agent_relay {
    struct side agent;
    struct side client; /* libssh */
    uv_connect_t connect;
    struct agent_keys *keys; /* NULL: stopped */
    unsigned references;     /* two handles and the owner */
    bool connected;
    uint8_t *answer; /* bytes from the agent, up to whole messages */
    size_t answer_size;
    uint8_t *early; /* bytes from libssh before the agent's socket was connected */
    size_t early_size;
    char chunk[16384];
};

struct relay_write {
    uv_write_t request;
    uint8_t data[];
};

int agent_keys_init(struct agent_keys *keys)
{
    memset(keys, 0, sizeof *keys);
    return uv_mutex_init(&keys->lock);
}

void agent_keys_free(struct agent_keys *keys)
{
    for (size_t i = 0; i < keys->wanted_count; i++)
        free(keys->wanted[i]);
    for (size_t i = 0; i < keys->offered_count; i++) {
        free(keys->offered[i]);
        free(keys->comments[i]);
    }
    uv_mutex_destroy(&keys->lock);
}

static void relay_release(struct agent_relay *relay)
{
    if (--relay->references > 0)
        return;
    free(relay->answer);
    free(relay->early);
    free(relay);
}

static void relay_closed_callback(uv_handle_t *handle)
{
    relay_release(handle->data);
}

/* Ends the conversation; libssh sees end-of-file. The struct stays until agent_relay_stop. */
static void relay_hang_up(struct agent_relay *relay)
{
    struct side *sides[] = {&relay->agent, &relay->client};
    for (size_t i = 0; i < 2; i++)
        if (sides[i]->open) {
            sides[i]->open = false;
            uv_close((uv_handle_t *)&sides[i]->pipe, relay_closed_callback);
        }
}

static void relay_written_callback(uv_write_t *request, int status)
{
    (void)status; /* a dead side also ends its reading */
    free(request);
}

static void relay_send(struct agent_relay *relay, struct side *to, const void *data, size_t size)
{
    if (!to->open || size == 0)
        return;
    struct relay_write *write = malloc(sizeof *write + size);
    if (write == NULL) {
        relay_hang_up(relay);
        return;
    }
    memcpy(write->data, data, size);
    uv_buf_t buf = uv_buf_init((char *)write->data, (unsigned)size);
    if (uv_write(&write->request, (uv_stream_t *)&to->pipe, &buf, 1, relay_written_callback) != 0) {
        free(write);
        relay_hang_up(relay);
    }
}

static uint32_t read_u32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void put_u32(uint8_t *data, uint32_t value)
{
    data[0] = (uint8_t)(value >> 24);
    data[1] = (uint8_t)(value >> 16);
    data[2] = (uint8_t)(value >> 8);
    data[3] = (uint8_t)value;
}

static char *encode_blob(const uint8_t *blob, size_t size)
{
    size_t length = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(length);
    if (text != NULL)
        sodium_bin2base64(text, length, blob, size, sodium_base64_VARIANT_ORIGINAL);
    return text;
}

/* Called with the lock held: may this key be shown? Notes it if so. */
static bool keys_offer(struct agent_keys *keys, const uint8_t *blob, size_t size,
                       const uint8_t *comment, size_t comment_size)
{
    char *text = encode_blob(blob, size);
    bool wanted = !keys->only_wanted;
    for (size_t i = 0; i < keys->wanted_count && text != NULL; i++)
        wanted |= strcmp(keys->wanted[i], text) == 0;
    if (text == NULL || !wanted || keys->offered_count == AGENT_KEYS) {
        free(text);
        return false;
    }
    keys->offered[keys->offered_count] = text;
    keys->comments[keys->offered_count] = strndup((const char *)comment, comment_size);
    keys->offered_count++;
    return true;
}

/* Rewrites an answer to "which keys do you have" in place. Returns the new size of the message, 0
 * when it is malformed. Layout: u32 length, u8 type, u32 count, count times (string blob, string
 * comment). */
static size_t filter_identities(struct agent_keys *keys, uint8_t *message, size_t size)
{
    if (size < 9)
        return 0;
    uint32_t count = read_u32(message + 5), kept = 0;
    size_t in = 9, out = 9;
    uv_mutex_lock(&keys->lock);
    for (uint32_t i = 0; i < count; i++) {
        size_t start = in, lengths[2];
        for (int part = 0; part < 2; part++) {
            if (size - in < 4 || read_u32(message + in) > size - in - 4) {
                uv_mutex_unlock(&keys->lock);
                return 0;
            }
            lengths[part] = read_u32(message + in);
            in += 4 + lengths[part];
        }
        const uint8_t *blob = message + start + 4;
        if (!keys_offer(keys, blob, lengths[0], blob + lengths[0] + 4, lengths[1]))
            continue;
        memmove(message + out, message + start, in - start);
        out += in - start;
        kept++;
    }
    uv_mutex_unlock(&keys->lock);
    put_u32(message, (uint32_t)(out - 4));
    put_u32(message + 5, kept);
    return out;
}

/* Passes on the whole messages that have come from the agent. */
static void relay_pass_answers(struct agent_relay *relay)
{
    size_t done = 0;
    while (relay->client.open && relay->answer_size - done >= 5) {
        uint8_t *message = relay->answer + done;
        uint32_t length = read_u32(message);
        if (length == 0 || length > MESSAGE_LIMIT) {
            relay_hang_up(relay);
            return;
        }
        size_t size = (size_t)length + 4;
        if (relay->answer_size - done < size)
            break;
        size_t passed = size;
        if (message[4] == IDENTITIES_ANSWER)
            passed = filter_identities(relay->keys, message, size);
        if (passed == 0) {
            relay_hang_up(relay);
            return;
        }
        relay_send(relay, &relay->client, message, passed);
        done += size;
    }
    memmove(relay->answer, relay->answer + done, relay->answer_size - done);
    relay->answer_size -= done;
}

static bool append(uint8_t **data, size_t *size, const void *more, size_t more_size)
{
    if (*size + more_size > MESSAGE_LIMIT + 4)
        return false;
    uint8_t *grown = realloc(*data, *size + more_size);
    if (grown == NULL)
        return false;
    memcpy(grown + *size, more, more_size);
    *data = grown;
    *size += more_size;
    return true;
}

static void relay_alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct agent_relay *relay = handle->data;
    *buf = uv_buf_init(relay->chunk, sizeof relay->chunk);
}

static void relay_agent_callback(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct agent_relay *relay = stream->data;
    if (nread == 0)
        return;
    if (nread < 0 || !append(&relay->answer, &relay->answer_size, buf->base, (size_t)nread))
        relay_hang_up(relay);
    else
        relay_pass_answers(relay);
}

static void relay_client_callback(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct agent_relay *relay = stream->data;
    if (nread == 0)
        return;
    if (nread < 0)
        relay_hang_up(relay);
    else if (relay->connected)
        relay_send(relay, &relay->agent, buf->base, (size_t)nread);
    else if (!append(&relay->early, &relay->early_size, buf->base, (size_t)nread))
        relay_hang_up(relay);
}

static void relay_connected_callback(uv_connect_t *request, int status)
{
    struct agent_relay *relay = request->data;
    if (relay->keys == NULL || !relay->agent.open)
        return;
    if (status != 0) {
        uv_mutex_lock(&relay->keys->lock);
        relay->keys->unreachable = true;
        uv_mutex_unlock(&relay->keys->lock);
        relay_hang_up(relay);
        return;
    }
    relay->connected = true;
    uv_read_start((uv_stream_t *)&relay->agent.pipe, relay_alloc_callback, relay_agent_callback);
    relay_send(relay, &relay->agent, relay->early, relay->early_size);
}

struct agent_relay *agent_relay_start(uv_loop_t *loop, const char *path, struct agent_keys *keys,
                                      int *fd)
{
    int pair[2];
    *fd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return NULL;
    struct agent_relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL || uv_pipe_init(loop, &relay->client.pipe, 0) != 0 ||
        uv_pipe_init(loop, &relay->agent.pipe, 0) != 0 ||
        uv_pipe_open(&relay->client.pipe, pair[1]) != 0) {
        /* None of these fails but for lack of memory; the handles need no closing then. */
        free(relay);
        close(pair[0]);
        close(pair[1]);
        return NULL;
    }
    relay->keys = keys;
    relay->references = 3;
    relay->agent.open = relay->client.open = true;
    relay->agent.pipe.data = relay->client.pipe.data = relay->connect.data = relay;
    uv_pipe_connect(&relay->connect, &relay->agent.pipe, path, relay_connected_callback);
    uv_read_start((uv_stream_t *)&relay->client.pipe, relay_alloc_callback, relay_client_callback);
    *fd = pair[0];
    return relay;
}

void agent_relay_stop(struct agent_relay *relay)
{
    if (relay == NULL)
        return;
    relay->keys = NULL;
    relay_hang_up(relay);
    relay_release(relay);
}
