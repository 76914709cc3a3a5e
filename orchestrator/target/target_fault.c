/* SPDX-License-Identifier: Apache-2.0 */
/* What a fault leads to, by the step's rule and the error's class: another try, going on by the
 * agent's own port, backing out, or an end. */
#include "target/target_internal.h"

#include <sodium.h>

/* In the destructive part there are more: giving up leaves half a system. */
#define WRITE_TRIES 3u

static unsigned tries_allowed(const struct target *target)
{
    return target->status.spec->retries + 1 + (target->write_sent ? WRITE_TRIES : 0);
}

/* Waits 1, 2, 4 … s, at most 30 s, and not in step with the others. */
void target_enter_backoff(struct target *target)
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
    switch (target_step_fault(target->step)) {
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
