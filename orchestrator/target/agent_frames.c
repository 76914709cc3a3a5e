/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from the agent: each is checked, and told to the target. */
#include "target/agent_session_internal.h"

static void handle_want(struct agent_session *session, const struct frame *frame)
{
    uint32_t count = 0;
    if (protocol_decode_want(frame, &count) != 0) {
        session_breach(session, "a malformed WANT");
        return;
    }
    if (session->store == NULL) {
        session_breach(session, "a WANT before the manifest");
        return;
    }
    uint32_t blocks = store_info(session->store)->block_count;
    for (uint32_t i = 0; i < count; i++) {
        struct want_range range;
        protocol_want_range(frame, i, &range);
        if (range.count == 0 || range.first >= blocks || range.count > blocks - range.first) {
            session_breach(session, "a WANT beyond the image");
            return;
        }
        if (!session_want(session, &range)) {
            session_breach(session, "it asks for more than it can hold");
            return;
        }
    }
    session->events->alive(session->arg);
    session_pump(session);
}

static void handle_reply(struct agent_session *session, const struct frame *frame)
{
    struct agent_reply reply = {.type = frame->type};
    int bad = 0;
    switch (frame->type) {
    case FRAME_HELLO_REPLY:
        bad = protocol_decode_hello_reply(frame, &reply.hello);
        break;
    case FRAME_FACTS:
        reply.facts.json = (const char *)frame->payload;
        reply.facts.size = frame->size;
        break;
    case FRAME_MODE:
        bad = protocol_decode_mode(frame, &reply.mode);
        break;
    case FRAME_STAGED:
    case FRAME_WRITTEN:
        bad = protocol_decode_tally(frame, &reply.tally);
        break;
    default: /* FENCED, PONG carry nothing */
        bad = frame->size != 0;
        break;
    }
    if (bad)
        session_breach(session, "a malformed reply");
    else if (frame->type != FRAME_PONG || session->heartbeat == NULL)
        session->events->reply(&reply, session->arg);
}

static void handle_phase(struct agent_session *session, const struct frame *frame)
{
    enum agent_phase phase = PHASE_IDLE;
    if (protocol_decode_phase(frame, &phase) != 0)
        session_breach(session, "a malformed PHASE");
    else
        session->events->phase(phase, session->arg);
}

static void handle_progress(struct agent_session *session, const struct frame *frame)
{
    struct progress progress;
    if (protocol_decode_progress(frame, &progress) != 0)
        session_breach(session, "a malformed PROGRESS");
    else
        session->events->progress(&progress, session->arg);
}

static void handle_log(struct agent_session *session, const struct frame *frame)
{
    enum log_level level = LOG_INFO;
    char text[PROTOCOL_TEXT_MAX + 1];
    if (protocol_decode_log(frame, &level, text, sizeof text) != 0)
        session_breach(session, "a malformed LOG");
    else
        session->events->log(level, text, session->arg);
}

static void handle_fail(struct agent_session *session, const struct frame *frame)
{
    struct fail fail;
    if (protocol_decode_fail(frame, &fail) != 0)
        session_breach(session, "a malformed FAIL");
    else
        session->events->fail(&fail, session->arg);
}

void session_handle_frame(struct agent_session *session, const struct frame *frame)
{
    static const struct {
        enum frame_type type;
        void (*handle)(struct agent_session *, const struct frame *);
    } handlers[] = {
        {FRAME_HELLO_REPLY, handle_reply}, {FRAME_FACTS, handle_reply},
        {FRAME_MODE, handle_reply},        {FRAME_STAGED, handle_reply},
        {FRAME_FENCED, handle_reply},      {FRAME_WRITTEN, handle_reply},
        {FRAME_PONG, handle_reply},        {FRAME_WANT, handle_want},
        {FRAME_PHASE, handle_phase},       {FRAME_PROGRESS, handle_progress},
        {FRAME_LOG, handle_log},           {FRAME_FAIL, handle_fail},
    };
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (handlers[i].type == frame->type) {
            handlers[i].handle(session, frame);
            return;
        }
    }
    session_breach(session, "a frame that only a controller sends");
}
