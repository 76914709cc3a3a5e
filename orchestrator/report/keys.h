/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that the user presses while a run is on the screen. */
#ifndef REPORT_KEYS_H
#define REPORT_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* Others are their character. */
enum key { KEY_NONE = 0, KEY_ESCAPE = 27, KEY_UP = 256, KEY_DOWN, KEY_FIRST, KEY_LAST };

/* What bytes of a terminal (xterm's and vt100's sequences, both cursor modes) mean; at most max
 * keys, their number. Sequences of keys that have no name here are left out. */
size_t keys_decode(const char *bytes, size_t size, int *keys, size_t max);

struct keys;

/* fd: an own descriptor of the terminal, made non-blocking; stays the caller's. Nothing is read
 * before keys_listen. pressed may call any of these but keys_free. NULL when memory is short. */
struct keys *keys_new(uv_loop_t *loop, int fd, void (*pressed)(int key, void *arg), void *arg);

/* Whether keys are wanted now. The terminal's modes are changed as long as they are. */
void keys_listen(struct keys *keys, bool wanted);

/* To be called now and then: listens when the process has come to the foreground, and no longer
 * when it has left it. */
void keys_check(struct keys *keys);

/* Before the process stops, and when it goes on. */
void keys_stopping(struct keys *keys);
void keys_continued(struct keys *keys);

/* Keys are read just now. */
bool keys_are_read(const struct keys *keys);

/* The memory goes when the loop has run once more. NULL is allowed. */
void keys_free(struct keys *keys);

#endif
