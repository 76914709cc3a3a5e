/* SPDX-License-Identifier: Apache-2.0 */
/* Backing out of a target whose disk is as it was: the agent takes its fence down and leaves, or
 * reboots the old system where that cannot be done; then the stopped services start again (not
 * before: they would find read-only file systems), then the agent's folder goes. What cannot be
 * done is left out; the outcome stands already.
 *
 * - AGENT: ABORT; goes on by FAIL (what became of the old system), a lost stream, the timer
 * - RETURN: waits for the old system, where the agent reboots it or nobody knows whether it does:
 *   another boot id, or the same without an agent; the timer
 * - SERVICES: the policy's undo; its verdict (the policy has a deadline of its own)
 * - LEFT, in a resumed run: what the killed run's policies left on the device; its end, the timer
 * - FOLDER: rm; its end, the timer
 *
 * A part that needs a connection and has none makes one, once for all of them.
 */
#include "target/target_internal.h"

#include "target/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A policy's own deadline comes first; this bounds an undo that sets none. */
#define POLICY_UNDO_TIMEOUT (2u * 60u * 1000u)
#define CONNECT_GRACE       5000u  /* beyond connect_timeout, which the link keeps itself */
#define DEPLOY_STOP_TIMEOUT 30000u /* for an agent that is just starting */
#define ABORT_TIMEOUT       10000u /* for the agent to end what it is at */
#define UNFENCE_TIMEOUT     90000u /* swap, remounts and syncs of a slow disk */
#define FOLDER_TIMEOUT      15000u
#define ATTACH_PAUSE        1000u /* for the stream before this one to have ended on the device */
#define RETURN_RETRY        2000u
#define RETURN_CONNECT      10000u /* of one try; a booting sshd may accept and say nothing */
#define LONELY_FENCED       60000u /* after which an agent gives up its fence: helpers/agent/loop.c */
#define AGENT_THERE         "an agent is there"

static void undo_enter(struct target *target, enum undo_part part);

/* Tries to get a connection for the present part, which is entered again when that has ended. False
 * when there is one already, or it was tried before. */
static bool undo_connects(struct target *target)
{
    if (target->link != NULL || target->undo_connected)
        return false;
    target->undo_connected = target->undo_connecting = true;
    target->via_lifeline = false;
    target_enter_connect(target);
    target_timer_start(target, target->status.spec->connect_timeout + CONNECT_GRACE);
    return true;
}

static bool may_be_fenced(const struct target *target)
{
    return (target->fence_asked || target->phase >= PHASE_FENCING) &&
           target->phase != PHASE_FAILED && !target->is_local;
}

/* Nobody answers. An agent behind its fence takes that down by itself after a while, or reboots the
 * old system: what it did is seen afterwards. */
static void undo_unanswered(struct target *target)
{
    if (!may_be_fenced(target)) {
        undo_enter(target, UNDO_SERVICES);
        return;
    }
    target_log(target, LOG_WARNING, "its agent may have its fence up and does not answer");
    target->undo_unsure = true;
    target->status.damage = DAMAGE_REBOOTED; /* unless the same boot is seen again */
    target->has_agent = false;
    target->reboot_deadline =
        uv_now(target->env->loop) + LONELY_FENCED + target->status.spec->reboot_timeout;
    undo_enter(target, UNDO_RETURN);
}

static void undo_agent(struct target *target)
{
    bool fenced = may_be_fenced(target);
    if (target->deploy != NULL) { /* deploy_callback_done enters this part again */
        target_timer_start(target, DEPLOY_STOP_TIMEOUT);
        deploy_stop(target->deploy);
        return;
    }
    if (!target->has_agent || target->phase == PHASE_FAILED) {
        undo_unanswered(target);
        return;
    }
    if (target->session == NULL) {
        /* An agent that has changed nothing leaves by itself after a while. */
        if ((fenced || target->policy != NULL || target->cut_count > 0) && undo_connects(target))
            return;
        if (target->link == NULL && !(fenced && target->lifeline_proven)) {
            undo_unanswered(target);
            return;
        }
        if (target->link != NULL && !target->undo_paused) { /* see target_enter_lifeline */
            target->undo_paused = target->undo_pausing = true;
            target_timer_start(target, ATTACH_PAUSE);
            return;
        }
        target_session_open(target, target->link == NULL);
    }
    target_timer_start(target, fenced ? UNFENCE_TIMEOUT : ABORT_TIMEOUT);
    agent_session_request(target->session, FRAME_ABORT);
}

/* --- the old system, rebooted ------------------------------------------------------------- */

/* Not there yet: once more after a moment, as long as there is patience. */
static void return_again(struct target *target)
{
    const struct error why = target->status.error;
    target->undo_connecting = false;
    target_disconnect(target);
    if (uv_now(target->env->loop) < target->reboot_deadline) {
        target_timer_start(target, RETURN_RETRY);
        return;
    }
    error_set(&target->status.error, why.cls,
              "%.300s; the old system, %s, did not come back within %us", why.text,
              target->undo_unsure ? "fenced or rebooted untouched" : "rebooted untouched",
              (unsigned)((target->status.spec->reboot_timeout +
                          (target->undo_unsure ? LONELY_FENCED : 0)) /
                         1000));
    error_remedy(&target->status.error, "look at the device's console");
    target->undo_connected = true;
    undo_enter(target, UNDO_SERVICES); /* a policy may have stopped things elsewhere */
}

static void boot_id_callback(const struct link_run_result *result, void *arg)
{
    struct target *target = arg;
    const char *before = target->status.boot_id_before;
    bool told =
        result->err == NULL && result->exit_status == 0 && result->out_size >= strlen(before);
    bool same = told && strncmp(result->out, before, strlen(before)) == 0;
    target->undo_run = NULL;
    if (!told || (same && (!target->undo_unsure || strstr(result->out, AGENT_THERE) != NULL))) {
        return_again(target);
        return;
    }
    target->phase = PHASE_FAILED;
    if (same) {
        target->status.damage = DAMAGE_NONE;
        target_log(target, LOG_INFO, "the old system goes on, its agent is gone");
    } else {
        target->deployed.directory[0] = '\0'; /* it was in memory */
        target_log(target, LOG_INFO, "the old system is back");
    }
    target->undo_connected = true;
    undo_enter(target, UNDO_SERVICES);
}

/* Its first entrance finds the connection to the system that is about to go. */
static void undo_return(struct target *target)
{
    target_set_activity(target, "waiting for the old system");
    if (target->link != NULL && link_is_up(target->link))
        target->undo_run =
            link_run_command(target->link,
                             "cat /proc/sys/kernel/random/boot_id; grep -q @" PROTOCOL_SOCKET_NAME
                             " /proc/net/unix && echo " AGENT_THERE "; true",
                             NULL, RETURN_CONNECT, boot_id_callback, target);
    if (target->undo_run != NULL)
        target_timer_start(target, RETURN_CONNECT + CONNECT_GRACE);
    else
        return_again(target);
}

static void undo_return_fault(struct target *target)
{
    if (target->link != NULL || target->undo_connecting) {
        return_again(target);
        return;
    }
    target->undo_connecting = true;
    target->via_lifeline = false;
    target_enter_connect(target);
    target_timer_start(target, RETURN_CONNECT);
}

void target_undo_rebooting(struct target *target, const struct error *err)
{
    target->status.damage = DAMAGE_REBOOTED;
    target->write_sent = target->has_agent = false;
    target->phase = PHASE_FAILED;
    target->deployed.directory[0] = '\0'; /* it was in memory */
    target->reboot_deadline = uv_now(target->env->loop) + target->status.spec->reboot_timeout;
    target->undo_part = UNDO_RETURN;
    if (target->undoing)
        undo_enter(target, UNDO_RETURN);
    else
        target_back_out(target, OUTCOME_FAILED, err);
}

/* --- services, folder --------------------------------------------------------------------- */

static void undo_verdict_callback(enum ff_verdict verdict, const char *reason, void *arg)
{
    struct target *target = arg;
    if (verdict != FF_VERDICT_GO)
        target_log(target, LOG_ERROR, "the stopped services could not be started again: %s",
                   reason != NULL ? reason : "no reason given");
    else if (target->policy_can_undo)
        target_log(target, LOG_INFO, "the %s policy has undone what it did",
                   target->status.spec->services.policy);
    undo_enter(target, target_policy_next(target) ? UNDO_SERVICES : UNDO_LEFT);
}

static void undo_services(struct target *target)
{
    if (target->policy == NULL && !target_policy_next(target))
        undo_enter(target, UNDO_LEFT);
    else if (!undo_connects(
                 target)) /* without one too: a policy may have stopped things elsewhere */
        policy_run_undo(target->policy, POLICY_UNDO_TIMEOUT, undo_verdict_callback, target);
}

static void left_callback(const struct link_run_result *result, void *arg)
{
    struct target *target = arg;
    target->undo_run = NULL;
    if (result->err == NULL && result->out[0] != '\0')
        target_log(target, LOG_INFO, "what the killed run had stopped was started again");
    undo_enter(target, UNDO_FOLDER);
}

/* The folders of all tries of this run: an agent that gave up has done it already. */
static void undo_left(struct target *target)
{
    char text[700], *command;
    const char *folder = target->deployed.directory, *end = strrchr(folder, '-');
    if (!target->resumed || end == NULL) {
        undo_enter(target, UNDO_FOLDER);
        return;
    }
    if (undo_connects(target))
        return;
    snprintf(text, sizeof text,
             "for f in %.*s-*/undo-????????; do [ -f \"$f\" ] || continue; "
             "sh \"$f\" </dev/null >/dev/null 2>&1; rm -f \"$f\"; echo done; done",
             (int)(end - folder), folder);
    command = target->link != NULL ? shell_as_root(text, target->deployed.is_root) : NULL;
    if (command != NULL)
        target->undo_run = link_run_command(target->link, command, NULL, POLICY_UNDO_TIMEOUT,
                                            left_callback, target);
    free(command);
    if (target->undo_run == NULL)
        undo_enter(target, UNDO_FOLDER);
}

static void folder_removed_callback(const struct link_run_result *result, void *arg)
{
    (void)result;
    struct target *target = arg;
    target->undo_run = NULL;
    target_finish(target, target->final_outcome, NULL);
}

static void undo_folder(struct target *target)
{
    char command[DEPLOY_REMOVE_SIZE];
    if (target->link != NULL && target->deployed.directory[0] != '\0')
        target->undo_run =
            link_run_command(target->link, deploy_remove_command(&target->deployed, command), NULL,
                             FOLDER_TIMEOUT, folder_removed_callback, target);
    if (target->undo_run == NULL)
        target_finish(target, target->final_outcome, NULL);
}

static void undo_enter(struct target *target, enum undo_part part)
{
    static void (*const enter[])(struct target *) = {
        [UNDO_AGENT] = undo_agent, [UNDO_RETURN] = undo_return, [UNDO_SERVICES] = undo_services,
        [UNDO_LEFT] = undo_left,   [UNDO_FOLDER] = undo_folder,
    };
    target->undo_part = part;
    uv_timer_stop(&target->timer);
    enter[part](target);
}

/* --- what happens meanwhile --------------------------------------------------------------- */

void target_enter_undo(struct target *target)
{
    target->undo_connecting = false;
    undo_enter(target, target->undo_part);
}

void target_undo_answered(struct target *target, const struct fail *fail)
{
    if (target->undo_part != UNDO_AGENT || target->undo_connecting)
        return;
    target->phase = PHASE_FAILED;
    if (fail->state == FAIL_REBOOTING) {
        target_undo_rebooting(target, NULL);
        return;
    }
    undo_enter(target, UNDO_SERVICES);
}

void target_undo_fault(struct target *target)
{
    if (target->undo_part == UNDO_RETURN) {
        undo_return_fault(target);
        return;
    }
    if (target->undo_connecting) {
        target_disconnect(target);
        target_enter_undo(target); /* it goes on without */
        return;
    }
    deploy_cancel(target->deploy);
    target->deploy = NULL;
    switch (target->undo_part) {
    case UNDO_RETURN:
        break;
    case UNDO_AGENT:
        if (!target->undo_pausing && (target->link != NULL || target->undo_connected))
            target->has_agent = false; /* nobody is there any more, or nobody who answers */
        target->undo_pausing = false;
        undo_enter(target, UNDO_AGENT);
        break;
    case UNDO_SERVICES: /* cut off in the middle: once more, from its beginning */
        if (target->link == NULL && !target->undo_connected)
            undo_enter(target, UNDO_SERVICES);
        break; /* else its commands fail, and it says so */
    case UNDO_LEFT:
        undo_enter(target,
                   target->link == NULL && !target->undo_connected ? UNDO_LEFT : UNDO_FOLDER);
        break;
    case UNDO_FOLDER:
        target_finish(target, target->final_outcome, NULL);
        break;
    }
}
