/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the conversation with an agent: shared by agent_session.c (its life, its wire and what
 * is asked of the agent), agent_frames.c (what the agent says) and agent_blocks.c (what it wants).
 * Nobody else includes this. */
#ifndef TARGET_AGENT_SESSION_INTERNAL_H
#define TARGET_AGENT_SESSION_INTERNAL_H

#include "target/agent_session.h"
#include "target/heartbeat.h"
#include "target/pace.h"

/* Blocks read ahead of the wire, and what may wait on the wire before another is read: together
 * they bound a target's memory (each block at most 128 KiB, 2 MiB in all). */
enum { FETCHES_MAX = 4 };

/* Wanted ranges that wait; the agent asks for at most as much as it can hold, a queue longer than
 * this is a broken agent. */
enum { RANGES_MAX = 16384 };

struct fetch_slot {
    struct agent_session *session;
    struct store_fetch *fetch;
    uint32_t index;
};

struct agent_session {
    const struct agent_session_events *events;
    void *arg;
    struct transfer_count *count;
    struct wire *wire;
    uint64_t wire_sent_before; /* what of wire->bytes_sent is already in count */
    struct store *store;

    uint8_t *input; /* an incomplete frame */
    size_t input_size, input_capacity;

    struct want_range *ranges; /* a ring */
    uint32_t range_first, range_count;
    struct fetch_slot slots[FETCHES_MAX];

    struct pace pace;
    uv_timer_t *rate_timer;      /* NULL: no limit */
    struct heartbeat *heartbeat; /* NULL: none */

    char diagnostic[512];
    bool dead; /* lost has been said */
    int depth; /* callbacks under way: free waits for them */
    bool freeing;
};

/* agent_session.c: around whatever may free the session, or lose it. */
void session_enter(struct agent_session *session);
void session_leave(struct agent_session *session);
/* The stream is of no more use; told once. */
void session_lose(struct agent_session *session, const struct error *err);
void session_breach(struct agent_session *session, const char *what);

/* agent_frames.c: one whole frame from the agent. */
void session_handle_frame(struct agent_session *session, const struct frame *frame);

/* agent_blocks.c: the agent wants these blocks, which the image has; false: too many wait. */
bool session_want(struct agent_session *session, const struct want_range *range);
/* Reads ahead as far as slots, wire and rate allow. */
void session_pump(struct agent_session *session);

#endif
