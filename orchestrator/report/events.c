/* SPDX-License-Identifier: Apache-2.0 */
#include "report/events.h"

#include "report/outbox.h"
#include "report/record.h"

#include <stdlib.h>
#include <string.h>

#define PROGRESS_MS      1000u               /* between two progress events of a target */
#define PROGRESS_BACKLOG ((size_t)64 * 1024) /* unread bytes at which progress is left out */

/* What was told of a target. */
struct told {
    bool started;
    enum target_state state;
    uint64_t progress_at;
    uint32_t blocks_done;
};

struct events {
    struct events_options options;
    struct outbox *outbox; /* NULL: events are kept */
    const char *run;       /* its id, once it has started */
    struct slots told;     /* struct told */
};

struct events *events_new(const struct events_options *options)
{
    struct events *events = calloc(1, sizeof *events);
    if (events == NULL)
        return NULL;
    events->options = *options;
    if (events->options.unix_now == NULL)
        events->options.unix_now = clock_unix;
    events->told.item = sizeof(struct told);
    if (options->keep == NULL && (events->outbox = outbox_new(options->fd)) == NULL) {
        free(events);
        return NULL;
    }
    return events;
}

int events_error(struct events *events)
{
    return events != NULL && events->outbox != NULL ? outbox_error(events->outbox) : 0;
}

void events_free(struct events *events)
{
    if (events == NULL)
        return;
    outbox_free(events->outbox);
    slots_free(&events->told);
    free(events);
}

/* Writes one event; takes over fields. */
static void emit(struct events *events, const char *name, json_t *fields)
{
    json_t *event =
        json_pack("{s:s, s:o}", "event", name, "time", record_time(events->options.unix_now()));
    json_object_update(event, fields);
    char *text = record_dump(event, JSON_COMPACT);
    const char *target = json_string_value(json_object_get(event, "target"));
    if (text != NULL && events->outbox == NULL) {
        events->options.keep(events->run != NULL ? events->run : "", target != NULL ? target : "",
                             name, text, events->options.arg);
    } else if (text != NULL) {
        size_t size = strlen(text);
        text[size] = '\n'; /* instead of the end: sent with its length */
        outbox_add(events->outbox, text, size + 1);
    }
    free(text);
    json_decref(fields);
    json_decref(event);
}

/* --- the run ---------------------------------------------------------------------------------- */

static void events_run_started(const struct run_view *run, void *arg)
{
    struct events *events = arg;
    events->run = run->id;
    emit(arg, "run_started",
         json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:I, s:i}", "version", EVENTS_VERSION, "run",
                   record_text(run->id), "command", record_text(run->command), "image",
                   record_text(run->image), "inventory", record_text(run->inventory), "controller",
                   record_text(run->controller), "targets", (json_int_t)run->target_count, "waves",
                   (int)run->wave_count));
}

static void events_image_ready(const struct run_view *run, void *arg)
{
    const struct store_info *info = run->store;
    if (info == NULL)
        return;
    const struct image_facts *facts = &info->facts;
    emit(arg, "image_ready",
         json_pack(
             "{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:b, s:f, s:o, s:o, s:o}",
             "image", record_text(run->image), "format", record_text(facts->format), "sha256",
             record_text(facts->sha256), "file_size", (json_int_t)facts->file_size, "size",
             (json_int_t)info->image_size, "block_size", (json_int_t)info->block_size, "blocks",
             (json_int_t)info->block_count, "zero_blocks", (json_int_t)info->zero_blocks,
             "unmapped_blocks", (json_int_t)info->unmapped_blocks, "wire_bytes",
             (json_int_t)info->wire_bytes, "signers", record_text(info->signers), "from_cache",
             (int)info->from_cache, "decode_seconds", info->decode_seconds, "table",
             record_text(facts->table), "os", record_text(facts->os_name), "machine",
             record_text(facts->machine)));
}

static void events_wave_started(const struct run_view *run, unsigned wave, void *arg)
{
    json_int_t count = 0;
    for (size_t i = 0; i < run->target_count; i++)
        count += run->targets[i]->wave == wave;
    emit(arg, "wave_started",
         json_pack("{s:i, s:i, s:I}", "wave", (int)wave + 1, "waves", (int)run->wave_count,
                   "targets", count));
}

/* The wave's devices are done, and time passes before they are looked at again. */
static void events_soak_started(const struct run_view *run, unsigned wave, uint64_t until,
                                void *arg)
{
    (void)run;
    emit(arg, "soak_started",
         json_pack("{s:i, s:o}", "wave", (int)wave + 1, "until", record_time(until)));
}

static void events_soak_ended(const struct run_view *run, unsigned wave, void *arg)
{
    json_int_t died = 0;
    for (size_t i = 0; i < run->target_count; i++)
        died += run->targets[i]->wave == wave && run->targets[i]->damage == DAMAGE_DIED;
    emit(arg, "soak_ended", json_pack("{s:i, s:I}", "wave", (int)wave + 1, "died", died));
}

static void events_message(const struct run_view *run, enum log_level level, const char *text,
                           void *arg)
{
    (void)run;
    const struct events *events = arg;
    if (level >= LOG_INFO || events->options.verbosity >= 2)
        emit(arg, "message",
             json_pack("{s:s, s:o}", "level", log_level_name(level), "text", record_text(text)));
}

static void events_run_ended(const struct run_view *run, void *arg)
{
    struct fleet fleet;
    fleet_count(run, &fleet);
    emit(arg, "run_ended",
         json_pack("{s:o, s:i, s:o, s:o, s:b, s:o, s:I, s:I, s:I}", "run", record_text(run->id),
                   "exit_code", run->exit_code, "seconds", record_seconds(run_duration(run)),
                   "halted", record_text(run->halted), "interrupted", (int)run->interrupted,
                   "counts", record_counts(run), "bytes_sent", (json_int_t)fleet.bytes_sent,
                   "bytes_written", (json_int_t)fleet.bytes_written, "bytes_skipped",
                   (json_int_t)fleet.bytes_skipped));
}

/* --- targets ---------------------------------------------------------------------------------- */

static void emit_state(struct events *events, const struct target_status *target,
                       const struct told *told)
{
    emit(events, "target_state",
         json_pack("{s:o, s:s, s:o, s:o, s:s, s:i}", "target", record_text(target->spec->name),
                   "state", target_state_name(target->state), "previous",
                   told->started ? record_text(target_state_name(told->state)) : json_null(),
                   "activity", record_text(target->activity), "mode", flash_mode_name(target->mode),
                   "attempts", (int)target->attempts));
}

static void emit_progress(struct events *events, const struct target_status *target)
{
    json_t *remaining = target->remaining_ms != UINT64_MAX && target->rate > 0
                            ? record_seconds(target->remaining_ms)
                            : json_null();
    emit(events, "target_progress",
         json_pack("{s:o, s:s, s:o, s:I, s:I, s:I, s:o, s:I, s:I}", "target",
                   record_text(target->spec->name), "state", target_state_name(target->state),
                   "activity", record_text(target->activity), "blocks_done",
                   (json_int_t)target->blocks_done, "blocks_total",
                   (json_int_t)target->blocks_total, "rate", (json_int_t)target->rate,
                   "remaining_seconds", remaining, "bytes_sent", (json_int_t)target->bytes_sent,
                   "bytes_written", (json_int_t)target->bytes_written));
}

static void events_target_changed(const struct run_view *run, const struct target_status *target,
                                  void *arg)
{
    (void)run;
    struct events *events = arg;
    struct told *told = slots_at(&events->told, target->index);
    if (told == NULL || !target_is_active(target))
        return;
    uint64_t now = events->options.unix_now();
    if (!told->started || told->state != target->state) {
        emit_state(events, target, told);
        told->started = true;
        told->state = target->state;
        return;
    }
    bool moved = target->blocks_done != told->blocks_done;
    bool due = now >= told->progress_at + PROGRESS_MS || now < told->progress_at;
    if (moved && due && events->outbox != NULL &&
        outbox_pending(events->outbox) < PROGRESS_BACKLOG) {
        told->progress_at = now;
        told->blocks_done = target->blocks_done;
        emit_progress(events, target);
    }
}

static void events_target_log(const struct run_view *run, const struct target_status *target,
                              enum log_level level, const char *text, void *arg)
{
    (void)run;
    const struct events *events = arg;
    if (level >= LOG_INFO || events->options.verbosity >= 2)
        emit(arg, "target_log",
             json_pack("{s:o, s:s, s:o}", "target", record_text(target->spec->name), "level",
                       log_level_name(level), "text", record_text(text)));
}

/* All that the report will say of it. */
static void events_target_done(const struct run_view *run, const struct target_status *target,
                               void *arg)
{
    (void)run;
    json_t *fields = record_target(target);
    json_object_set_new(fields, "target", record_text(target->spec->name));
    json_object_del(fields, "name"); /* every event calls it "target" */
    emit(arg, "target_done", fields);
}

static void events_target_soaked(const struct run_view *run, const struct target_status *target,
                                 void *arg)
{
    (void)run;
    emit(arg, "target_soaked",
         json_pack("{s:o, s:s, s:s, s:o}", "target", record_text(target->spec->name), "outcome",
                   target_outcome_name(target->outcome), "damage",
                   target_damage_name(target->damage), "error", record_error(&target->error)));
}

struct run_observer events_observer(struct events *events)
{
    return (struct run_observer){
        .run_started = events_run_started,
        .image_ready = events_image_ready,
        .wave_started = events_wave_started,
        .target_changed = events_target_changed,
        .target_log = events_target_log,
        .target_done = events_target_done,
        .soak_started = events_soak_started,
        .target_soaked = events_target_soaked,
        .soak_ended = events_soak_ended,
        .message = events_message,
        .run_ended = events_run_ended,
        .arg = events,
    };
}
