/* SPDX-License-Identifier: Apache-2.0 */
/* Services stop before the fence and start again when the target is backed out. */
#include "target/target_internal.h"

#include "target/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A policy's own timeouts come first; these bound a policy that has none. */
#define POLICY_STOP_TIMEOUT (10u * 60u * 1000u)
#define POLICY_UNDO_TIMEOUT (2u * 60u * 1000u)
#define UNDO_TIMEOUT        (3u * 60u * 1000u) /* all of backing out, reconnecting included */
#define ABORT_GRACE         1500u              /* for the agent to take its leave */

/* --- what the host gives a policy ---------------------------------------------------- */

struct policy_command {
    struct link_run *run;
    void (*done)(void *done_arg, int exit_status, const char *out, const char *err,
                 const char *error);
    void *done_arg;
};

static void policy_command_callback(const struct link_run_result *result, void *arg)
{
    struct policy_command *command = arg;
    struct policy_command copy = *command;
    free(command);
    bool ran = result->err == NULL;
    copy.done(copy.done_arg, ran ? result->exit_status : -1, ran ? result->out : "",
              ran ? result->err_text : "", ran ? "" : result->err->text);
}

static void *transport_run(void *arg, const char *text, unsigned timeout_ms,
                           void (*done)(void *, int, const char *, const char *, const char *),
                           void *done_arg)
{
    struct target *target = arg;
    if (target->link == NULL)
        return NULL;
    struct policy_command *command = calloc(1, sizeof *command);
    char *line = shell_as_root(text, target->deployed.is_root);
    if (command == NULL || line == NULL) {
        free(command);
        free(line);
        return NULL;
    }
    command->done = done;
    command->done_arg = done_arg;
    command->run =
        link_run_command(target->link, line, NULL, timeout_ms, policy_command_callback, command);
    free(line);
    return command;
}

static void transport_cancel(void *arg, void *handle)
{
    (void)arg;
    struct policy_command *command = handle;
    link_run_cancel(command->run);
    free(command);
}

static void transport_log(void *arg, const char *text)
{
    target_log(arg, LOG_INFO, "policy: %s", text);
}

/* --- stop ---------------------------------------------------------------------------- */

static void stop_verdict_callback(enum ff_verdict verdict, const char *reason, void *arg)
{
    struct target *target = arg;
    struct error err;
    switch (verdict) {
    case FF_VERDICT_GO:
        target->policy_done = true;
        target_set_step(target, STEP_FENCE);
        return;
    case FF_VERDICT_VETO:
        error_set(&err, ERROR_VETO, "%s", reason != NULL ? reason : "no reason given");
        target_back_out(target, OUTCOME_SKIPPED, &err);
        return;
    case FF_VERDICT_FAIL:
        break;
    }
    error_set(&err, ERROR_REFUSED, "the %s policy could not stop the services: %s",
              target->status.spec->services.policy, reason != NULL ? reason : "no reason given");
    target_back_out(target, OUTCOME_FAILED, &err);
}

void target_enter_policy(struct target *target)
{
    const struct target_spec *spec = target->status.spec;
    if (target->status.mode == MODE_STREAM)
        target_set_state(target, STATE_TRANSFER);
    else
        target_set_state(target, STATE_COMMIT);
    if (spec->services.policy == NULL) {
        target->policy_done = true;
        target_set_step(target, STEP_FENCE);
        return;
    }
    struct error err;
    const struct ff_policy *policy =
        policy_set_find(target->env->policies, spec->services.policy, &err);
    if (policy == NULL) {
        target_back_out(target, OUTCOME_FAILED, &err);
        return;
    }
    target->policy_target = (struct policy_target){.spec = spec,
                                                   .mode = flash_mode_name(target->status.mode),
                                                   .image = target->env->image,
                                                   .run_id = target->env->run_id};
    struct policy_transport transport = {transport_run, transport_cancel, transport_log, target};
    target->policy =
        policy_run_new(target->env->policies, policy, &target->policy_target, &transport);
    policy_run_stop(target->policy, POLICY_STOP_TIMEOUT, stop_verdict_callback, target);
}

/* --- undo ---------------------------------------------------------------------------- */

static void folder_removed_callback(const struct link_run_result *result, void *arg)
{
    (void)result;
    struct target *target = arg;
    target_finish(target, target->final_outcome, NULL);
}

/* The agent leaves, then its folder goes. The step's timer ends it if the device answers no more.
 */
static void undo_agent(struct target *target)
{
    if (!target->has_agent || target->link == NULL) {
        target_finish(target, target->final_outcome, NULL);
        return;
    }
    if (target->session != NULL)
        agent_session_request(target->session, FRAME_ABORT);
    target->has_agent = false;
    char command[640];
    snprintf(command, sizeof command, "%ssh -c 'sleep 0.3; umount %s 2>/dev/null; rm -rf %s'",
             target->deployed.is_root ? "" : "sudo -n ", target->deployed.directory,
             target->deployed.directory);
    link_run_command(target->link, command, NULL, ABORT_GRACE + 10000, folder_removed_callback,
                     target);
}

static void undo_verdict_callback(enum ff_verdict verdict, const char *reason, void *arg)
{
    struct target *target = arg;
    if (verdict == FF_VERDICT_GO)
        target_log(target, LOG_INFO, "the services that were stopped run again");
    else
        target_log(target, LOG_ERROR, "the stopped services could not be started again: %s",
                   reason != NULL ? reason : "no reason given");
    policy_run_free(target->policy);
    target->policy = NULL;
    undo_agent(target);
}

void target_enter_undo(struct target *target)
{
    if (target->link == NULL && target->policy != NULL && target->tries < 100) {
        target->tries = 100; /* one more connection, to start the services again */
        target->via_lifeline = false;
        target_timer_start(target, UNDO_TIMEOUT);
        target_enter_connect(target);
        return;
    }
    target_timer_start(target, UNDO_TIMEOUT);
    if (target->policy != NULL && target->link != NULL)
        policy_run_undo(target->policy, POLICY_UNDO_TIMEOUT, undo_verdict_callback, target);
    else
        undo_agent(target);
}
