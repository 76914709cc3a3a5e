/* SPDX-License-Identifier: Apache-2.0 */
/* The soak of a wave: a device that is done is looked at again after a while. Its outcome is
 * settled before; what is found here may turn it into a failure.
 *
 * The proof is that the boot id is still the one that was proven: the same boot of the same disk.
 * What the image has changed of itself since would make a comparison of blocks say less. */
#include "target/target_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define SOAK_CONNECT_MS 15000u
#define SOAK_SCRIPT_MS  60000u
#define SOAK_RETRY_MS   2000u /* then twice as much, and so on */
#define SOAK_RETRY_MAX  8000u

void target_soak_expect(struct target *target)
{
    target->soak_expected = true;
}

static void soak_recorded_callback(const struct error *err, void *arg)
{
    struct target *target = arg;
    target->gate = NULL;
    if (err != NULL) /* --resume would look at it all the same */
        target_log(target, LOG_ERROR, "%s", err->text);
    target->env->soaking(target, target->env->arg);
}

void target_soak_begin(struct target *target, uint64_t until)
{
    target->soaking = true;
    target->soak_until = until;
    journal_forget(target->gate);
    target->gate = target_record(target, soak_recorded_callback);
    if (target->gate == NULL)
        target->env->soaking(target, target->env->arg);
}

bool target_is_soaking(const struct target *target, uint64_t *until)
{
    *until = target->soak_until;
    return target->soaking;
}

/* The end of the check; err NULL: it is as it was. */
static void soak_settle(struct target *target, const struct error *err)
{
    struct target_status *status = &target->status;
    bool flashed = status->outcome == OUTCOME_FLASHED;
    uv_timer_stop(&target->timer);
    target_disconnect(target);
    if (err != NULL) {
        status->outcome = OUTCOME_FAILED;
        status->damage = DAMAGE_DIED;
        status->error = *err;
        status->ended_ms = clock_unix_ms();
        target->write_sent |= flashed; /* what the journal knows of the device is forgotten */
    }
    target->soaking = false;
    target_record(target, NULL);
    target->env->changed(target, target->env->arg);
    target->env->soaked(target, target->env->arg);
}

static void soak_failed(struct target *target, enum error_class cls, const char *what,
                        const char *text)
{
    struct error err;
    error_set(&err, cls, "%s: %.300s", what, text);
    error_remedy(&err,
                 "look at the device's console: it was well when it had been flashed, and did "
                 "not stay so");
    soak_settle(target, &err);
}

static void soak_try(struct target *target);

static void soak_timer_callback(uv_timer_t *timer)
{
    soak_try(timer->data);
}

/* A connection that failed is made again a few times: networks drop packets. */
static void soak_again(struct target *target, const struct error *err)
{
    struct error copy = *err; /* it may live in the link */
    target_disconnect(target);
    if (!error_is_transient(&copy) || target->tries >= target->status.spec->retries) {
        soak_failed(target, copy.cls, "it does not answer at the end of the soak", copy.text);
        return;
    }
    uint64_t delay = SOAK_RETRY_MS << target->tries++;
    uv_timer_start(&target->timer, soak_timer_callback,
                   delay < SOAK_RETRY_MAX ? delay : SOAK_RETRY_MAX, 0);
}

static void soak_pinged_callback(struct target *target, const struct error *err)
{
    if (err != NULL)
        soak_again(target, err);
    else
        soak_settle(target, NULL);
}

static void soak_reach_callback(const struct reach_result *result, void *arg)
{
    struct target *target = arg;
    target->reach = NULL;
    switch (result->verdict) {
    case REACH_PROVEN:
        soak_settle(target, NULL);
        break;
    case REACH_BROKEN:
        soak_again(target, &result->error);
        break;
    case REACH_REBOOTED:
        soak_failed(target, result->error.cls, "it has rebooted during the soak",
                    result->error.text);
        break;
    default:
        soak_failed(target, result->error.cls, "it is not well at the end of the soak",
                    result->error.text);
        break;
    }
}

/* Of the boot that must still be there. */
static const char *soak_boot_id(const struct target *target)
{
    const struct target_status *status = &target->status;
    return status->outcome == OUTCOME_FLASHED ? status->boot_id_after : status->boot_id_before;
}

static void soak_up_callback(struct link *link, const struct link_facts *facts, void *arg)
{
    (void)facts;
    struct target *target = arg;
    const struct target_spec *spec = target->status.spec;
    struct reach_config config = {
        .loop = target->env->loop,
        .store = target->env->store,
        .same_boot = true,
        .boot_id_before = soak_boot_id(target),
        .disk = target->status.facts.disk,
        .health = spec->health,
        .timeout = SOAK_SCRIPT_MS,
        .health_timeout = spec->reboot_timeout,
    };
    target->reach = reach_start(link, &config, soak_reach_callback, target);
    if (target->reach == NULL) {
        struct error err;
        error_set(&err, ERROR_NETWORK, "the connection was lost at once");
        soak_again(target, &err);
    }
}

static void soak_down_callback(struct link *link, const struct error *err, void *arg)
{
    (void)link;
    soak_again(arg, err);
}

/* The device must have the key that it had when it was proven, whatever was to be believed then. */
static void soak_link_config(const struct target *target, struct link_config *config)
{
    const struct target_status *status = &target->status;
    bool flashed = status->outcome == OUTCOME_FLASHED;
    const char *key = flashed ? status->after_fingerprint : status->host_fingerprint;
    target_link_config(target, flashed, config);
    if (config->connect_timeout > SOAK_CONNECT_MS)
        config->connect_timeout = SOAK_CONNECT_MS;
    if (key[0] != '\0') {
        config->hostkey = HOSTKEY_FINGERPRINT;
        config->fingerprint = key;
    }
}

static void soak_try(struct target *target)
{
    static const struct link_events events = {soak_up_callback, soak_down_callback};
    struct link_config config;
    if (target->status.spec->reach == REACH_PING) {
        target_ping(target, soak_pinged_callback);
        return;
    }
    soak_link_config(target, &config);
    target->link = link_open(target->env->links, &config, &events, target);
    if (target->link == NULL) {
        struct error err;
        error_set(&err, ERROR_IO, "out of memory");
        soak_again(target, &err);
    }
}

void target_soak_check(struct target *target)
{
    enum inventory_reach reach = target->status.spec->reach;
    target->tries = 0;
    if (reach == REACH_NONE || (reach == REACH_SSH && soak_boot_id(target)[0] == '\0')) {
        target_log(target, LOG_INFO, "nothing of it can be checked at the end of the soak");
        soak_settle(target, NULL);
        return;
    }
    soak_try(target);
}

void target_soak_cancel(struct target *target)
{
    if (!target->soaking)
        return;
    journal_forget(target->gate);
    target->gate = NULL;
    uv_timer_stop(&target->timer);
    target_disconnect(target);
}

/* Carried over from a run that ended in the middle of the soak. */
bool target_soak_resume(struct target *target, const struct journal_target *record)
{
    struct target_status *status = &target->status;
    bool flashed = strcmp(record->outcome, target_outcome_name(OUTCOME_FLASHED)) == 0;
    if (strcmp(record->step, JOURNAL_SOAK) != 0)
        return false;
    status->started = status->reached = true;
    status->state = STATE_REACHABILITY;
    status->outcome = flashed ? OUTCOME_FLASHED : OUTCOME_UNCHANGED;
    snprintf(status->boot_id_before, sizeof status->boot_id_before, "%s", record->boot_id);
    snprintf(status->boot_id_after, sizeof status->boot_id_after, "%s", record->boot_id_after);
    snprintf(status->host_fingerprint, sizeof status->host_fingerprint, "%s",
             record->host_fingerprint);
    snprintf(status->after_fingerprint, sizeof status->after_fingerprint, "%s",
             record->after_fingerprint);
    snprintf(status->facts.disk, sizeof status->facts.disk, "%s", record->disk);
    status->mode = (enum flash_mode)record->mode;
    target->step = STEP_DONE;
    target->soaking = true;
    target->soak_until = record->soak_until;
    return true;
}
