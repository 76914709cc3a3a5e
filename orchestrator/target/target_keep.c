/* SPDX-License-Identifier: Apache-2.0 */
/* `if_used: keep`: a device that was last flashed with this very image, and still runs it, is left
 * as it is, though it was used since. Whatever is in doubt is flashed. */
#include "target/target_internal.h"

#include "journal/devices.h"
#include "target/shift.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

void target_device_address(const struct target_spec *spec, char *out, size_t size)
{
    snprintf(out, size, "%s:%u", spec->host, spec->port);
}

void target_keep_look_up(struct target *target)
{
    const struct target_spec *spec = target->status.spec;
    if (target->env->known == NULL || spec->if_used != IF_USED_KEEP || target->env->force)
        return;
    char address[300];
    struct error err = {0};
    struct device_record record;
    target_device_address(spec, address, sizeof address);
    int found = devices_find(target->env->known, spec->name, address, &record, &err);
    if (found < 0)
        target_log(target, LOG_WARNING, "%s; it is flashed where it differs", err.text);
    if (found > 0)
        target->flashed_with = record;
}

/* Why the record does not speak for this device and image; NULL: it does. */
static const char *record_objection(const struct target *target)
{
    const struct device_record *record = &target->flashed_with;
    const struct target_facts *facts = &target->status.facts;
    char image_id[2 * PROTOCOL_HASH_SIZE + 1];
    sodium_bin2hex(image_id, sizeof image_id, store_info(target->env->store)->image_id,
                   PROTOCOL_HASH_SIZE);
    if (record->image_id[0] == '\0')
        return "no flash of it is on record";
    if (strcmp(record->image_id, image_id) != 0)
        return "it was last flashed with another image";
    if (strcmp(record->serial, facts->disk_serial) != 0)
        return "its disk is another one than was flashed";
    if (strcmp(record->machine, target->deployed.machine) != 0)
        return "it is another machine than was flashed";
    return NULL;
}

/* It is flashed; or, asked for the plan, would be. */
static void keep_not(struct target *target)
{
    target->looked = true;
    target_set_step(target, target->go ? STEP_BEGIN : STEP_PROBED);
}

static bool keep_is_wanted(const struct target *target)
{
    return target->status.spec->if_used == IF_USED_KEEP && !target->env->force && !target->resumed;
}

bool target_look(struct target *target)
{
    if (target->looked || !keep_is_wanted(target) || target->env->store == NULL ||
        target->step == STEP_DONE)
        return false;
    if (target->step == STEP_PROBED)
        target_set_step(target, STEP_KEEP);
    return !target->looked;
}

static void keep_callback(const struct reach_result *result, void *arg)
{
    struct target *target = arg;
    target->reach = NULL;
    if (target->step != STEP_KEEP)
        return; /* it is being backed out meanwhile */
    if (result->verdict == REACH_PROVEN) {
        snprintf(target->status.proof, sizeof target->status.proof, "%s", result->proof);
        target_log(target, LOG_INFO, "kept as it is (if_used: keep): %s", result->proof);
        target_back_out(target, OUTCOME_UNCHANGED, NULL);
        return;
    }
    target_log(target, LOG_INFO, "not kept: %s", result->error.text);
    keep_not(target);
}

void target_enter_keep(struct target *target)
{
    const struct target_spec *spec = target->status.spec;
    if (!keep_is_wanted(target) || target->link == NULL) {
        keep_not(target);
        return;
    }
    const char *objection = record_objection(target);
    if (objection != NULL) {
        target_log(target, LOG_INFO, "not kept: %s", objection);
        keep_not(target);
        return;
    }
    struct reach_config config = {
        .loop = target->env->loop,
        .store = target->env->store,
        .still = true,
        .shifted = shift_is_wanted(spec),
        .boot_id_before = "",
        .disk = target->status.facts.disk,
        .use_sudo = spec->become == BECOME_SUDO,
        .health = spec->health,
        .timeout = spec->transfer_timeout,
        .health_timeout = spec->transfer_timeout,
    };
    reach_fill_samples(&config);
    target->reach = reach_start(target->link, &config, keep_callback, target);
    if (target->reach == NULL)
        keep_not(target);
}
