/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a target: what the run asks of it, and its end. Its steps are in target_steps.c. */
#include "target/target_internal.h"

#include "base/clock.h"

#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void target_log(struct target *target, enum log_level level, const char *format, ...)
{
    char text[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    target->env->log(target, level, text, target->env->arg);
}

void target_set_activity(struct target *target, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(target->status.activity, sizeof target->status.activity, format, args);
    va_end(args);
    target->env->changed(target, target->env->arg);
}

void target_disconnect(struct target *target)
{
    agent_session_free(target->session);
    target->session = NULL;
    agent_session_free(target->lifeline);
    target->lifeline = NULL;
    deploy_cancel(target->deploy);
    target->deploy = NULL;
    reach_cancel(target->reach);
    target->reach = NULL;
    link_run_cancel(target->undo_run);
    target->undo_run = NULL;
    link_close(target->link);
    target->link = NULL;
    if (target->ping != NULL) {
        target->ping->data = NULL; /* ping_exit_callback frees */
        uv_process_kill(target->ping, SIGKILL);
        target->ping = NULL;
    }
    target_netboot_end(target);
}

/* --- beginning and end --------------------------------------------------------------- */

static void target_begin(struct target *target)
{
    target->status.started = true;
    if (target->status.started_ms == 0)
        target->status.started_ms = clock_unix_ms();
    target->state_since = uv_now(target->env->loop);
    target->status.attempts = 1;
    if (target->resume_away) {
        target->reboot_deadline = target->state_since + target->status.spec->reboot_timeout;
        target_set_step(target, STEP_AWAY);
        return;
    }
    bool netboot = target_is_netboot(target) || (target_has_recovery(target) && !target->resumed);
    target_set_step(target, netboot ? STEP_NETBOOT_PROBE : STEP_CONNECT);
}

/* Let go of after the probe: as if it had not begun, and its turn may have come meanwhile. */
static void target_released(struct target *target)
{
    target->releasing = target->undoing = target->undo_connected = false;
    target->has_agent = target->fence_asked = false;
    target->undo_part = UNDO_AGENT;
    target->phase = PHASE_IDLE;
    target->status.started = false;
    target_set_step(target, STEP_IDLE);
    if (target->go)
        target_begin(target);
}

/* What a live flash could not do, its boot loader can: `recovery: netboot`. */
static void target_recover(struct target *target, const struct error *err)
{
    target->recovering = true;
    target->status.damage = DAMAGE_NONE;
    target->failure = *err;
    target_log(target, LOG_WARNING, "%s; it is reset and flashed by its boot loader", err->text);
    uv_timer_stop(&target->timer);
    target_disconnect(target);
    target_set_step(target, STEP_NETBOOT_PROBE);
}

void target_finish(struct target *target, enum target_outcome outcome, const struct error *err)
{
    if (target->step == STEP_DONE)
        return;
    if (outcome == OUTCOME_FAILED && target_can_recover(target)) {
        struct error copy = err != NULL ? *err : target->status.error;
        target_recover(target, &copy);
        return;
    }
    if (err != NULL)
        target->status.error = *err;
    uv_timer_stop(&target->timer);
    while (target_policy_next(target))
        ;
    target_disconnect(target);
    if (target->releasing) {
        target_released(target);
        return;
    }
    target_state_account(target);
    target->step = STEP_DONE;
    target->status.outcome = outcome;
    target->soaking = target->soak_expected && outcome == OUTCOME_FLASHED;
    target->status.activity[0] = '\0';
    target->status.ended_ms = clock_unix_ms();
    journal_forget(target->gate);
    target->gate = NULL;
    target_record(target, NULL);
    target->env->changed(target, target->env->arg);
    target->env->done(target, target->env->arg);
}

/* --- what the run asks for ----------------------------------------------------------- */

void target_probe(struct target *target)
{
    if (target->step == STEP_IDLE && !target->resumed) /* those wait for the image */
        target_begin(target);
}

static enum target_step step_after_probe(const struct target *target)
{
    return target_is_netboot(target) ? STEP_NETBOOT : STEP_KEEP;
}

void target_enter_probed(struct target *target)
{
    target->tries = 0;
    target->absent = false;
    if (target->go)
        target_set_step(target, step_after_probe(target));
    else
        target->env->probed(target, target->env->arg);
}

void target_go(struct target *target)
{
    target->go = true;
    if (target->step == STEP_IDLE)
        target_begin(target);
    else if (target->step == STEP_PROBED)
        target_set_step(target, step_after_probe(target));
}

bool target_is_going(const struct target *target)
{
    return target->go && target->step != STEP_DONE;
}

bool target_is_absent(const struct target *target)
{
    return target->absent && target->step != STEP_DONE;
}

void target_release(struct target *target)
{
    if (target->step != STEP_PROBED)
        return;
    target->releasing = true;
    target_back_out(target, OUTCOME_NONE, NULL);
}

/* Of a target that has not begun, or waits after its probe. */
static void target_settle(struct target *target, enum target_outcome outcome,
                          const struct error *err)
{
    if (target->step == STEP_DONE || (target->undoing && !target->releasing))
        return;
    if (target->releasing) { /* it is backing out already: that becomes its end */
        target->releasing = false;
        target->final_outcome = outcome;
        target->status.error = *err;
        return;
    }
    if (target->has_agent || target->link != NULL)
        target_back_out(target, outcome, err);
    else
        target_finish(target, outcome, err);
}

void target_decline(struct target *target, const char *reason)
{
    struct error err;
    error_set(&err, ERROR_CANCELLED, "%s", reason);
    target_settle(target, OUTCOME_NOT_STARTED, &err);
}

void target_refuse(struct target *target, const struct error *err)
{
    target_settle(target, OUTCOME_FAILED, err);
}

void target_interrupt(struct target *target)
{
    target->interrupted = true;
    if (target->step == STEP_IDLE || target->step == STEP_PROBED || target->releasing) {
        target_decline(target, "interrupted before its turn came");
    } else if (!target->write_sent && !target->undoing && target->step < STEP_FENCE) {
        struct error err;
        error_set(&err, ERROR_CANCELLED, "interrupted; the old system was left as it was");
        target_back_out(target, OUTCOME_FAILED, &err);
    }
}

void target_abandon(struct target *target)
{
    if (target->step == STEP_DONE)
        return;
    struct error err;
    target->releasing = false;
    target->interrupted = true;
    if (target->undoing && target->final_outcome != OUTCOME_NONE) {
        target_finish(target, target->final_outcome, NULL);
        return;
    }
    if (target->is_local && target->write_sent) {
        target->status.damage = DAMAGE_LOST;
        error_set(&err, ERROR_CANCELLED,
                  "left alone after the commit: its agent goes on, and reboots this machine");
    } else if (target->step == STEP_NETBOOT) {
        target->status.damage = DAMAGE_INCOMPLETE;
        error_set(&err, ERROR_CANCELLED, "interrupted while its boot loader was writing");
        error_remedy(&err, "fleetflash --resume resets it and begins anew");
    } else if (target->write_sent && target->step <= STEP_WRITE) {
        target->status.damage = DAMAGE_INCOMPLETE;
        error_set(&err, ERROR_CANCELLED,
                  "interrupted while its disk was being written; the agent "
                  "waits");
        error_remedy(&err, "keep the device powered and run fleetflash --resume");
    } else if (target->write_sent) {
        target->status.damage = DAMAGE_LOST;
        error_set(&err, ERROR_CANCELLED,
                  "interrupted after the image was written, before the new "
                  "system was seen");
        error_remedy(&err, "fleetflash --resume waits for it and checks it");
    } else if (target->fence_asked || target->phase >= PHASE_FENCING) {
        target->status.damage = DAMAGE_REBOOTED;
        error_set(&err, ERROR_CANCELLED,
                  "interrupted behind the fence; its agent takes that down or reboots the old "
                  "system, untouched");
    } else {
        error_set(&err, ERROR_CANCELLED, "interrupted");
    }
    target_finish(target, OUTCOME_FAILED, &err);
}

/* --- life ---------------------------------------------------------------------------- */

const struct target_status *target_status(const struct target *target)
{
    return &target->status;
}

struct target *target_new(const struct target_env *env, const struct target_spec *spec,
                          unsigned index, unsigned wave)
{
    struct target *target = calloc(1, sizeof *target);
    if (target == NULL)
        return NULL;
    target->env = env;
    target->status.spec = spec;
    target->status.index = index;
    target->status.wave = wave;
    target->deploy_config = (struct deploy_config){.run_id = env->run_id,
                                                   .controller = env->controller,
                                                   .become = spec->become,
                                                   .files = env->files};
    target->is_local = target_is_local(env, spec);
    target->deploy_config.is_local = target->is_local;
    randombytes_buf(target->deploy_config.key, sizeof target->deploy_config.key);
    uv_timer_init(env->loop, &target->timer);
    target->timer.data = target;
    target_set_step(target, STEP_IDLE);
    target_keep_look_up(target);
    return target;
}

static void timer_closed_callback(uv_handle_t *handle)
{
    struct target *target = handle->data;
    sodium_memzero(target->deploy_config.key, sizeof target->deploy_config.key);
    free(target);
}

void target_free(struct target *target)
{
    if (target == NULL)
        return;
    while (target_policy_next(target))
        ;
    journal_forget(target->gate);
    target_disconnect(target);
    uv_close((uv_handle_t *)&target->timer, timer_closed_callback);
}
