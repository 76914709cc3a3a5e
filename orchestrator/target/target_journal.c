/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed controller must know of a target, written before it takes effect, and the way back
 * from it. */
#include "target/target_internal.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const char *const step_names[STEP_COUNT] = {
    [STEP_IDLE] = "idle",
    [STEP_BACKOFF] = "backoff",
    [STEP_CONNECT] = "connect",
    [STEP_DEPLOY] = "deploy",
    [STEP_ATTACH] = "attach",
    [STEP_FACTS] = "facts",
    [STEP_PROBED] = "probed",
    [STEP_KEEP] = "keep",
    [STEP_BEGIN] = "begin",
    [STEP_STAGE] = "stage",
    [STEP_LIFELINE] = "lifeline",
    [STEP_POLICY] = "policy",
    [STEP_FENCE] = "fence",
    [STEP_WRITE] = "write",
    [STEP_REBOOT] = "reboot",
    [STEP_AWAY] = "away",
    [STEP_RETURN] = "return",
    [STEP_PROVE] = "prove",
    [STEP_NETBOOT_PROBE] = "netboot-probe",
    [STEP_NETBOOT] = "netboot",
    [STEP_WELCOME] = "welcome",
    [STEP_UNDO] = "undo",
    [STEP_DONE] = "done",
};

static void record_fill(const struct target *target, struct journal_target *record)
{
    const struct target_status *status = &target->status;
    memset(record, 0, sizeof *record);
    snprintf(record->name, sizeof record->name, "%s", status->spec->name);
    snprintf(record->step, sizeof record->step, "%s",
             target->soaking ? JOURNAL_SOAK : step_names[target->step]);
    snprintf(record->state, sizeof record->state, "%s", target_state_name(status->state));
    snprintf(record->outcome, sizeof record->outcome, "%s", target_outcome_name(status->outcome));
    snprintf(record->error, sizeof record->error, "%s", status->error.text);
    snprintf(record->damage, sizeof record->damage, "%s", target_damage_name(status->damage));
    record->has_key = target->deploys > 0; /* an agent may have been started with it */
    memcpy(record->key, target->deploy_config.key, sizeof record->key);
    snprintf(record->directory, sizeof record->directory, "%s", target->deployed.directory);
    record->port = target->deployed.port;
    record->uid = target->deployed.uid;
    record->deploys = target->deploys;
    record->is_root = target->deployed.is_root;
    record->write_sent = target->write_sent || target->step == STEP_WRITE ||
                         (target->is_local && target->step == STEP_FENCE);
    record->via_lifeline = target->via_lifeline;
    snprintf(record->boot_id, sizeof record->boot_id, "%s", status->boot_id_before);
    snprintf(record->machine, sizeof record->machine, "%s", target->deployed.machine);
    snprintf(record->disk, sizeof record->disk, "%s", status->facts.disk);
    snprintf(record->host_fingerprint, sizeof record->host_fingerprint, "%s",
             status->host_fingerprint);
    record->mode = (uint8_t)status->mode;
    snprintf(record->boot_id_after, sizeof record->boot_id_after, "%s", status->boot_id_after);
    snprintf(record->after_fingerprint, sizeof record->after_fingerprint, "%s",
             status->after_fingerprint);
    record->soak_until = target->soaking ? target->soak_until : 0;
    target_device_address(status->spec, record->address, sizeof record->address);
    snprintf(record->serial, sizeof record->serial, "%s", status->facts.disk_serial);
    record->verified = target->verified;
    if (target->verified)
        sodium_bin2hex(record->image_id, sizeof record->image_id,
                       store_info(target->env->store)->image_id, PROTOCOL_HASH_SIZE);
}

struct journal_write *target_record(struct target *target, journal_callback callback)
{
    if (target->env->journal == NULL)
        return NULL;
    struct journal_target record;
    record_fill(target, &record);
    return journal_put(target->env->journal, target->env->run_id, &record, callback, target);
}

/* Where a target of a killed run goes on. An agent that has begun to fence or write can be reached
 * by its own port alone; one that has finished has rebooted by itself. */
void target_resume(struct target *target, const struct journal_target *record)
{
    struct target_status *status = &target->status;
    target->resumed = true;
    if (target_soak_resume(target, record))
        return;
    target->deploys = record->deploys;
    bool netboot = strcmp(record->step, "netboot") == 0;
    target->recovering = netboot && target_wanted_mode(target->env, status->spec) != MODE_NETBOOT;
    if (!record->has_key)
        return;
    status->reached = true;
    memcpy(target->deploy_config.key, record->key, sizeof record->key);
    target->has_agent = record->directory[0] != '\0';
    snprintf(target->deployed.directory, sizeof target->deployed.directory, "%s",
             record->directory);
    snprintf(target->deployed.machine, sizeof target->deployed.machine, "%s", record->machine);
    target->deployed.port = record->port;
    target->deployed.uid = record->uid;
    target->deployed.is_root = record->is_root;
    snprintf(status->boot_id_before, sizeof status->boot_id_before, "%s", record->boot_id);
    snprintf(status->facts.disk, sizeof status->facts.disk, "%s", record->disk);
    snprintf(status->host_fingerprint, sizeof status->host_fingerprint, "%s",
             record->host_fingerprint);
    status->mode = (enum flash_mode)record->mode;
    if (target->is_local) {
        target_local_resume(target, record);
        return;
    }

    bool fenced = strcmp(record->step, "fence") == 0 || record->via_lifeline;
    bool away = strcmp(record->step, "reboot") == 0 || strcmp(record->step, "away") == 0 ||
                strcmp(record->step, "return") == 0 || strcmp(record->step, "prove") == 0 ||
                strcmp(record->step, "welcome") == 0;
    bool writing = record->write_sent && !away;
    target->via_lifeline = (fenced || writing) && !away && record->port != 0;
    target->write_sent = record->write_sent;
    target->lifeline_proven = target->via_lifeline;
    target->resume_away = away || (writing && record->port == 0);
}
