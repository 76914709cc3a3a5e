/* SPDX-License-Identifier: Apache-2.0 */
#include "target/status.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Less between two spans of one state is none. */
#define SPAN_GAP_MS 50u

void status_spend(struct target_status *status, uint64_t milliseconds, uint64_t now_ms)
{
    uint64_t from_ms = now_ms - milliseconds;
    struct state_span *last =
        status->span_count > 0 ? &status->spans[status->span_count - 1] : NULL;
    status->state_ms[status->state] += milliseconds;
    if (milliseconds == 0)
        return;
    if (last != NULL && (status->span_count == STATUS_SPANS_MAX ||
                         (last->state == status->state && from_ms <= last->to_ms + SPAN_GAP_MS)))
        last->to_ms = now_ms;
    else
        status->spans[status->span_count++] = (struct state_span){status->state, from_ms, now_ms};
}

const char *target_state_name(enum target_state state)
{
    static const char *const names[STATE_COUNT] = {"probe",  "transfer", "verify",
                                                   "commit", "reboot",   "reachability"};
    return names[state];
}

const char *target_outcome_name(enum target_outcome outcome)
{
    static const char *const names[OUTCOME_COUNT] = {"",       "flashed", "unchanged",
                                                     "failed", "skipped", "not-started"};
    return names[outcome];
}

const char *target_damage_name(enum target_damage damage)
{
    static const char *const names[] = {"untouched", "rebooted", "incomplete",
                                        "lost",      "idle",     "died"};
    return names[damage];
}

enum target_failure target_failure(const struct target_status *status)
{
    static const enum target_failure failures[] = {
        [DAMAGE_NONE] = FAILURE_BEFORE_COMMIT,      [DAMAGE_REBOOTED] = FAILURE_BEFORE_COMMIT,
        [DAMAGE_INCOMPLETE] = FAILURE_HALF_WRITTEN, [DAMAGE_LOST] = FAILURE_AFTER_COMMIT,
        [DAMAGE_IDLE] = FAILURE_AFTER_COMMIT,       [DAMAGE_DIED] = FAILURE_AFTER_COMMIT,
    };
    if (status->outcome == OUTCOME_SKIPPED)
        return FAILURE_REFUSED;
    if (status->outcome != OUTCOME_FAILED)
        return FAILURE_NONE;
    if (status->damage == DAMAGE_NONE && !status->reached)
        return FAILURE_UNREACHABLE;
    return failures[status->damage];
}

const char *target_failure_name(enum target_failure failure)
{
    static const char *const names[FAILURE_COUNT] = {
        "", "unreachable", "refused", "before-commit", "half-written", "after-commit"};
    return names[failure];
}

const char *flash_mode_name(enum flash_mode mode)
{
    static const char *const names[] = {"auto", "stage", "stream", "unchanged", "netboot"};
    return names[mode];
}

/* Copies a string member; control characters could draw on the user's terminal. */
static void copy_string(const json_t *object, const char *key, char *out, size_t out_size)
{
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(out, out_size, "%s", text != NULL ? text : "");
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
}

static uint64_t copy_number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static void read_partitions(struct target_facts *facts, const json_t *array)
{
    size_t count = json_array_size(array);
    for (size_t i = 0; i < count && facts->partition_count < STATUS_PARTITIONS_MAX; i++) {
        const json_t *object = json_array_get(array, i);
        struct fact_partition *partition = &facts->partitions[facts->partition_count++];
        copy_string(object, "path", partition->path, sizeof partition->path);
        copy_string(object, "filesystem", partition->filesystem, sizeof partition->filesystem);
        copy_string(object, "label", partition->label, sizeof partition->label);
        copy_string(object, "boot_loader", partition->boot_loader, sizeof partition->boot_loader);
        partition->number = (unsigned)copy_number(object, "number");
        partition->start = copy_number(object, "start");
        partition->size = copy_number(object, "size");
        partition->is_data = json_is_true(json_object_get(object, "is_data"));
        const json_t *mounts = json_object_get(object, "mountpoints");
        const char *mount = json_string_value(json_array_get(mounts, 0));
        snprintf(partition->mountpoint, sizeof partition->mountpoint, "%s",
                 mount != NULL ? mount : "");
    }
}

static void read_warnings(struct target_facts *facts, const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *entry = json_array_get(array, i);
        const char *text = json_string_value(entry);
        if (text == NULL)
            text = json_string_value(json_object_get(entry, "text"));
        if (text != NULL && facts->warning_count < STATUS_WARNINGS_MAX)
            snprintf(facts->warnings[facts->warning_count++], sizeof facts->warnings[0], "%s",
                     text);
    }
}

/* The first rule that forbids to flash this device. */
static int read_refusal(const json_t *array, struct error *err)
{
    const json_t *first = json_array_get(array, 0);
    if (first == NULL)
        return 0;
    char text[380];
    char remedy[230];
    copy_string(first, "text", text, sizeof text);
    copy_string(first, "remedy", remedy, sizeof remedy);
    error_set(err, ERROR_REFUSED, "%s", text);
    if (remedy[0] != '\0')
        error_remedy(err, "%s", remedy);
    return -1;
}

int target_facts_read(struct target_facts *facts, const char *json, size_t size, struct error *err)
{
    memset(facts, 0, sizeof *facts);
    json_error_t problem;
    json_t *root = json_loadb(json, size, 0, &problem);
    if (root == NULL)
        return error_set(err, ERROR_PROTOCOL, "the agent's facts are not JSON: %s", problem.text);
    facts->known = true;
    copy_string(root, "model", facts->model, sizeof facts->model);
    copy_string(root, "kernel", facts->kernel, sizeof facts->kernel);
    copy_string(root, "machine", facts->machine, sizeof facts->machine);
    copy_string(root, "hostname", facts->hostname, sizeof facts->hostname);
    copy_string(root, "init", facts->init, sizeof facts->init);
    facts->memory_total = copy_number(root, "memory_total");
    facts->memory_available = copy_number(root, "memory_available");
    facts->stage_room = copy_number(root, "stage_room");
    const json_t *network = json_object_get(root, "network");
    copy_string(network, "interface", facts->interface, sizeof facts->interface);
    facts->wifi = json_is_true(json_object_get(network, "wifi"));
    const json_t *lease = json_object_get(network, "lease");
    facts->lease = json_is_integer(lease) ? (int64_t)json_integer_value(lease) : -1;
    const json_t *disk = json_object_get(root, "disk");
    copy_string(disk, "path", facts->disk, sizeof facts->disk);
    copy_string(disk, "serial", facts->disk_serial, sizeof facts->disk_serial);
    copy_string(disk, "model", facts->disk_model, sizeof facts->disk_model);
    copy_string(disk, "table", facts->table, sizeof facts->table);
    copy_string(disk, "signature", facts->signature, sizeof facts->signature);
    if (facts->signature[0] == '\0')
        copy_string(disk, "guid", facts->signature, sizeof facts->signature);
    facts->disk_size = copy_number(disk, "size");
    facts->disk_sector = (uint32_t)copy_number(disk, "logical_sector");
    facts->stale_table = json_is_true(json_object_get(disk, "stale_table"));
    const json_t *filesystem = json_object_get(root, "root");
    copy_string(filesystem, "fstype", facts->root_filesystem, sizeof facts->root_filesystem);
    copy_string(filesystem, "kind", facts->root_kind, sizeof facts->root_kind);
    read_partitions(facts, json_object_get(root, "partitions"));
    read_warnings(facts, json_object_get(root, "warnings"));
    int result = read_refusal(json_object_get(root, "refusals"), err);
    json_decref(root);
    return result;
}
