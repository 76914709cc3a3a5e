/* SPDX-License-Identifier: Apache-2.0 */
/* Services stop before the fence. (They start again in target_undo.c.) */
#include "target/target_internal.h"

#include "target/shell.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A policy's own deadline comes first; this bounds a stop that sets none. */
#define POLICY_STOP_TIMEOUT (10u * 60u * 1000u)

/* --- what the host gives a policy ---------------------------------------------------- */

struct policy_command {
    struct target *target;
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
    copy.target->policy_unheard |= !ran;
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
    command->target = target;
    command->done = done;
    command->done_arg = done_arg;
    command->run =
        link_run_command(target->link, line, NULL, timeout_ms, policy_command_callback, command);
    free(line);
    if (command->run == NULL) {
        free(command);
        return NULL;
    }
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

static void transport_waits(void *arg, uint64_t seconds, const char *reason)
{
    struct target *target = arg;
    if (target->step == STEP_POLICY)
        target_set_activity(target, "put off for %llus: %s", (unsigned long long)seconds, reason);
}

/* --- stop ---------------------------------------------------------------------------- */

static void stop_verdict_callback(enum ff_verdict verdict, const char *reason, void *arg)
{
    struct target *target = arg;
    if (target->step != STEP_POLICY || target->policy == NULL)
        return; /* of a run that was cut off */
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
    if (target->policy_unheard) { /* the link's fault, not the services' */
        error_set(&err, ERROR_NETWORK, "the %s policy lost touch with the device: %.200s",
                  target->status.spec->services.policy, reason != NULL ? reason : "");
        target_fault(target, &err);
        return;
    }
    error_set(&err, ERROR_REFUSED, "the %s policy could not stop the services: %s",
              target->status.spec->services.policy, reason != NULL ? reason : "no reason given");
    target_back_out(target, OUTCOME_FAILED, &err);
}

bool target_policy_cut(struct target *target)
{
    if (target->policy != NULL && target->cut_count == POLICY_CUTS_MAX)
        return false;
    if (target->policy != NULL)
        target->cut_policies[target->cut_count++] = target->policy;
    target->policy = NULL;
    return true;
}

bool target_policy_next(struct target *target)
{
    policy_run_free(target->policy);
    target->policy = target->cut_count > 0 ? target->cut_policies[--target->cut_count] : NULL;
    return target->policy != NULL;
}

/* Makes target->policy; -1 when it cannot. */
static int policy_make(struct target *target, struct error *err)
{
    const struct target_spec *spec = target->status.spec;
    const struct ff_policy *policy =
        policy_set_find(target->env->policies, spec->services.policy, err);
    if (policy == NULL)
        return -1;
    target->policy_target = (struct policy_target){.spec = spec,
                                                   .mode = flash_mode_name(target->status.mode),
                                                   .image = target->env->image,
                                                   .run_id = target->env->run_id};
    struct policy_transport transport = {
        .run = transport_run,
        .cancel = transport_cancel,
        .log = transport_log,
        .waits = transport_waits,
        .arg = target,
    };
    /* Of its own: what an earlier stop has left counts as well. */
    if (target->deployed.directory[0] != '\0')
        snprintf(transport.undo_file, sizeof transport.undo_file, "%s/undo-%08x",
                 target->deployed.directory, (unsigned)randombytes_random());
    target->policy =
        policy_run_new(target->env->policies, policy, &target->policy_target, &transport);
    if (target->policy == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    target->policy_can_undo = policy->undo != NULL;
    target->policy_unheard = false;
    return 0;
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
    if (policy_make(target, &err) != 0) {
        target_back_out(target, OUTCOME_FAILED, &err);
        return;
    }
    policy_run_stop(target->policy, POLICY_STOP_TIMEOUT, stop_verdict_callback, target);
}

/* --- after the flash ----------------------------------------------------------------- */

static void returned_verdict_callback(enum ff_verdict verdict, const char *reason, void *arg)
{
    struct target *target = arg;
    struct error err;
    if (target->step != STEP_WELCOME)
        return;
    if (verdict == FF_VERDICT_GO) {
        target_finish(target, OUTCOME_FLASHED, NULL);
        return;
    }
    error_set(&err, ERROR_REFUSED,
              "the new system runs, but the %s policy could not put the device back to work: %s",
              target->status.spec->services.policy, reason);
    target->status.damage = DAMAGE_IDLE;
    error_remedy(&err, "do by hand what it could not; the device need not be flashed again");
    target_finish(target, OUTCOME_FAILED, &err);
}

void target_enter_welcome(struct target *target)
{
    struct error err;
    if (target->status.spec->services.policy == NULL) {
        target_finish(target, OUTCOME_FLASHED, NULL);
        return;
    }
    if (target->policy == NULL && policy_make(target, &err) != 0) {
        target_finish(target, OUTCOME_FAILED, &err);
        return;
    }
    policy_run_returned(target->policy, POLICY_STOP_TIMEOUT, returned_verdict_callback, target);
}
