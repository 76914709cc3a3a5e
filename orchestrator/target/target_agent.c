/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with the agent, from the first word to the reboot. */
#include "target/target_internal.h"

#include "link/lifeline_wire.h"
#include "target/shift.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* --- what the agent says ------------------------------------------------------------- */

/* The stable states of the stream mode follow what the agent does to the disk; in stage mode all of
 * it is the commit. */
static void state_follow_phase(struct target *target, enum agent_phase phase)
{
    bool stream = target->status.mode == MODE_STREAM;
    switch (phase) {
    case PHASE_ERASING_HEAD:
    case PHASE_WRITING:
        target_set_state(target, stream ? STATE_TRANSFER : STATE_COMMIT);
        break;
    case PHASE_READING_BACK:
        target_set_state(target, stream ? STATE_VERIFY : STATE_COMMIT);
        break;
    case PHASE_WRITING_HEAD:
    case PHASE_WRITTEN:
        target_set_state(target, STATE_COMMIT);
        break;
    default:
        break;
    }
}

static void agent_alive_callback(void *arg)
{
    struct target *target = arg;
    if (target->step == STEP_BEGIN || target->step == STEP_STAGE || target->step == STEP_WRITE)
        target_timer_start(target, target->status.spec->transfer_timeout);
    target->status.bytes_sent = target->count.bytes_sent;
}

static void agent_phase_callback(enum agent_phase phase, void *arg)
{
    static const char *const activities[PHASE_COUNT] = {
        [PHASE_SCANNING] = "comparing disk and image",
        [PHASE_STAGING] = "staging",
        [PHASE_FENCING] = "fencing the old file systems",
        [PHASE_ERASING_HEAD] = "erasing the head",
        [PHASE_WRITING] = "writing",
        [PHASE_READING_BACK] = "reading back",
        [PHASE_WRITING_HEAD] = "writing the head",
    };
    struct target *target = arg;
    target->phase = phase;
    if (phase == PHASE_REBOOTING && target->step == STEP_REBOOT) {
        target_set_step(target, STEP_AWAY); /* the stream may take minutes to notice */
        return;
    }
    state_follow_phase(target, phase);
    agent_alive_callback(target);
    if (activities[phase] != NULL && !target->undoing)
        target_set_activity(target, "%s", activities[phase]);
}

static void agent_progress_callback(const struct progress *progress, void *arg)
{
    struct target *target = arg;
    struct target_status *status = &target->status;
    uint64_t now = uv_now(target->env->loop);
    if (progress->done != status->blocks_done || progress->bytes_written > status->bytes_written) {
        agent_alive_callback(target); /* a stuck disk repeats itself */
        target->got_on = true;
    }
    if (progress->done < target->progress_done || progress->total != status->blocks_total) {
        target->progress_done = progress->done; /* another pass */
        target->progress_time = now;
        status->rate = 0;
    }
    status->blocks_done = progress->done;
    status->blocks_total = progress->total;
    if (progress->bytes_written > status->bytes_written)
        status->bytes_written = progress->bytes_written;
    uint64_t elapsed = now - target->progress_time;
    if (elapsed >= 500 && target->env->store != NULL) {
        double blocks = (double)(progress->done - target->progress_done);
        double rate = blocks * store_info(target->env->store)->block_size * 1000 / (double)elapsed;
        status->rate = status->rate == 0 ? rate : status->rate * 0.7 + rate * 0.3;
        target->progress_done = progress->done;
        target->progress_time = now;
    }
    status->remaining_ms = UINT64_MAX;
    if (status->rate > 0)
        status->remaining_ms =
            (uint64_t)((double)(progress->total - progress->done) *
                       store_info(target->env->store)->block_size * 1000 / status->rate);
    target->env->changed(target, target->env->arg);
}

static void agent_log_callback(enum log_level level, const char *text, void *arg)
{
    target_log(arg, level, "agent: %s", text);
}

static void agent_fail_callback(const struct fail *fail, void *arg)
{
    static const struct {
        uint16_t code;
        enum error_class cls;
    } classes[] = {
        {FAILCODE_PROTOCOL, ERROR_PROTOCOL},
        {FAILCODE_VERSION, ERROR_PROTOCOL},
        {FAILCODE_TOKEN, ERROR_BUSY},
        {FAILCODE_BUSY, ERROR_BUSY},
        {FAILCODE_DISK, ERROR_REFUSED},
        {FAILCODE_MEMORY, ERROR_REFUSED},
        {FAILCODE_REFUSED, ERROR_REFUSED},
        {FAILCODE_FENCE, ERROR_REFUSED},
        {FAILCODE_IO, ERROR_IO},
        {FAILCODE_BLOCK, ERROR_IO},
        {FAILCODE_ABORTED, ERROR_CANCELLED},
    };
    struct target *target = arg;
    if (target->undoing) { /* the answer to ABORT */
        target_undo_answered(target, fail);
        return;
    }
    struct error err;
    enum error_class cls = ERROR_PROTOCOL;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (classes[i].code == fail->code)
            cls = classes[i].cls;
    }
    error_set(&err, cls, "%.390s", fail->text);
    error_remedy(&err, "%.230s", fail->remedy);
    if (fail->state == FAIL_INCOMPLETE && target->resumed && !target->rewritten) {
        target_log(target, LOG_WARNING, "%s; the write is begun anew", err.text);
        target->rewritten = true;
        agent_session_request(target->session, FRAME_WRITE);
        return;
    }
    if (fail->state == FAIL_INCOMPLETE) {
        target->status.damage = DAMAGE_INCOMPLETE;
        target_finish(target, OUTCOME_FAILED, &err);
    } else if (fail->state == FAIL_REBOOTING) {
        target_undo_rebooting(target, &err);
    } else {
        target->write_sent = false;
        target->phase = PHASE_FAILED;
        if (target->is_local)
            target_local_return(target);
        target_back_out(target, OUTCOME_FAILED, &err);
    }
}

static void agent_lost_callback(const struct error *err, void *arg)
{
    struct target *target = arg;
    struct error copy = *err;
    agent_session_free(target->session);
    target->session = NULL;
    if (target->link != NULL && !link_is_up(target->link) && !target->via_lifeline)
        return; /* the link says so itself in a moment, and knows why */
    if (target->step == STEP_DONE)
        return;
    if (target->step == STEP_UNDO) {
        if (target->undo_part == UNDO_AGENT)
            target_undo_fault(target);
        return;
    }
    if (target->step == STEP_REBOOT) { /* as it should be */
        target_set_step(target, STEP_AWAY);
        return;
    }
    if (target->step == STEP_ATTACH && !target->via_lifeline && target->link != NULL &&
        copy.cls == ERROR_NETWORK && (target->tries > 0 || target->resumed)) {
        /* The agent of an earlier try is gone: start another. */
        target->has_agent = false;
        target->write_sent = target->write_sent && !target->is_local; /* nothing of it is left */
        target_set_step(target, STEP_DEPLOY);
        return;
    }
    target_fault(target, &copy);
}

static void reply_hello(struct target *target, const struct hello_reply *hello);
static void reply_facts(struct target *target, const char *json, size_t size);
static void reply_mode(struct target *target, const struct mode_reply *mode);
static void reply_written(struct target *target, const struct tally *tally);

static void agent_reply_callback(const struct agent_reply *reply, void *arg)
{
    struct target *target = arg;
    if (target->undoing)
        return;
    if (reply->type == FRAME_HELLO_REPLY && target->step == STEP_ATTACH)
        reply_hello(target, &reply->hello);
    else if (reply->type == FRAME_FACTS && target->step == STEP_FACTS)
        reply_facts(target, reply->facts.json, reply->facts.size);
    else if (reply->type == FRAME_MODE &&
             (target->step == STEP_BEGIN || target->step == STEP_STAGE))
        reply_mode(target, &reply->mode);
    else if (reply->type == FRAME_STAGED && target->step == STEP_STAGE) {
        target->phase = PHASE_STAGED;
        target_set_state(target, STATE_VERIFY);
        target_set_step(target, STEP_LIFELINE);
    } else if (reply->type == FRAME_FENCED && target->step == STEP_FENCE) {
        target->phase = PHASE_FENCED;
        target_set_step(target, STEP_WRITE);
    } else if (reply->type == FRAME_WRITTEN && target->step == STEP_WRITE) {
        reply_written(target, &reply->tally);
    } else {
        target_log(target, LOG_DEBUG, "a reply of type %d that nobody waits for", reply->type);
    }
}

static const struct agent_session_events session_events = {
    .reply = agent_reply_callback,
    .phase = agent_phase_callback,
    .progress = agent_progress_callback,
    .log = agent_log_callback,
    .fail = agent_fail_callback,
    .lost = agent_lost_callback,
    .alive = agent_alive_callback,
};

/* --- attach -------------------------------------------------------------------------- */

static void session_say_hello(struct target *target)
{
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    static const char context[] = "fleetflash token v1";
    crypto_generichash(token, sizeof token, (const unsigned char *)context, sizeof context - 1,
                       target->deploy_config.key, sizeof target->deploy_config.key);
    agent_session_hello(target->session, token, target->env->run_id);
    sodium_memzero(token, sizeof token);
}

void target_session_open(struct target *target, bool lifeline)
{
    agent_session_free(target->session);
    target->session = agent_session_new(&session_events, target, &target->count);
    struct wire *wire = NULL;
    if (lifeline) {
        struct link_config config;
        target_link_config(target, false, &config);
        wire = lifeline_wire_open(target->env->links, &config, target->deployed.port,
                                  target->deploy_config.key, &agent_session_wire_events,
                                  target->session);
    } else {
        char command[256];
        snprintf(command, sizeof command, "exec %s/agent attach", target->deployed.directory);
        wire = link_exec(target->link, command, &agent_session_wire_events, target->session);
    }
    agent_session_attach(target->session, wire);
    if (target->env->store != NULL)
        agent_session_set_store(target->session, target->env->store);
    agent_session_set_rate(target->session, target->env->loop, target->env->rate);
    session_say_hello(target);
}

void target_enter_attach(struct target *target)
{
    target_session_open(target, target->via_lifeline);
}

/* Where a conversation goes on, by where the agent stands. */
static enum target_step step_for_phase(const struct target *target, enum agent_phase phase)
{
    switch (phase) {
    case PHASE_SCANNING:
        return STEP_BEGIN;
    case PHASE_STAGING:
        return STEP_STAGE;
    case PHASE_STAGED:
    case PHASE_READY:
        return target->policy_done ? STEP_FENCE : STEP_LIFELINE;
    case PHASE_FENCING:
        return STEP_FENCE;
    case PHASE_FENCED:
    case PHASE_ERASING_HEAD:
    case PHASE_WRITING:
    case PHASE_READING_BACK:
    case PHASE_WRITING_HEAD:
        return STEP_WRITE;
    case PHASE_WRITTEN:
        return STEP_REBOOT;
    case PHASE_REBOOTING:
        return STEP_AWAY;
    default:
        if (target->write_sent)
            return STEP_WRITE; /* a write that failed: FAIL follows */
        return target->agent_probed ? STEP_PROBED : STEP_FACTS;
    }
}

static void reply_hello(struct target *target, const struct hello_reply *hello)
{
    target->phase = (enum agent_phase)hello->phase;
    target->write_told = false;
    target->heard = true;
    agent_session_set_heartbeat(target->session, target->env->loop, PROTOCOL_PING_EVERY);
    if (hello->port != 0)
        target->deployed.port = hello->port;
    target->heir = !hello->has_manifest && target->phase >= PHASE_ERASING_HEAD &&
                   target->phase <= PHASE_WRITING_HEAD;
    if (hello->mode != MODE_AUTO)
        target->status.mode = (enum flash_mode)hello->mode;
    target_set_step(target, step_for_phase(target, target->phase));
}

/* --- facts, mode --------------------------------------------------------------------- */

void target_enter_facts(struct target *target)
{
    agent_session_probe(target->session, target->status.spec->device);
}

static void reply_facts(struct target *target, const char *json, size_t size)
{
    struct error err;
    if (target_facts_read(&target->status.facts, json, size, &err) != 0) {
        target_back_out(target, OUTCOME_FAILED, &err);
        return;
    }
    target->agent_probed = true;
    for (unsigned i = 0; i < target->status.facts.warning_count; i++)
        target_log(target, LOG_WARNING, "%s", target->status.facts.warnings[i]);
    target_set_step(target, STEP_PROBED);
}

void target_enter_begin(struct target *target)
{
    agent_session_set_store(target->session, target->env->store);
    if (target->phase == PHASE_SCANNING)
        return; /* a conversation resumed in the middle of it */
    struct error err;
    struct shift shift;
    const struct store_info *info = store_info(target->env->store);
    if ((!target->is_local && target_can_look(target->status.spec, &err) != 0) ||
        target_image_fits(&target->status, info, &err) != 0 ||
        shift_find(&target->status, info, &shift, &err) != 0 ||
        (target_wanted_mode(target->env, target->status.spec) == MODE_STREAM &&
         target_may_stream(&target->status, info, target->env->rate, &err) != 0)) {
        target_back_out(target, OUTCOME_FAILED, &err);
        return;
    }
    agent_session_manifest(target->session, &shift);
    agent_session_begin(target->session, target_wanted_mode(target->env, target->status.spec),
                        (target->env->force ? BEGIN_FLAG_FORCE : 0) |
                            (target->is_local ? BEGIN_FLAG_UNATTENDED : 0));
}

static void reply_mode(struct target *target, const struct mode_reply *mode)
{
    const struct store_info *info = store_info(target->env->store);
    target->status.mode = (enum flash_mode)mode->mode;
    snprintf(target->status.mode_reason, sizeof target->status.mode_reason, "%.190s", mode->reason);
    uint32_t blocks = info->block_count - shift_first_block(target->status.spec, info);
    if (mode->differing_blocks <= blocks)
        target->status.bytes_skipped =
            (uint64_t)(blocks - mode->differing_blocks) * info->block_size;
    target_log(target, LOG_INFO, "%s mode: %s", flash_mode_name(target->status.mode), mode->reason);
    struct error err;
    target->verified = mode->mode == MODE_UNCHANGED;
    if (mode->mode == MODE_UNCHANGED)
        target_back_out(target, OUTCOME_UNCHANGED, NULL);
    else if (mode->mode == MODE_STREAM &&
             target_may_stream(&target->status, info, target->env->rate, &err) != 0)
        target_back_out(target, OUTCOME_FAILED, &err);
    else
        target_set_step(target, mode->mode == MODE_STAGE ? STEP_STAGE : STEP_LIFELINE);
}

void target_enter_stage(struct target *target)
{
    agent_session_set_store(target->session, target->env->store);
}

/* --- the fence, the write ----------------------------------------- */

void target_enter_fence(struct target *target)
{
    if (target->phase == PHASE_FENCING)
        return;
    if (target->is_local)
        target_local_commit(target);
    target->fence_asked = true;
    agent_session_request(target->session, FRAME_FENCE);
}

/* The agent that takes a dead one's place knows the disk and not the image. */
static void write_with_heir(struct target *target)
{
    struct shift shift;
    struct error err;
    target_log(target, LOG_WARNING,
               "its agent has died while it wrote, another has taken its place: the disk is "
               "compared, and what is missing written");
    target->heir = false;
    target->write_sent = target->write_told = true;
    if (shift_find(&target->status, store_info(target->env->store), &shift, &err) != 0) {
        target->status.damage = DAMAGE_INCOMPLETE;
        target_finish(target, OUTCOME_FAILED, &err);
        return;
    }
    agent_session_manifest(target->session, &shift);
    agent_session_request(target->session, FRAME_WRITE);
}

void target_enter_write(struct target *target)
{
    agent_session_set_store(target->session, target->env->store);
    if (!target->write_sent)
        target->tries = 0;
    if (target->heir) {
        write_with_heir(target);
        return;
    }
    if (target->phase != PHASE_FENCED || target->is_local)
        return; /* resumed: it is at it; or it goes on by itself */
    if (target->interrupted) {
        struct error err;
        error_set(&err, ERROR_CANCELLED, "interrupted before the first byte was written");
        target_back_out(target, OUTCOME_FAILED, &err);
        return;
    }
    target->write_sent = target->write_told = true;
    agent_session_request(target->session, FRAME_WRITE);
}

static void reply_written(struct target *target, const struct tally *tally)
{
    const struct store_info *info = store_info(target->env->store);
    target->phase = PHASE_WRITTEN;
    target->verified = true;
    target->status.bytes_written = tally->bytes_written;
    target->status.bytes_sent = target->count.bytes_sent;
    uint64_t same = (uint64_t)tally->blocks_same * info->block_size;
    target->status.bytes_skipped = same > info->image_size ? info->image_size : same;
    if (tally->blocks_repaired > 0)
        target_log(target, LOG_WARNING,
                   "%u blocks read back wrong and were written again: the disk may be failing",
                   tally->blocks_repaired);
    target_set_step(target, STEP_REBOOT);
}

void target_enter_reboot(struct target *target)
{
    uint64_t now = uv_now(target->env->loop);
    target->reboot_deadline = now + target->status.spec->reboot_timeout;
    if (!target->is_local)
        agent_session_request(target->session, FRAME_REBOOT);
    target_timer_start(target, 5000); /* then the stream is expected to be dead anyway */
}
