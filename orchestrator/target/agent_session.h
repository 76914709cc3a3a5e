/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's end of the conversation with one agent (protocol/protocol.h): takes frames
 * apart, checks them, and serves the blocks that the agent asks for from the store. It knows
 * nothing of links, retries or policies; the target drives it. */
#ifndef TARGET_AGENT_SESSION_H
#define TARGET_AGENT_SESSION_H

#include "base/error.h"
#include "base/wire.h"
#include "protocol/protocol.h"
#include "store/store.h"
#include "target/shift.h"

#include <uv.h>

struct agent_session;

struct agent_reply {
    enum frame_type type;
    union {
        struct hello_reply hello;
        struct {
            const char *json;
            size_t size;
        } facts;
        struct mode_reply mode;
        struct tally tally; /* STAGED, WRITTEN */
    };
};

/* All run on the loop thread. agent_session_free may be called from any of them. */
struct agent_session_events {
    /* The first frame of type that target waits for arrived; which fields of reply hold depends on
     * type (HELLO_REPLY, FACTS, MODE, STAGED, FENCED, WRITTEN, PONG). */
    void (*reply)(const struct agent_reply *reply, void *arg);
    void (*phase)(enum agent_phase phase, void *arg);
    void (*progress)(const struct progress *progress, void *arg);
    void (*log)(enum log_level level, const char *text, void *arg);
    /* The agent gave up. */
    void (*fail)(const struct fail *fail, void *arg);
    /* The stream ended, or the agent broke the protocol (ERROR_PROTOCOL). No callback follows. */
    void (*lost)(const struct error *err, void *arg);
    /* Blocks were asked for or have moved: the transfer timeout starts anew. */
    void (*alive)(void *arg);
};

#define TRANSFER_SAMPLES 8u

/* What was sent, over all sessions of a target (owned by the target). */
struct transfer_count {
    uint64_t bytes_sent; /* handed to the transport */
    uint32_t blocks_sent;
    /* Some of the blocks that were sent, each with the same chance: the proof of the new system
     * looks for them on the disk. The head of the image is left out, first boots rewrite it. */
    unsigned sample_count, samples_seen;
    uint32_t samples[TRANSFER_SAMPLES];
};

/* A conversation that will run over the wire that agent_session_wire_events and the returned
 * session are given to; see agent_session_attach. */
struct agent_session *agent_session_new(const struct agent_session_events *events, void *arg,
                                        struct transfer_count *count);

/* The callbacks for the wire; its arg must be the session. */
extern const struct wire_events agent_session_wire_events;

/* Hands the wire over (the session closes it). Must be called before the wire's first callback. */
void agent_session_attach(struct agent_session *session, struct wire *wire);

/* From now on WANTs can be answered. */
void agent_session_set_store(struct agent_session *session, struct store *store);

/* Bytes per second that this session may send; 0: no limit. */
void agent_session_set_rate(struct agent_session *session, uv_loop_t *loop, uint64_t rate);

/* From now on PINGs go out every so many ms, their answers are not told, and a stream on which
 * nothing has moved for HEARTBEAT_MISSED of them is lost (ERROR_TIMEOUT). */
void agent_session_set_heartbeat(struct agent_session *session, uv_loop_t *loop, uint64_t every);
/* Whether the last PING has had no answer. NULL: yes. */
bool agent_session_is_faint(const struct agent_session *session);

/* Requests. Each is sent at once; answers come through reply, in the agent's own time. */
void agent_session_hello(struct agent_session *session, const uint8_t token[PROTOCOL_TOKEN_SIZE],
                         const char *run_id);
void agent_session_probe(struct agent_session *session, const char *device);
void agent_session_manifest(struct agent_session *session, const struct shift *shift);
void agent_session_begin(struct agent_session *session, enum flash_mode mode, uint32_t flags);
/* FENCE, WRITE, REBOOT, ABORT or PING. */
void agent_session_request(struct agent_session *session, enum frame_type type);

/* What a remote program wrote to stderr (last few hundred bytes), for error sentences. */
const char *agent_session_diagnostic(const struct agent_session *session);

/* Closes the wire, cancels fetches, frees. NULL is allowed. */
void agent_session_free(struct agent_session *session);

#endif
