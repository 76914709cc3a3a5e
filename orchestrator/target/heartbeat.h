/* SPDX-License-Identifier: Apache-2.0 */
/* Notices that the other side of a stream is gone without a word: a host without power, a pulled
 * cable, a program that hangs. Counts beats, not time: a controller that was stopped for an hour
 * has missed one, and hears first what came meanwhile. */
#ifndef TARGET_HEARTBEAT_H
#define TARGET_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Beats without a sign of life until the other side counts as gone. */
enum { HEARTBEAT_MISSED = 6 };

/* What a ping itself may add to what the transport took, sealed. More than that left for the other
 * side is a sign of life: a transport's buffer is bounded, so it empties only into a living peer.
 */
enum { HEARTBEAT_NOISE = 128 };

struct heartbeat_events {
    /* Sends a ping; returns the bytes that the transport has taken so far in all. */
    uint64_t (*ping)(void *arg);
    /* Gone. Comes once; heartbeat_free may be called from it, from ping not. */
    void (*silent)(void *arg);
};

struct heartbeat;

/* Beats every so many ms from now on. events must outlive it. NULL only when memory is short. */
struct heartbeat *heartbeat_new(uv_loop_t *loop, uint64_t every,
                                const struct heartbeat_events *events, void *arg);

/* Bytes came from the other side. NULL is allowed. */
void heartbeat_heard(struct heartbeat *heart);
/* Whether the last beat, or more of them, went by without an answer. NULL: no. */
bool heartbeat_is_faint(const struct heartbeat *heart);

/* No callback after this. NULL is allowed. */
void heartbeat_free(struct heartbeat *heart);

#endif
