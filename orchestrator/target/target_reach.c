/* SPDX-License-Identifier: Apache-2.0 */
/* After the reboot: the way to the new system, and the proof that it runs. */
#include "target/shift.h"
#include "target/target_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AWAY_MS           2000u  /* a machine needs at least this long to come back */
#define AGENT_PATIENCE_MS 30000u /* of an agent that has written all and is not told to reboot */
#define RETURN_RETRY_MS   1500u
#define RETURN_CONNECT_MS 10000u /* of one attempt; a booting sshd may accept and say nothing */
#define PROOF_TIMEOUT_MS  60000u
#define UNPROVEN_TRIES    5u   /* a system that is still booting may not tell everything yet */
#define PING_AWAY_MS      200u /* a ping must find it gone: look often */
#define PING_GONE_MS                                                                               \
    45000u /* it has surely rebooted: the agent's last resort is SysRq after 30 s */

/* --- who answers --------------------------------------------------------------------- */

enum after_trust target_trust(const struct target_env *env, const struct target_spec *spec,
                              const struct image_facts *facts)
{
    if (spec->reach != REACH_SSH || target_is_local(env, spec))
        return TRUST_NOT_NEEDED;
    switch (spec->after.host_key.kind) {
    case KEY_FINGERPRINT:
        return TRUST_FINGERPRINT;
    case KEY_KEEP:
        return TRUST_KEEP;
    case KEY_ACCEPT_ONCE:
        return TRUST_ONCE;
    default:
        break;
    }
    if (facts != NULL && facts->host_fingerprints[0][0] != '\0' && !facts->has_first_boot)
        return TRUST_IMAGE;
    if (env->accept_once || spec->host_key.kind == KEY_ACCEPT_NEW)
        return TRUST_ONCE;
    return TRUST_NONE;
}

static void config_before(const struct target *target, struct link_config *config)
{
    const struct target_spec *spec = target->status.spec;
    config->hostkey = spec->host_key.kind == KEY_FINGERPRINT   ? HOSTKEY_FINGERPRINT
                      : spec->host_key.kind == KEY_ACCEPT_NEW  ? HOSTKEY_ACCEPT_NEW
                      : spec->host_key.kind == KEY_ACCEPT_ONCE ? HOSTKEY_ACCEPT_ONCE
                                                               : HOSTKEY_STRICT;
    config->fingerprint = spec->host_key.fingerprint;
}

static void config_after(const struct target *target, struct link_config *config)
{
    const struct after_spec *after = &target->status.spec->after;
    if (after->host != NULL)
        config->host = after->host;
    if (after->user != NULL)
        config->user = after->user;
    if (after->identity != NULL)
        config->identity = after->identity;
    if (after->port != 0)
        config->port = after->port;
    if (config->connect_timeout > RETURN_CONNECT_MS)
        config->connect_timeout = RETURN_CONNECT_MS;
    const struct image_facts *facts = &store_info(target->env->store)->facts;
    config->hostkey = HOSTKEY_FINGERPRINT;
    switch (target_trust(target->env, target->status.spec, facts)) {
    case TRUST_FINGERPRINT:
        config->fingerprint = after->host_key.fingerprint;
        break;
    case TRUST_KEEP:
        config->fingerprint = target->status.host_fingerprint;
        if (config->fingerprint[0] == '\0') /* its old system was never asked */
            config->hostkey = HOSTKEY_STRICT;
        break;
    case TRUST_IMAGE: /* any of the image's keys: compared in return_up_callback */
    default:
        config->hostkey = HOSTKEY_ACCEPT_ONCE;
        break;
    }
}

void target_link_config(const struct target *target, bool after, struct link_config *config)
{
    const struct target_spec *spec = target->status.spec;
    *config = (struct link_config){
        .name = spec->name,
        .host = spec->host,
        .user = spec->user,
        .identity = spec->identity,
        .port = spec->port,
        .connect_timeout = spec->connect_timeout,
        .keepalive = 10000,
        .is_local = target->is_local,
    };
    if (after)
        config_after(target, config);
    else
        config_before(target, config);
}

/* With baked-in keys the peer must have one of them. */
static bool fingerprint_is_images(const struct target *target, const char *fingerprint)
{
    const struct image_facts *facts = &store_info(target->env->store)->facts;
    if (target_trust(target->env, target->status.spec, facts) != TRUST_IMAGE)
        return true;
    for (size_t i = 0; i < sizeof facts->host_fingerprints / sizeof *facts->host_fingerprints;
         i++) {
        if (strcmp(facts->host_fingerprints[i], fingerprint) == 0)
            return true;
    }
    return false;
}

/* --- waiting ------------------------------------------------------------------------- */

/* The end of the patience: what was seen says what is wrong. */
static void return_lost(struct target *target)
{
    const struct error *last = &target->reach_error;
    struct error err;
    unsigned seconds = (unsigned)(target->status.spec->reboot_timeout / 1000);
    /* Somebody answers, and it is this that is wrong. (Once may have been the old system, but for
     * a health check: that one is asked of the new one.) */
    if (target->sick.cls != ERROR_NONE) {
        bool later = last->cls != ERROR_NONE;
        error_set(&err, target->sick.cls, "%.250s (for %us)%s%.120s", target->sick.text, seconds,
                  later ? "; at last: " : "", later ? last->text : "");
        error_remedy(&err, "%s", target->sick.remedy);
    } else if (target->answer_count > 1) {
        error_set(&err, target->answer.cls, "%.330s (for %us)", target->answer.text, seconds);
        error_remedy(&err, "%s", target->answer.remedy);
    } else {
        error_set(&err, ERROR_TIMEOUT, "did not come back within %us; last seen: %.300s", seconds,
                  last->cls != ERROR_NONE ? last->text : "nothing");
        error_remedy(&err, "look at the device's console; what was written was read back whole, so "
                           "the image itself, its network or its keys are the first suspects");
    }
    /* Not seen to finish, it may wait half-written: --resume must be able to look for it. */
    target->status.damage = target->alone ? DAMAGE_INCOMPLETE : DAMAGE_LOST;
    target_finish(target, OUTCOME_FAILED, &err);
}

/* Another round after a moment, as long as there is patience. */
static void return_again(struct target *target)
{
    uint64_t now = uv_now(target->env->loop);
    if (target->reach_error.cls != ERROR_NONE && !error_is_transient(&target->reach_error)) {
        target->answer = target->reach_error;
        target->answer_count++;
    }
    reach_cancel(target->reach);
    target->reach = NULL;
    link_close(target->link);
    target->link = NULL;
    if (now >= target->reboot_deadline) {
        return_lost(target);
        return;
    }
    target->step = STEP_AWAY; /* its timer leads to STEP_RETURN */
    bool pings = target->status.spec->reach == REACH_PING && !target->is_local;
    target_timer_start(target, pings && !target->seen_gone ? PING_AWAY_MS : RETURN_RETRY_MS);
}

/* The classes are in the order of what they tell: a connection that was lost in the middle, a try
 * that was cut off by the deadline, a bad end. */
static void note_sick(struct target *target)
{
    if (target->reach_error.cls >= target->sick.cls)
        target->sick = target->reach_error;
    if (target->reach_error.cls != ERROR_NETWORK) /* what comes now comes after it */
        target->reach_error.cls = ERROR_NONE;
}

static void prove_callback(const struct reach_result *result, void *arg)
{
    struct target *target = arg;
    target->reach = NULL;
    target->reach_error = result->error;
    if (result->verdict == REACH_PROVEN || result->verdict == REACH_UNPROVEN ||
        result->verdict == REACH_UNHEALTHY) {
        snprintf(target->status.boot_id_after, sizeof target->status.boot_id_after, "%s",
                 result->boot_id);
        snprintf(target->status.proof, sizeof target->status.proof, "%s", result->proof);
    }
    switch (result->verdict) {
    case REACH_PROVEN:
        target_set_step(target, STEP_WELCOME);
        return;
    case REACH_UNPROVEN:
        if (++target->unproven >= UNPROVEN_TRIES) {
            target->status.damage = DAMAGE_LOST;
            target_finish(target, OUTCOME_FAILED, &result->error);
            return;
        }
        break;
    case REACH_OLD_BOOT:
        error_set(&target->reach_error, ERROR_TIMEOUT, "the old system still answers");
        break;
    case REACH_UNHEALTHY:
        note_sick(target);
        break;
    case REACH_BROKEN:
    case REACH_REBOOTED: /* asked for after the soak only */
        break;
    }
    return_again(target);
}

void target_enter_prove(struct target *target)
{
    const struct target_spec *spec = target->status.spec;
    uint64_t now = uv_now(target->env->loop);
    uint64_t left = target->reboot_deadline > now ? target->reboot_deadline - now : 1000;
    struct reach_config config = {
        .loop = target->env->loop,
        .store = target->env->store,
        .boot_id_before = target->status.boot_id_before,
        .disk = target->status.facts.disk,
        .use_sudo = spec->become == BECOME_SUDO,
        .health = spec->health,
        .timeout = PROOF_TIMEOUT_MS,
        .health_timeout = left,
    };
    config.sample_count = target->count.sample_count;
    memcpy(config.samples, target->count.samples, sizeof config.samples);
    config.shifted = shift_is_wanted(spec);
    if (target_is_netboot(target)) {
        config.occasion = "reset, and written by its boot loader";
        if (!target->recovering)
            config.disk = ""; /* nobody has seen its name */
        config.shifted = spec->netboot.layout == NETBOOT_SHIFTED;
        config.sample_count = 0;
    }
    /* What an earlier run has sent is not known, and behind a boot loader there is no signature
     * beside what may be a block or two: any of the image will do, all of it was read back. */
    if (config.shifted || target->resumed || target_is_netboot(target))
        reach_fill_samples(&config);
    target->reach = reach_start(target->link, &config, prove_callback, target);
    if (target->reach == NULL) {
        error_set(&target->reach_error, ERROR_NETWORK, "the connection was lost at once");
        return_again(target);
    }
}

/* --- ssh, ping or nothing ------------------------------------------------------------ */

static void return_up_callback(struct link *link, const struct link_facts *facts, void *arg)
{
    (void)link;
    struct target *target = arg;
    snprintf(target->status.after_fingerprint, sizeof target->status.after_fingerprint, "%s",
             facts->host_fingerprint);
    if (!fingerprint_is_images(target, facts->host_fingerprint)) {
        error_set(&target->reach_error, ERROR_HOSTKEY,
                  "the device answers with host key %s, which is none of the image's",
                  facts->host_fingerprint);
        error_remedy(&target->reach_error,
                     "an image that makes its keys at its first boot needs `after: {host_key: "
                     "accept-once}`; else look who has the device's address");
        return_again(target);
        return;
    }
    target_set_step(target, STEP_PROVE);
}

static void return_down_callback(struct link *link, const struct error *err, void *arg)
{
    (void)link;
    struct target *target = arg;
    if (target->step == STEP_WELCOME) { /* proved already; the policy may do without */
        link_close(target->link);
        target->link = NULL;
        return;
    }
    target->reach_error = *err;
    return_again(target);
}

static const struct link_events return_events = {return_up_callback, return_down_callback};

static void return_pinged_callback(struct target *target, const struct error *err)
{
    bool answered = err == NULL;
    uint64_t waited =
        uv_now(target->env->loop) + target->status.spec->reboot_timeout - target->reboot_deadline;
    if (answered && (target->seen_gone || waited >= PING_GONE_MS)) {
        snprintf(target->status.proof, sizeof target->status.proof,
                 "answers ping %s(reach: ping); which system runs was not checked",
                 target->seen_gone ? "again after it was gone " : "");
        target_set_step(target, STEP_WELCOME);
        return;
    }
    if (answered)
        error_set(&target->reach_error, ERROR_TIMEOUT, "answers ping, and was not seen to go away");
    else
        target->reach_error = *err;
    target->seen_gone |= !answered && err->cls == ERROR_TIMEOUT;
    return_again(target);
}

void target_enter_away(struct target *target)
{
    target_disconnect(target);
    if (target->reboot_deadline == 0) /* it could not be told to reboot, and does so by itself */
        target->reboot_deadline =
            uv_now(target->env->loop) + AGENT_PATIENCE_MS + target->status.spec->reboot_timeout;
    target->status.blocks_done = target->status.blocks_total = 0;
    target->status.rate = 0;
    if (target->is_local) {
        target_timer_start(target, target_local_away(target));
        return;
    }
    if (target->status.spec->reach == REACH_NONE) {
        snprintf(target->status.proof, sizeof target->status.proof, "none (reach: none): %s",
                 target_is_netboot(target) ? "reset, and written and read back by its boot loader"
                                           : "written and read back whole, told to reboot");
        target_set_step(target, STEP_WELCOME);
        return;
    }
    target_timer_start(target, target->status.spec->reach == REACH_PING ? PING_AWAY_MS : AWAY_MS);
}

void target_enter_return(struct target *target)
{
    if (target->status.spec->reach == REACH_PING && !target->is_local) {
        target_ping(target, return_pinged_callback);
        return;
    }
    struct link_config config;
    target_link_config(target, true, &config);
    target->link = link_open(target->env->links, &config, &return_events, target);
}
