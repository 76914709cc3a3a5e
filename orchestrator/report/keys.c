/* SPDX-License-Identifier: Apache-2.0 */
#include "report/keys.h"

#include "report/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct keys {
    uv_poll_t poll;
    int fd;
    bool wanted, reading, gone;
    void (*pressed)(int key, void *arg);
    void *arg;
};

/* --- sequences ------------------------------------------------------------------------------ */

static int named_key(const char *sequence, size_t size)
{
    static const struct {
        const char *sequence;
        int key;
    } table[] = {{"A", KEY_UP},     {"B", KEY_DOWN},  {"H", KEY_FIRST},  {"F", KEY_LAST},
                 {"1~", KEY_FIRST}, {"4~", KEY_LAST}, {"7~", KEY_FIRST}, {"8~", KEY_LAST}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strlen(table[i].sequence) == size && memcmp(table[i].sequence, sequence, size) == 0)
            return table[i].key;
    }
    return KEY_NONE;
}

/* Bytes of the sequence after "ESC [" or "ESC O" (ECMA-48: parameters, then one final byte). */
static size_t sequence_size(const char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size && bytes[at] >= 0x20 && bytes[at] <= 0x3f)
        at++;
    return at < size ? at + 1 : size;
}

size_t keys_decode(const char *bytes, size_t size, int *keys, size_t max)
{
    size_t count = 0;
    for (size_t at = 0; at < size && count < max; at++) {
        int key = (unsigned char)bytes[at];
        if (key == KEY_ESCAPE && at + 1 < size && (bytes[at + 1] == '[' || bytes[at + 1] == 'O')) {
            size_t length = sequence_size(bytes + at + 2, size - at - 2);
            key = named_key(bytes + at + 2, length);
            at += 1 + length;
        }
        if (key != KEY_NONE)
            keys[count++] = key;
    }
    return count;
}

/* --- reading -------------------------------------------------------------------------------- */

static void keys_stop(struct keys *keys)
{
    uv_poll_stop(&keys->poll);
    keys->reading = false;
}

static void poll_callback(uv_poll_t *poll, int status, int events)
{
    struct keys *keys = poll->data;
    char bytes[64];
    int pressed[64];
    (void)events;
    if (!terminal_is_ours(keys->fd)) {
        keys_stop(keys);
        return;
    }
    ssize_t got = status == 0 ? read(keys->fd, bytes, sizeof bytes) : -1;
    if (got < 0 && status == 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) { /* the terminal is gone */
        keys->gone = true;
        keys_stop(keys);
        return;
    }
    size_t count = keys_decode(bytes, (size_t)got, pressed, sizeof pressed / sizeof *pressed);
    for (size_t i = 0; i < count; i++)
        keys->pressed(pressed[i], keys->arg);
}

struct keys *keys_new(uv_loop_t *loop, int fd, void (*pressed)(int key, void *arg), void *arg)
{
    struct keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL || uv_poll_init(loop, &keys->poll, fd) != 0) {
        free(keys);
        return NULL;
    }
    keys->poll.data = keys;
    uv_unref((uv_handle_t *)&keys->poll);
    keys->fd = fd;
    keys->pressed = pressed;
    keys->arg = arg;
    return keys;
}

void keys_listen(struct keys *keys, bool wanted)
{
    keys->wanted = wanted;
    if (!wanted) {
        keys_stop(keys);
        terminal_keys_end();
    }
    keys_check(keys);
}

void keys_check(struct keys *keys)
{
    if (keys->reading && !terminal_is_ours(keys->fd)) {
        keys_stop(keys);
    } else if (!keys->reading && keys->wanted && !keys->gone && terminal_keys_begin(keys->fd)) {
        keys->reading = uv_poll_start(&keys->poll, UV_READABLE, poll_callback) == 0;
    }
}

void keys_stopping(struct keys *keys)
{
    keys_stop(keys);
    terminal_keys_end();
}

void keys_continued(struct keys *keys)
{
    keys_stop(keys);
    keys_check(keys);
}

bool keys_are_read(const struct keys *keys)
{
    return keys != NULL && keys->reading;
}

static void close_callback(uv_handle_t *handle)
{
    free(handle->data);
}

void keys_free(struct keys *keys)
{
    if (keys == NULL)
        return;
    keys_listen(keys, false);
    uv_close((uv_handle_t *)&keys->poll, close_callback);
}
