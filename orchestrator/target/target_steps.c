/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a target's steps, and how one follows another: its timer, and the journal's record
 * that it waits for. What the steps do is in target_agent.c, target_policy.c, target_reach.c, …;
 * what a fault leads to, in target_fault.c. */
#include "target/target_internal.h"

#include "base/clock.h"

enum step_timeout {
    NO_TIMEOUT,
    CONNECT_TIMEOUT,  /* the inventory's connect_timeout (the link keeps it too) */
    TRANSFER_TIMEOUT, /* the inventory's transfer_timeout, begun anew by every sign of progress */
    DEPLOY_TIMEOUT,
    FENCE_TIMEOUT, /* ending processes, swapoff, sync of a slow disk */
    OWN_TIMEOUT,   /* the step starts the timer itself */
};

struct step_rule {
    const char *activity;
    int state; /* enum target_state, -1: stays as it is */
    enum step_timeout timeout;
    enum step_fault fault;
    void (*enter)(struct target *target);
    const char *timeout_sentence;
};

static const struct step_rule rules[STEP_COUNT] = {
    [STEP_IDLE] = {"waiting", -1, NO_TIMEOUT, FAULT_RETRY, NULL, NULL},
    [STEP_BACKOFF] = {NULL, -1, OWN_TIMEOUT, FAULT_RETRY, target_enter_backoff, NULL},
    [STEP_CONNECT] = {"connecting", -1, NO_TIMEOUT, FAULT_RETRY, target_enter_connect, NULL},
    [STEP_DEPLOY] = {"deploying the agent", -1, DEPLOY_TIMEOUT, FAULT_RETRY, target_enter_deploy,
                     "the agent could not be deployed in time"},
    [STEP_ATTACH] = {"attaching to the agent", -1, CONNECT_TIMEOUT, FAULT_RETRY,
                     target_enter_attach, "the agent does not answer"},
    [STEP_FACTS] = {"probing", STATE_PROBE, TRANSFER_TIMEOUT, FAULT_RETRY, target_enter_facts,
                    "the agent's probe of the device does not end"},
    [STEP_NETBOOT_PROBE] = {"looking at its reset", STATE_PROBE, NO_TIMEOUT, FAULT_BACKOUT,
                            target_enter_netboot_probe, NULL},
    [STEP_PROBED] = {"ready", STATE_PROBE, NO_TIMEOUT, FAULT_RETRY, target_enter_probed, NULL},
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

/* The time in the present stable state goes to its account. */
void target_state_account(struct target *target)
{
    uint64_t now = uv_now(target->env->loop);
    bool waits = target->step == STEP_IDLE || target->step == STEP_PROBED; /* for its turn */
    if (target->state_since != 0 && !waits)
        status_spend(&target->status, now - target->state_since, clock_unix_ms());
    target->state_since = now;
}

void target_set_state(struct target *target, enum target_state state)
{
    target_state_account(target);
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
    target_state_account(target);
    target->step = step;
    if (rule->state >= 0)
        target->status.state = (enum target_state)rule->state;
    step_timer_start(target, rule->timeout);
    if (rule->activity != NULL)
        target_set_activity(target, "%s", rule->activity);
    step_begin(target, rule);
}

enum step_fault target_step_fault(enum target_step step)
{
    return step == STEP_BACKOFF ? FAULT_RETRY : rules[step].fault;
}
