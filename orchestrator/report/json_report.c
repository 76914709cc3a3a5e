/* SPDX-License-Identifier: Apache-2.0 */
#include "report/json_report.h"

#include "report/record.h"

#include <limits.h>

/* --- the document ------------------------------------------------------------------------- */

#define ALL_WAVES UINT_MAX

static json_t *record_run(const struct run_view *run, unsigned wave)
{
    struct fleet fleet;
    fleet_count(run, &fleet);
    const struct store_info *info = run->store;
    json_t *record =
        json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:b}", /* */
                  "version", REPORT_VERSION, "run", record_text(run->id), "command",
                  record_text(run->command), "inventory", record_text(run->inventory), "controller",
                  record_text(run->controller), "start", record_time(run->started_ms), "end",
                  record_time(run->ended_ms), "seconds", record_seconds(run_duration(run)), "image",
                  json_null(), "exit_code", run->exit_code, "halted", record_text(run->halted),
                  "interrupted", (int)run->interrupted);
    if (run->image != NULL)
        json_object_set_new(
            record, "image",
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "path", record_text(run->image), "format",
                      record_text(info != NULL ? info->facts.format : NULL), "sha256",
                      record_text(info != NULL ? info->facts.sha256 : NULL), "size",
                      info != NULL ? json_integer((json_int_t)info->image_size) : json_null(),
                      "unmapped_blocks",
                      info != NULL ? json_integer((json_int_t)info->unmapped_blocks) : json_null(),
                      "signers", record_text(info != NULL ? info->signers : NULL)));
    json_object_set_new(record, "problem", record_text(run->problem));
    json_object_set_new(record, "counts", record_counts(run));
    json_object_set_new(record, "bytes_sent", json_integer((json_int_t)fleet.bytes_sent));
    json_object_set_new(record, "bytes_written", json_integer((json_int_t)fleet.bytes_written));
    json_object_set_new(record, "bytes_skipped", json_integer((json_int_t)fleet.bytes_skipped));
    json_t *targets = json_array();
    for (size_t i = 0; i < run->target_count; i++) {
        if (wave == ALL_WAVES || run->targets[i]->wave == wave)
            json_array_append_new(targets, record_target(run->targets[i]));
    }
    json_object_set_new(record, "targets", targets);
    if (wave != ALL_WAVES)
        json_object_set_new(record, "wave", json_integer((json_int_t)wave + 1));
    return record;
}

char *report_wave_text(const struct run_view *run, unsigned wave)
{
    json_t *record = record_run(run, wave);
    char *text = record_dump(record, JSON_INDENT(2));
    json_decref(record);
    return text;
}

char *report_text(const struct run_view *run)
{
    json_t *record = record_run(run, ALL_WAVES);
    char *text = record_dump(record, JSON_INDENT(2));
    json_decref(record);
    return text;
}
