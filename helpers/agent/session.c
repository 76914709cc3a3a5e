/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation: which frame is allowed when, and what it does. */
#include "agent.h"
#include "console.h"
#include "fault.h"
#include "text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WANT_RANGES     64u
#define PROGRESS_EVERY  500 /* ms */
#define SEND_HIGH_WATER (256u * 1024u)

#define IN(phase) (1u << (phase))
#define IN_ANY    (IN(PHASE_COUNT) - 1u)
#define IN_DESTRUCTIVE                                                                             \
    (IN(PHASE_ERASING_HEAD) | IN(PHASE_WRITING) | IN(PHASE_READING_BACK) | IN(PHASE_WRITING_HEAD))
#define IN_BEGUN (IN(PHASE_SCANNING) | IN(PHASE_STAGING) | IN(PHASE_STAGED) | IN(PHASE_READY))
#define IN_FENCE (IN(PHASE_FENCING) | IN(PHASE_FENCED))

/* --- sending ---------------------------------------------------------------------------------- */

void session_send(struct agent *agent, const uint8_t *data, size_t size)
{
    if (agent->active != NULL && size > 0 && peer_send(agent->active, data, size) != 0)
        agent->active->ending = true;
}

void session_phase(struct agent *agent, enum agent_phase phase)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    bool repeated = agent->phase == phase;
    agent->phase = phase;
#ifdef AGENT_TEST_SWITCHES
    if (agent->config.switches.die_at == phase && phase != PHASE_IDLE && !agent->is_heir)
        abort();
#endif
    if (!repeated)
        console_print(agent->console, "%s", protocol_phase_name(phase));
    session_send(agent, out, protocol_encode_phase(phase, out, sizeof out));
}

void session_log(struct agent *agent, enum log_level level, const char *text)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    if (level >= LOG_INFO)
        console_print(agent->console, "%s", text);
    session_send(agent, out, protocol_encode_log(level, text, out, sizeof out));
}

static void send_fail(struct agent *agent, const struct fail *fail)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    session_send(agent, out, protocol_encode_fail(fail, out, sizeof out));
}

static void send_tally(struct agent *agent, enum frame_type type)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    session_send(agent, out, protocol_encode_tally(type, &agent->flash.tally, out, sizeof out));
}

static void send_facts(struct agent *agent)
{
    uint8_t header[PROTOCOL_HEADER_SIZE];
    size_t size = strlen(agent->facts);
    protocol_put_header(header, FRAME_FACTS, (uint32_t)size);
    session_send(agent, header, sizeof header);
    session_send(agent, (const uint8_t *)agent->facts, size);
}

void session_send_milestone(struct agent *agent)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    if (agent->mode != MODE_AUTO && agent->phase >= PHASE_SCANNING && agent->phase <= PHASE_READY)
        session_send(agent, out, protocol_encode_mode(&agent->work.choice.reply, out, sizeof out));
    if (agent->phase == PHASE_STAGED)
        send_tally(agent, FRAME_STAGED);
    if (agent->phase == PHASE_FENCED)
        session_send(agent, out, protocol_encode_empty(FRAME_FENCED, out, sizeof out));
    if (agent->phase == PHASE_WRITTEN)
        send_tally(agent, FRAME_WRITTEN);
    if (agent->fail.code != 0 && !agent->failing)
        send_fail(agent, &agent->fail);
}

static void send_wants(struct agent *agent)
{
    struct want_range ranges[WANT_RANGES];
    uint8_t out[PROTOCOL_HEADER_SIZE + WANT_RANGES * 8];
    uint32_t count;
    while (agent->active != NULL && !agent->active->ending &&
           peer_pending(agent->active) < SEND_HIGH_WATER &&
           (count = intake_next(&agent->intake, ranges, WANT_RANGES)) > 0)
        session_send(agent, out, protocol_encode_want(ranges, count, out, sizeof out));
}

/* Sectors that the disk has completed writing (Documentation/block/stat.rst): a long sync, zeroing
 * or flush moves this number and no other. Before the fence it is the live system's. */
static uint64_t read_pulse(const struct agent *agent)
{
    char path[320], text[256];
    unsigned long long sectors = 0;
    text_format(path, sizeof path, "/sys/block/%s/stat", agent->target.name);
    if (agent->phase < PHASE_FENCING || agent->target.name[0] == '\0' ||
        text_read(path, text, sizeof text) <= 0 ||
        sscanf(text, "%*u %*u %*u %*u %*u %*u %llu", &sectors) != 1)
        return 0;
    return sectors;
}

static void send_progress(struct agent *agent)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    int64_t now = agent_now();
    if (now - agent->last_progress < PROGRESS_EVERY)
        return;
    agent->last_progress = now;
    struct progress progress = {
        .phase = (uint8_t)agent->phase,
        .done = atomic_load(&agent->flash.done),
        .total = atomic_load(&agent->flash.total),
        .bytes_written = flash_bytes_written(&agent->flash),
    };
    if (agent->phase == PHASE_STAGING) { /* the scan is over: what counts is what has come */
        progress.total = agent->work.choice.staging;
        progress.done = agent->flash.tally.blocks_received;
    }
    if (progress.done > progress.total)
        progress.done = progress.total;
    /* A worker that is stuck must not look alive: what did not change is not said again. */
    const struct progress *last = &agent->progress;
    uint64_t pulse = read_pulse(agent);
    if (last->phase == progress.phase && last->done == progress.done &&
        last->total == progress.total && last->bytes_written == progress.bytes_written &&
        agent->pulse == pulse)
        return;
    agent->progress = progress;
    agent->pulse = pulse;
    session_send(agent, out, protocol_encode_progress(&progress, out, sizeof out));
}

void session_pump(struct agent *agent)
{
    if (agent->active == NULL || agent->active->ending)
        return;
    if (flash_is_complete(&agent->flash))
        send_wants(agent);
    if (agent->job != JOB_NONE || agent->phase == PHASE_STAGING)
        send_progress(agent);
}

/* --- receiving -------------------------------------------------------------------------------- */

typedef int (*frame_handler)(struct agent *agent, const struct frame *frame);

static int malformed(struct agent *agent, const char *what)
{
    struct fail fail = {.state = FAIL_UNTOUCHED};
    fault_set(&fail, FAILCODE_PROTOCOL, "%s is not what the protocol allows", what);
    if (agent->phase > PHASE_FENCED && agent->phase != PHASE_FAILED)
        fail.state = FAIL_INCOMPLETE;
    else if (agent->phase == PHASE_FENCED && agent->fence.irreversible)
        fail.state = FAIL_REBOOTING; /* once the controller stays away */
    send_fail(agent, &fail);
    return -1;
}

static int on_probe(struct agent *agent, const struct frame *frame)
{
    char device[sizeof agent->work.device];
    if (protocol_decode_probe(frame, device, sizeof device) != 0 || agent->is_heir)
        return malformed(agent, "PROBE");
    if (agent->facts != NULL && (agent->phase > PHASE_IDLE || agent->job != JOB_NONE)) {
        send_facts(agent);
        return 0;
    }
    if (agent->job != JOB_NONE)
        return 0; /* the answer is on its way */
    text_copy(agent->work.device, sizeof agent->work.device, device);
    jobs_start(agent, JOB_PROBE);
    return 0;
}

static int on_manifest(struct agent *agent, const struct frame *frame)
{
    struct manifest manifest;
    struct fail fail = {0};
    if (protocol_decode_manifest(frame, &manifest) != 0)
        return malformed(agent, "MANIFEST");
    const struct manifest *known = &agent->flash.manifest;
    if (flash_is_complete(&agent->flash) && manifest.first_block == known->first_block &&
        manifest.shift == known->shift &&
        memcmp(manifest.image_id, known->image_id, PROTOCOL_HASH_SIZE) == 0)
        return 0; /* known already: so are the hashes that follow */
    bool lost = agent->is_heir && !flash_is_complete(&agent->flash);
    if (agent->phase != PHASE_IDLE && !lost) {
        fault_set(&fail, FAILCODE_PROTOCOL,
                  "this agent flashes another image, or to another place");
        if (agent->phase > PHASE_FENCED && agent->phase != PHASE_FAILED)
            fail.state = FAIL_INCOMPLETE;
        send_fail(agent, &fail);
        return -1;
    }
    /* The controller has looked at both; memory for the hashes is taken on nobody's word. */
    if ((agent->facts == NULL && !lost) || agent->job != JOB_NONE)
        return malformed(agent, "MANIFEST before the disk was probed");
    if (jobs_check_size(agent, &manifest, &fail) != 0 ||
        flash_set_manifest(&agent->flash, &manifest, &fail) != 0)
        jobs_fail(agent, &fail);
    return 0;
}

static int on_hashes(struct agent *agent, const struct frame *frame)
{
    uint32_t first, count;
    if (protocol_decode_hashes(frame, &first, &count) != 0)
        return malformed(agent, "MANIFEST_HASHES");
    if (flash_is_complete(&agent->flash) || agent->phase == PHASE_FAILED)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        struct manifest_entry entry;
        protocol_hashes_entry(frame, i, &entry);
        if (!flash_add_entry(&agent->flash, first + i, &entry))
            return malformed(agent, "MANIFEST_HASHES");
    }
    if (flash_is_complete(&agent->flash) && !flash_id_matches(&agent->flash)) {
        struct fail fail;
        fault_set(&fail, FAILCODE_PROTOCOL, "the manifest does not have the image's id");
        jobs_fail(agent, &fail);
    }
    return 0;
}

static int on_begin(struct agent *agent, const struct frame *frame)
{
    enum flash_mode mode;
    uint32_t flags;
    if (agent->phase == PHASE_FAILED)
        return 0; /* it was sent before the news arrived */
    if (protocol_decode_begin(frame, &mode, &flags) != 0 || !flash_is_complete(&agent->flash) ||
        agent->facts == NULL || agent->disk.fd < 0)
        return malformed(agent, "BEGIN");
    if (agent->phase != PHASE_IDLE) {
        session_send_milestone(agent);
        return 0;
    }
    agent->work.choice.asked = mode;
    agent->flash.force = (flags & BEGIN_FLAG_FORCE) != 0;
    agent->unattended = (flags & BEGIN_FLAG_UNATTENDED) != 0;
    if (jobs_start(agent, JOB_SCAN))
        session_phase(agent, PHASE_SCANNING);
    return 0;
}

static int on_block(struct agent *agent, const struct frame *frame)
{
    struct block_header block;
    struct fail fail = {0};
    const uint8_t *data;
    uint32_t size;
    if (protocol_decode_block(frame, &block, &data, &size) != 0)
        return malformed(agent, "BLOCK");
    if (intake_block(&agent->intake, &block, data, size, &fail) != 0)
        jobs_fail(agent, &fail);
    jobs_check_staged(agent);
    return 0;
}

static int on_fence(struct agent *agent, const struct frame *frame)
{
    (void)frame;
    if (agent->mode == MODE_UNCHANGED)
        return malformed(agent, "FENCE of an unchanged disk");
    if (agent->phase == PHASE_FENCED)
        session_send_milestone(agent);
    else if (agent->phase != PHASE_FENCING && jobs_start(agent, JOB_FENCE))
        session_phase(agent, PHASE_FENCING);
    return 0;
}

static int on_write(struct agent *agent, const struct frame *frame)
{
    (void)frame;
    if (!flash_is_complete(&agent->flash))
        return malformed(agent, "WRITE of an image that is not known");
    if (agent->phase == PHASE_WRITTEN)
        session_send_milestone(agent);
    else if (agent->job == JOB_NONE)
        jobs_start(agent, JOB_WRITE);
    return 0;
}

static int on_reboot(struct agent *agent, const struct frame *frame)
{
    (void)frame;
    if (agent->phase == PHASE_WRITTEN && agent->reboot_at == 0)
        agent->reboot_at = agent_now();
    return 0;
}

static int on_abort(struct agent *agent, const struct frame *frame)
{
    struct fail fail;
    (void)frame;
    fault_set(&fail, FAILCODE_ABORTED, "given up, as asked");
    jobs_fail(agent, &fail);
    return 0;
}

static int on_ping(struct agent *agent, const struct frame *frame)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    (void)frame;
    session_send(agent, out, protocol_encode_empty(FRAME_PONG, out, sizeof out));
    return 0;
}

static const struct {
    uint32_t allowed; /* phases */
    frame_handler handler;
    const char *name;
} handlers[] = {
    [FRAME_PROBE] = {IN_ANY, on_probe, "PROBE"},
    [FRAME_MANIFEST] = {IN_ANY, on_manifest, "MANIFEST"},
    [FRAME_MANIFEST_HASHES] = {IN_ANY, on_hashes, "MANIFEST_HASHES"},
    [FRAME_BEGIN] = {IN(PHASE_IDLE) | IN_BEGUN | IN(PHASE_FAILED), on_begin, "BEGIN"},
    [FRAME_BLOCK] = {IN_ANY, on_block, "BLOCK"},
    [FRAME_FENCE] = {IN(PHASE_STAGED) | IN(PHASE_READY) | IN_FENCE, on_fence, "FENCE"},
    [FRAME_WRITE] = {IN(PHASE_FENCED) | IN_DESTRUCTIVE | IN(PHASE_WRITTEN), on_write, "WRITE"},
    [FRAME_REBOOT] = {IN(PHASE_WRITTEN) | IN(PHASE_REBOOTING), on_reboot, "REBOOT"},
    [FRAME_ABORT] = {IN(PHASE_IDLE) | IN_BEGUN | IN_FENCE | IN(PHASE_FAILED), on_abort, "ABORT"},
    [FRAME_PING] = {IN_ANY, on_ping, "PING"},
};

/* --- HELLO ------------------------------------------------------------------------------------ */

/* Answers to somebody who may not take part, and nothing else. */
static int turn_away(struct agent *agent, struct peer *peer, const struct hello *hello)
{
    struct fail fail;
    char since[32];
    uint8_t out[PROTOCOL_SMALL_MAX];
    if (hello->version != PROTOCOL_VERSION) {
        fault_set(&fail, FAILCODE_VERSION, "the agent speaks protocol version %u, not %u",
                  PROTOCOL_VERSION, hello->version);
    } else if (strcmp(hello->run_id, agent->config.run_id) != 0) {
        fault_set(&fail, FAILCODE_BUSY, "being flashed by %s from %s since %s",
                  agent->config.run_id, agent->config.controller, text_time(since, agent->started));
        fault_remedy(&fail, "wait until that run has ended, or continue it with --resume");
    } else {
        fault_set(&fail, FAILCODE_TOKEN, "the run's token is not the one this agent was given");
    }
    if (peer->kind != PEER_TCP) /* whoever got through the lifeline knows the secret anyway */
        peer_send(peer, out, protocol_encode_fail(&fail, out, sizeof out));
    peer->ending = true;
    return 0;
}

static int on_hello(struct agent *agent, struct peer *peer, const struct frame *frame)
{
    struct hello hello;
    uint8_t out[PROTOCOL_SMALL_MAX];
    if (protocol_decode_hello(frame, &hello) != 0)
        return -1;
    if (hello.version != PROTOCOL_VERSION ||
        sodium_memcmp(hello.token, agent->token, sizeof agent->token) != 0)
        return turn_away(agent, peer, &hello);
    if (!peer->authenticated && peer_admit(peer) != 0)
        return -1;
    if (agent->active != NULL && agent->active != peer)
        agent->active->ending = true;
    agent->active = peer;
    agent->alone_since = 0;
    agent->last_heard = agent_now();
    agent->relay_pid = peer->kind == PEER_UNIX ? peer->pid : 0;
    intake_forget(&agent->intake);
    memset(&agent->progress, 0, sizeof agent->progress);
    struct hello_reply reply = {
        .version = PROTOCOL_VERSION,
        .phase = (uint8_t)agent->phase,
        .mode = (uint8_t)agent->mode,
        .port = agent->tcp_port,
        .has_manifest = flash_is_complete(&agent->flash),
    };
    if (reply.has_manifest)
        memcpy(reply.image_id, agent->flash.manifest.image_id, PROTOCOL_HASH_SIZE);
    text_copy(reply.run_id, sizeof reply.run_id, agent->config.run_id);
    session_send(agent, out, protocol_encode_hello_reply(&reply, out, sizeof out));
    session_send_milestone(agent);
    return 0;
}

int session_frame(struct agent *agent, struct peer *peer, const struct frame *frame)
{
    if (frame->type == FRAME_HELLO)
        return on_hello(agent, peer, frame);
    if (frame->type == FRAME_PING && frame->size == 0 && peer->kind == PEER_TCP &&
        peer->line->proven && peer != agent->active) {
        /* The controller tries its second way while the conversation goes on over the first. */
        uint8_t pong[PROTOCOL_HEADER_SIZE];
        peer_send(peer, pong, protocol_encode_empty(FRAME_PONG, pong, sizeof pong));
        return 0;
    }
    if (!peer->authenticated || peer != agent->active || frame->type > FRAME_PING)
        return -1;
    if (frame->type != FRAME_PING)
        agent->last_command = agent_now();
    if (handlers[frame->type].allowed & IN(agent->phase))
        return handlers[frame->type].handler(agent, frame);
    char what[96];
    snprintf(what, sizeof what, "%s while %s", handlers[frame->type].name,
             protocol_phase_name(agent->phase));
    return malformed(agent, what);
}
