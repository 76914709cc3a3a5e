/* SPDX-License-Identifier: Apache-2.0 */
#include "report/record.h"

#include "report/text.h"

json_t *record_text(const char *text)
{
    char valid[TEXT_MAX];
    if (text == NULL || text[0] == '\0')
        return json_null();
    return json_string(text_valid(text, valid, sizeof valid));
}

json_t *record_time(uint64_t unix_ms)
{
    char text[TEXT_TIME_SIZE];
    return unix_ms != 0 ? json_string(text_time(unix_ms, text)) : json_null();
}

json_t *record_seconds(uint64_t milliseconds)
{
    return json_real((double)milliseconds / 1000);
}

json_t *record_counts(const struct run_view *run)
{
    struct fleet fleet;
    fleet_count(run, &fleet);
    json_t *counts = json_object();
    for (int i = OUTCOME_NONE + 1; i < OUTCOME_COUNT; i++)
        json_object_set_new(counts, target_outcome_name((enum target_outcome)i),
                            json_integer((json_int_t)fleet.outcomes[i]));
    json_object_set_new(counts, "unfinished",
                        json_integer((json_int_t)fleet.outcomes[OUTCOME_NONE]));
    return counts;
}

json_t *record_error(const struct error *error)
{
    if (error->cls == ERROR_NONE)
        return json_null();
    return json_pack("{s:s, s:o, s:o}", "class", error_class_name(error->cls), "text",
                     record_text(error->text), "remedy", record_text(error->remedy));
}

static json_t *record_states(const struct target_status *target)
{
    json_t *seconds = json_object();
    for (int i = 0; i < STATE_COUNT; i++)
        json_object_set_new(seconds, target_state_name((enum target_state)i),
                            record_seconds(target->state_ms[i]));
    return seconds;
}

static json_t *record_timeline(const struct target_status *target)
{
    json_t *timeline = json_array();
    for (unsigned i = 0; i < target->span_count; i++) {
        const struct state_span *span = &target->spans[i];
        json_array_append_new(
            timeline, json_pack("{s:s, s:o, s:o}", "state", target_state_name(span->state), "start",
                                record_time(span->from_ms), "end", record_time(span->to_ms)));
    }
    return timeline;
}

static json_t *record_disk(const struct target_facts *facts)
{
    if (!facts->known)
        return json_null();
    json_t *size = facts->disk_size != 0 ? json_integer((json_int_t)facts->disk_size) : json_null();
    return json_pack("{s:o, s:o, s:o, s:o}", "path", record_text(facts->disk), "size", size,
                     "serial", record_text(facts->disk_serial), "model",
                     record_text(facts->disk_model));
}

json_t *record_target(const struct target_status *target)
{
    char address[300];
    const struct target_spec *spec = target->spec;
    target_address(spec, address, sizeof address);
    json_t *record = json_pack(
        "{s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:s}", /* who, and how it ended */
        "name", record_text(spec->name), "group", record_text(spec->group), "address",
        record_text(address), "wave", (int)target->wave + 1, "outcome",
        record_text(target_outcome_name(target->outcome)), "state",
        target->started ? record_text(target_state_name(target->state)) : json_null(), "error",
        record_error(&target->error), "damage", target_damage_name(target->damage));
    json_object_set_new(record, "failure",
                        record_text(target_failure_name(target_failure(target))));
    json_t *work =
        json_pack("{s:s, s:o, s:I, s:I, s:I, s:i, s:o, s:o, s:o, s:o}", /* what was done */
                  "mode", flash_mode_name(target->mode), "mode_reason",
                  record_text(target->mode_reason), "bytes_sent", (json_int_t)target->bytes_sent,
                  "bytes_written", (json_int_t)target->bytes_written, "bytes_skipped",
                  (json_int_t)target->bytes_skipped, "attempts", (int)target->attempts, "start",
                  record_time(target->started_ms), "end", record_time(target->ended_ms), "seconds",
                  record_states(target), "timeline", record_timeline(target));
    json_t *proof =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", /* what it is and was */
                  "model", record_text(target->facts.model), "boot_id_before",
                  record_text(target->boot_id_before), "boot_id_after",
                  record_text(target->boot_id_after), "proof", record_text(target->proof),
                  "host_key_before", record_text(target->host_fingerprint), "host_key_after",
                  record_text(target->after_fingerprint), "disk", record_disk(&target->facts));
    json_object_update(record, work);
    json_object_update(record, proof);
    json_decref(work);
    json_decref(proof);
    return record;
}

char *record_dump(const json_t *value, size_t flags)
{
    return json_dumps(value, flags | JSON_REAL_PRECISION(12));
}
