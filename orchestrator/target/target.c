/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a target, and the table of its steps. What the steps do is in target_agent.c,
 * target_policy.c and target_reach.c. */
#include "target/target_internal.h"

#include "base/clock.h"

#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum step_timeout {
    NO_TIMEOUT,
    CONNECT_TIMEOUT,  /* the inventory's connect_timeout (the link keeps it too) */
    TRANSFER_TIMEOUT, /* the inventory's transfer_timeout, begun anew by every sign of progress */
    DEPLOY_TIMEOUT,
    FENCE_TIMEOUT, /* ending processes, swapoff, sync of a slow disk */
    OWN_TIMEOUT,   /* the step starts the timer itself */
};

/* What a fault in a step leads to. */
enum step_fault {
    FAULT_RETRY,   /* transient errors: another try; others: back out */
    FAULT_BACKOUT, /* back out whatever the error */
    FAULT_POLICY,  /* once more over a new connection, else back out */
    FAULT_FENCE,   /* ssh may be gone for good: the agent's own port, else back out */
    FAULT_WRITE,   /* the destructive part: get back to the agent, by its own port */
    FAULT_LOST,    /* after the commit: the device counts as lost */
};

struct step_rule {
    const char *activity;
    int state; /* enum target_state, -1: stays as it is */
    enum step_timeout timeout;
    enum step_fault fault;
    void (*enter)(struct target *target);
    const char *timeout_sentence;
};

static void target_begin(struct target *target);
static void enter_backoff(struct target *target);
static void enter_probed(struct target *target);

static const struct step_rule rules[STEP_COUNT] = {
    [STEP_IDLE] = {"waiting", -1, NO_TIMEOUT, FAULT_RETRY, NULL, NULL},
    [STEP_BACKOFF] = {NULL, -1, OWN_TIMEOUT, FAULT_RETRY, enter_backoff, NULL},
    [STEP_CONNECT] = {"connecting", -1, NO_TIMEOUT, FAULT_RETRY, target_enter_connect, NULL},
    [STEP_DEPLOY] = {"deploying the agent", -1, DEPLOY_TIMEOUT, FAULT_RETRY, target_enter_deploy,
                     "the agent could not be deployed in time"},
    [STEP_ATTACH] = {"attaching to the agent", -1, CONNECT_TIMEOUT, FAULT_RETRY,
                     target_enter_attach, "the agent does not answer"},
    [STEP_FACTS] = {"probing", STATE_PROBE, TRANSFER_TIMEOUT, FAULT_RETRY, target_enter_facts,
                    "the agent's probe of the device does not end"},
    [STEP_NETBOOT_PROBE] = {"looking at its reset", STATE_PROBE, NO_TIMEOUT, FAULT_BACKOUT,
                            target_enter_netboot_probe, NULL},
    [STEP_PROBED] = {"ready", STATE_PROBE, NO_TIMEOUT, FAULT_RETRY, enter_probed, NULL},
    [STEP_KEEP] = {"looking whether it may stay", STATE_PROBE, NO_TIMEOUT, FAULT_RETRY,
                   target_enter_keep, NULL},
    [STEP_BEGIN] = {"comparing disk and image", STATE_TRANSFER, TRANSFER_TIMEOUT, FAULT_RETRY,
                    target_enter_begin, "the agent does not get on with comparing the disk"},
    [STEP_STAGE] = {"staging", STATE_TRANSFER, TRANSFER_TIMEOUT, FAULT_RETRY, target_enter_stage,
                    "no block arrived on the device any more"},
    [STEP_POLICY] = {"stopping services", -1, NO_TIMEOUT, FAULT_POLICY, target_enter_policy, NULL},
    [STEP_LIFELINE] = {"trying the second way in", -1, CONNECT_TIMEOUT, FAULT_RETRY,
                       target_enter_lifeline, "the agent's own port does not answer"},
    [STEP_FENCE] = {"fencing the old file systems", -1, FENCE_TIMEOUT, FAULT_FENCE,
                    target_enter_fence, "the fence did not go up in time"},
    [STEP_WRITE] = {"writing", -1, TRANSFER_TIMEOUT, FAULT_WRITE, target_enter_write,
                    "the agent writes no more"},
    [STEP_NETBOOT] = {"resetting", STATE_TRANSFER, OWN_TIMEOUT, FAULT_LOST, target_enter_netboot,
                      NULL},
    [STEP_REBOOT] = {"rebooting", STATE_REBOOT, OWN_TIMEOUT, FAULT_LOST, target_enter_reboot, NULL},
    [STEP_AWAY] = {"booting", STATE_REACHABILITY, OWN_TIMEOUT, FAULT_LOST, target_enter_away, NULL},
    [STEP_RETURN] = {"waiting for the new system", STATE_REACHABILITY, NO_TIMEOUT, FAULT_LOST,
                     target_enter_return, NULL},
    [STEP_PROVE] = {"checking the new system", STATE_REACHABILITY, NO_TIMEOUT, FAULT_LOST,
                    target_enter_prove, NULL},
    [STEP_WELCOME] = {"putting it back to work", STATE_REACHABILITY, NO_TIMEOUT, FAULT_LOST,
                      target_enter_welcome, NULL},
    [STEP_UNDO] = {"backing out", -1, OWN_TIMEOUT, FAULT_BACKOUT, target_enter_undo, NULL},
    [STEP_DONE] = {"", -1, NO_TIMEOUT, FAULT_BACKOUT, NULL, NULL},
};

/* Those that begin only when the journal has them on the disk: there is no way back from them as if
 * nothing had happened. */
static bool step_is_gated(enum target_step step)
{
    return step == STEP_DEPLOY || step == STEP_FENCE || step == STEP_WRITE ||
           step == STEP_NETBOOT || step == STEP_REBOOT;
}

#define DEPLOY_TIMEOUT_MS (180u * 1000u)
#define FENCE_TIMEOUT_MS  (180u * 1000u)
#define GATE_TIMEOUT_MS   (30u * 1000u)

/* --- small things -------------------------------------------------------------------- */

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

/* The time in the present stable state goes to its account. */
static void state_account(struct target *target)
{
    uint64_t now = uv_now(target->env->loop);
    bool waits = target->step == STEP_IDLE || target->step == STEP_PROBED; /* for its turn */
    if (target->state_since != 0 && !waits)
        status_spend(&target->status, now - target->state_since, clock_unix_ms());
    target->state_since = now;
}

void target_set_state(struct target *target, enum target_state state)
{
    state_account(target);
    target->status.state = state;
    target->env->changed(target, target->env->arg);
}

/* --- timers -------------------------------------------------------------------------- */

static void step_timeout_callback(uv_timer_t *timer)
{
    struct target *target = timer->data;
    const struct step_rule *rule = &rules[target->step];
    if (rule->timeout == OWN_TIMEOUT) { /* the step waits, then goes on */
        static const enum target_step next[STEP_COUNT] = {
            [STEP_BACKOFF] = STEP_CONNECT,
            [STEP_REBOOT] = STEP_AWAY,
            [STEP_AWAY] = STEP_RETURN,
        };
        if (target->step == STEP_UNDO)
            target_undo_fault(target);
        else if (target->step == STEP_NETBOOT)
            target_netboot_timeout(target);
        else
            target_set_step(target, next[target->step]);
        return;
    }
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "%s", rule->timeout_sentence);
    if (rule->timeout == CONNECT_TIMEOUT)
        error_remedy(&err, "the device may be too busy: raise its connect_timeout");
    else if (rule->timeout == TRANSFER_TIMEOUT)
        error_remedy(&err, "look at its disk and network, or raise its transfer_timeout");
    if (target->step == STEP_LIFELINE)
        target_lifeline_failed(target, &err);
    else
        target_fault(target, &err);
}

void target_timer_start(struct target *target, uint64_t milliseconds)
{
    uv_timer_start(&target->timer, step_timeout_callback, milliseconds, 0);
}

static void step_timer_start(struct target *target, enum step_timeout timeout)
{
    const struct target_spec *spec = target->status.spec;
    uint64_t milliseconds[] = {
        [CONNECT_TIMEOUT] = spec->connect_timeout,
        [TRANSFER_TIMEOUT] = spec->transfer_timeout,
        [DEPLOY_TIMEOUT] = DEPLOY_TIMEOUT_MS,
        [FENCE_TIMEOUT] = FENCE_TIMEOUT_MS,
    };
    uv_timer_stop(&target->timer);
    if (timeout != NO_TIMEOUT && timeout != OWN_TIMEOUT)
        target_timer_start(target, milliseconds[timeout]);
}

/* What the step is about to do is on the disk. */
static void gate_callback(const struct error *err, void *arg)
{
    struct target *target = arg;
    target->gate = NULL;
    if (err != NULL && !target->write_sent) {
        target_back_out(target, OUTCOME_FAILED, err);
        return;
    }
    if (err != NULL)
        target_log(target, LOG_ERROR, "%s", err->text);
    rules[target->step].enter(target);
}

/* Records the step and begins it; gated ones once the record is safe. */
static void step_begin(struct target *target, const struct step_rule *rule)
{
    if (target->step == STEP_DEPLOY)
        target->deploys++; /* from now on the journal has the secret */
    bool gated = step_is_gated(target->step);
    if (gated) {
        target->gate = target_record(target, gate_callback);
        if (target->gate != NULL && rule->timeout == OWN_TIMEOUT)
            target_timer_start(target, GATE_TIMEOUT_MS); /* the journal's disk may hang */
    }
    if (!gated && target->step != STEP_IDLE)
        target_record(target, NULL);
    if (rule->enter != NULL && target->gate == NULL)
        rule->enter(target);
}

void target_set_step(struct target *target, enum target_step step)
{
    const struct step_rule *rule = &rules[step];
    journal_forget(target->gate);
    target->gate = NULL;
    state_account(target);
    target->step = step;
    if (rule->state >= 0)
        target->status.state = (enum target_state)rule->state;
    step_timer_start(target, rule->timeout);
    if (rule->activity != NULL)
        target_set_activity(target, "%s", rule->activity);
    step_begin(target, rule);
}

/* --- faults -------------------------------------------------------------------------- */

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

/* In the destructive part there are more: giving up leaves half a system. */
#define WRITE_TRIES 3u

static unsigned tries_allowed(const struct target *target)
{
    return target->status.spec->retries + 1 + (target->write_sent ? WRITE_TRIES : 0);
}

/* Waits 1, 2, 4 … s, at most 30 s, and not in step with the others. */
static void enter_backoff(struct target *target)
{
    uint64_t seconds = target->tries >= 6 ? 30 : 1u << (target->tries - 1);
    uint64_t delay = seconds * 1000 + randombytes_uniform(500);
    if (delay > 30000)
        delay = 30000;
    target_set_activity(target, "try %u of %u in %us", target->tries + 1, tries_allowed(target),
                        (unsigned)seconds);
    target_timer_start(target, delay);
}

void target_retry(struct target *target, const struct error *err)
{
    target->tries++;
    if (!error_is_transient(err) || target->tries > target->status.spec->retries ||
        target->interrupted) {
        target_back_out(target, OUTCOME_FAILED, err);
        return;
    }
    target->status.attempts++;
    target_log(target, LOG_WARNING, "%s; try %u of %u follows", err->text, target->tries + 1,
               tries_allowed(target));
    if (target->resumed && !target->write_sent)
        target->via_lifeline = false; /* the fence may have come down again, or never gone up */
    target_disconnect(target);
    target->absent = !target->status.reached && !target->resumed;
    bool leaves = target->absent && target->go; /* its place */
    if (leaves)
        target->go = false;
    target_set_step(target, STEP_BACKOFF);
    if (leaves)
        target->env->absent(target, target->env->arg);
}

/* The agent goes on by itself: reachability will tell. It may have most of the disk to write yet.
 */
static void write_finishes_alone(struct target *target, const struct error *err)
{
    uint64_t remaining = target->status.remaining_ms;
    target_log(target, LOG_WARNING, "%s; the agent has all it needs and finishes alone", err->text);
    target->alone = true;
    target->reboot_deadline = uv_now(target->env->loop) + target->status.spec->reboot_timeout;
    if (remaining != UINT64_MAX)
        target->reboot_deadline += 2 * remaining;
    target_set_step(target, STEP_AWAY);
}

static void write_given_up(struct target *target, const struct error *err)
{
    struct error final = *err;
    if (target->heard && target->phase < PHASE_ERASING_HEAD && !target->write_told) {
        error_set(&final, err->cls,
                  "%.250s; nothing was written yet, the agent reboots the old "
                  "system by itself",
                  err->text);
        target_undo_rebooting(target, &final);
        return;
    }
    target->status.damage = DAMAGE_INCOMPLETE;
    error_set(&final, err->cls, "%.250s; the disk is half-written and the agent waits", err->text);
    error_remedy(&final, "keep the device powered and run fleetflash --resume");
    target_finish(target, OUTCOME_FAILED, &final);
}

/* The stream to an agent that may be in the middle of the disk is gone. */
static void fault_write(struct target *target, const struct error *err)
{
    agent_session_free(target->session);
    target->session = NULL;
    if (target->got_on) /* but a connection that comes up and dies at once is no success */
        target->tries = 0;
    target->got_on = false;
    bool written = target->phase == PHASE_WRITTEN || target->phase == PHASE_REBOOTING;
    bool unreachable = !target->lifeline_proven || target->tries >= target->status.spec->retries;
    /* Of a run that was killed in the middle it is not known how far the agent got since. */
    bool gone = target->resumed && !target->heard && target->tries >= 2;
    if (written || gone || (target->status.mode == MODE_STAGE && unreachable)) {
        write_finishes_alone(target, err);
        return;
    }
    target->tries++;
    if (target->tries >= tries_allowed(target) || !target->lifeline_proven) {
        write_given_up(target, err);
        return;
    }
    target->status.attempts++;
    target_log(target, LOG_WARNING, "%s; going on through the agent's own port", err->text);
    link_close(target->link);
    target->link = NULL;
    target->via_lifeline = true;
    target_set_step(target, STEP_BACKOFF);
}

void target_fault(struct target *target, const struct error *err)
{
    struct error copy = *err; /* it may live in what is closed below */
    if (target->undoing) {
        target_undo_fault(target);
        return;
    }
    uv_timer_stop(&target->timer);
    if (target->is_local && target->write_sent &&
        (target->step == STEP_FENCE || target->step == STEP_WRITE)) {
        write_finishes_alone(target, &copy);
        return;
    }
    switch (target->step == STEP_BACKOFF ? FAULT_RETRY : rules[target->step].fault) {
    case FAULT_RETRY:
        if (target->write_sent)
            fault_write(target, &copy);
        else
            target_retry(target, &copy);
        break;
    case FAULT_BACKOUT:
        target_back_out(target, OUTCOME_FAILED, &copy);
        break;
    case FAULT_POLICY:
        if (error_is_transient(&copy) && target_policy_cut(target))
            target_retry(target, &copy);
        else
            target_back_out(target, OUTCOME_FAILED, &copy);
        break;
    case FAULT_FENCE:
        if (target->lifeline_proven && error_is_transient(&copy)) {
            target->via_lifeline = true;
            target_retry(target, &copy);
        } else {
            target_back_out(target, OUTCOME_FAILED, &copy);
        }
        break;
    case FAULT_WRITE:
        fault_write(target, &copy);
        break;
    case FAULT_LOST:
        target->status.damage = DAMAGE_LOST;
        target_finish(target, OUTCOME_FAILED, &copy);
        break;
    }
}

void target_back_out(struct target *target, enum target_outcome outcome, const struct error *err)
{
    if (target->undoing)
        return; /* it is at it */
    if (target->step == STEP_CONNECT)
        target_disconnect(target); /* backing out makes its own connection where it needs one */
    target->undoing = true;
    target->final_outcome = outcome;
    if (err != NULL)
        target->status.error = *err;
    target_set_step(target, STEP_UNDO);
}

/* Let go of after the probe: as if it had not begun, and its turn may have come meanwhile. */
static void target_released(struct target *target)
{
    target->releasing = target->undoing = target->undo_connected = false;
    target->has_agent = false;
    target->undo_part = UNDO_AGENT;
    target->phase = PHASE_IDLE;
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
    state_account(target);
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
    bool netboot = target_is_netboot(target) ||
                   (target->status.spec->recovery == RECOVERY_NETBOOT && !target->resumed);
    target_set_step(target, netboot ? STEP_NETBOOT_PROBE : STEP_CONNECT);
}

void target_probe(struct target *target)
{
    if (target->step == STEP_IDLE && !target->resumed) /* those wait for the image */
        target_begin(target);
}

static enum target_step step_after_probe(const struct target *target)
{
    return target_is_netboot(target) ? STEP_NETBOOT : STEP_KEEP;
}

static void enter_probed(struct target *target)
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
    } else {
        error_set(&err, ERROR_CANCELLED, "interrupted");
    }
    target_finish(target, OUTCOME_FAILED, &err);
}

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
