/* SPDX-License-Identifier: Apache-2.0 */
/* The second way in, tried while the first still works. */
#include "target/target_internal.h"

#include "link/lifeline_wire.h"

/* Two beats of the first way, and a little: then it shows whether that one still lives. */
#define JUDGE_MS (2u * PROTOCOL_PING_EVERY + 2000u)

static void lifeline_close(struct target *target)
{
    agent_session_free(target->lifeline);
    target->lifeline = NULL;
}

static void lifeline_reply_callback(const struct agent_reply *reply, void *arg)
{
    struct target *target = arg;
    lifeline_close(target);
    if (reply->type != FRAME_PONG || target->step != STEP_LIFELINE)
        return;
    target->lifeline_proven = true;
    target_set_step(target, STEP_POLICY);
}

static void lifeline_lost_callback(const struct error *err, void *arg)
{
    target_lifeline_failed(arg, err);
}

/* Over a link that is dead both ways fail, and the first one does not show it yet. */
static bool lifeline_waits(struct target *target, const struct error *err)
{
    uint64_t tried = uv_now(target->env->loop) - target->lifeline_since;
    if (tried >= JUDGE_MS)
        return false;
    target->lifeline_error = *err;
    target_timer_start(target, JUDGE_MS - tried); /* leads to target_lifeline_failed */
    return true;
}

/* A staged target can finish alone; one that streams would be lost with its ssh session. */
void target_lifeline_failed(struct target *target, const struct error *err)
{
    struct error why = target->lifeline_error.cls != ERROR_NONE ? target->lifeline_error : *err;
    struct error refusal;
    lifeline_close(target);
    if (target->step != STEP_LIFELINE || lifeline_waits(target, &why))
        return;
    if (agent_session_is_faint(target->session)) {
        error_set(&refusal, ERROR_NETWORK, "the agent is not heard any more; its own port: %.300s",
                  why.text);
        target_fault(target, &refusal);
        return;
    }
    if (target->status.mode == MODE_STAGE) {
        target_log(target, LOG_WARNING,
                   "the second way to the agent does not work (%s); everything is staged, so the "
                   "agent can finish alone",
                   why.text);
        target->lifeline_refused = true;
        target_set_step(target, STEP_POLICY);
        return;
    }
    error_set(&refusal, ERROR_REFUSED, "the second way to the agent does not work: %.300s",
              why.text);
    error_remedy(&refusal, "open TCP port %u of the device, or use mode: stage",
                 target->deployed.port);
    target_back_out(target, OUTCOME_FAILED, &refusal);
}

static void ignore_phase_callback(enum agent_phase phase, void *arg)
{
    (void)phase;
    (void)arg;
}

static void ignore_progress_callback(const struct progress *progress, void *arg)
{
    (void)progress;
    (void)arg;
}

static void ignore_fail_callback(const struct fail *fail, void *arg)
{
    (void)fail;
    (void)arg;
}

static void log_callback(enum log_level level, const char *text, void *arg)
{
    target_log(arg, level, "agent: %s", text);
}

static void ignore_alive_callback(void *arg)
{
    (void)arg;
}

/* While the second way is tried: only the answer to PING matters. */
static const struct agent_session_events lifeline_events = {
    .reply = lifeline_reply_callback,
    .phase = ignore_phase_callback,
    .progress = ignore_progress_callback,
    .log = log_callback,
    .fail = ignore_fail_callback,
    .lost = lifeline_lost_callback,
    .alive = ignore_alive_callback,
};

/* Once the disk is overwritten no new ssh login works, so the second way is tried while the first
 * still works. A PING proves it: the agent answers to whoever knows the secret, and the
 * conversation stays where it is. (Dropbear 2022.83 closes a channel that is being opened at the
 * moment another one's command ends: nothing here closes one stream to open another.) */
void target_enter_lifeline(struct target *target)
{
    if (target->lifeline_proven || target->lifeline_refused || target->is_local) {
        target_set_step(target, STEP_POLICY);
        return;
    }
    target->lifeline_since = uv_now(target->env->loop);
    target->lifeline_error.cls = ERROR_NONE;
    struct link_config config;
    target_link_config(target, false, &config);
    target->lifeline = agent_session_new(&lifeline_events, target, &target->count);
    struct wire *wire =
        lifeline_wire_open(target->env->links, &config, target->deployed.port,
                           target->deploy_config.key, &agent_session_wire_events, target->lifeline);
    agent_session_attach(target->lifeline, wire);
    agent_session_request(target->lifeline, FRAME_PING);
}
