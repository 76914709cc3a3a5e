/* SPDX-License-Identifier: Apache-2.0 */
/* The way to the device: the ssh connection, and the agent that is started over it. */
#include "target/target_internal.h"

#include <stdio.h>

/* --- connect ------------------------------------------------------------------------- */

static void link_up_callback(struct link *link, const struct link_facts *facts, void *arg)
{
    (void)link;
    struct target *target = arg;
    target->status.reached = true;
    snprintf(target->status.host_fingerprint, sizeof target->status.host_fingerprint, "%s",
             facts->host_fingerprint);
    target_log(target, LOG_DEBUG, "connected (%s, %s, %s)", facts->server_banner, facts->cipher,
               facts->route);
    if (target->undoing)
        target_set_step(target, STEP_UNDO);
    else
        target_set_step(target, target->has_agent ? STEP_ATTACH : STEP_DEPLOY);
}

static void link_down_callback(struct link *link, const struct error *err, void *arg)
{
    (void)link;
    struct target *target = arg;
    struct error copy = *err;
    bool rebooting = target->step == STEP_REBOOT;
    target_disconnect(target);
    if (rebooting) /* as it should be */
        target_set_step(target, STEP_AWAY);
    else
        target_fault(target, &copy);
}

static const struct link_events link_events = {link_up_callback, link_down_callback};

void target_enter_connect(struct target *target)
{
    if (target->via_lifeline) {
        target_set_step(target, STEP_ATTACH);
        return;
    }
    target_disconnect(target);
    struct link_config config;
    target_link_config(target, false, &config);
    target->link = link_open(target->env->links, &config, &link_events, target);
}

/* --- deploy -------------------------------------------------------------------------- */

static void deploy_callback_done(const struct deploy_result *result, const struct error *err,
                                 void *arg)
{
    struct target *target = arg;
    target->deploy = NULL;
    if (result == NULL) { /* a target that is backed out has waited for it */
        if (target->undoing)
            target_enter_undo(target);
        else
            target_fault(target, err);
        return;
    }
    target->deployed = *result;
    target->count.bytes_sent += result->uploaded;
    target->status.bytes_sent = target->count.bytes_sent;
    target->has_agent = true;
    target->agent_probed = target->fence_asked = false;
    target->phase = PHASE_IDLE;
    if (!target->write_sent) /* it may have been rebooted between two tries */
        snprintf(target->status.boot_id_before, sizeof target->status.boot_id_before, "%s",
                 result->boot_id);
    target_log(target, LOG_DEBUG, "agent started in %s (%s)", result->directory, result->machine);
    if (target->undoing)
        target_enter_undo(target);
    else
        target_set_step(target, STEP_ATTACH);
}

void target_enter_deploy(struct target *target)
{
    target->deploy_config.attempt = target->deploys;
    target->deploy =
        deploy_start(target->link, &target->deploy_config, deploy_callback_done, target);
}
