/* SPDX-License-Identifier: Apache-2.0 */
#include "report/past.h"

#include "base/units.h"
#include "report/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct past {
    struct journal *journal;
    FILE *out;
    struct paint paint;
    const char *id; /* only this one; NULL: all */
    unsigned runs;
    json_t *steps; /* of the device at hand */
    uint64_t first_ms;
};

/* --- texts ----------------------------------------------------------------------------- */

/* In local time: this is for whoever sits here. */
static char *local_time(uint64_t unix_ms, char out[static 32])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
    return out;
}

static char *took(const struct journal_run *run, char *out, size_t size)
{
    if (run->ended < run->started)
        snprintf(out, size, "not ended");
    else
        units_format_duration((run->ended - run->started) / 1000 * 1000, out, size);
    return out;
}

/* "12: 11 flashed, 1 failed" */
static char *devices(const struct history_counts *counts, char *out, size_t size)
{
    const struct {
        unsigned count;
        const char *word;
    } parts[] = {{counts->flashed, "flashed"},         {counts->unchanged, "unchanged"},
                 {counts->failed, "failed"},           {counts->skipped, "skipped"},
                 {counts->not_started, "not started"}, {counts->under_way, "under way"}};
    size_t used = (size_t)snprintf(out, size, "%u", counts->devices);
    const char *between = ": ";
    for (size_t i = 0; i < sizeof parts / sizeof *parts && used < size; i++) {
        if (parts[i].count == 0)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%u %s", between, parts[i].count,
                                 parts[i].word);
        between = ", ";
    }
    return out;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* --- runs ------------------------------------------------------------------------------ */

static void run_line(const struct journal_run *run, const struct history_counts *counts, void *arg)
{
    struct past *past = arg;
    char started[32], duration[32], devices_text[160], image[TEXT_MAX], exit_code[16] = "-";
    if (past->runs++ == 0)
        fprintf(past->out, "%-20s  %-19s  %-9s  %4s  %-36s  %s\n", "RUN", "STARTED", "TOOK", "EXIT",
                "DEVICES", "IMAGE");
    if (run->ended >= run->started)
        snprintf(exit_code, sizeof exit_code, "%d", run->exit_code);
    fprintf(past->out, "%-20s  %-19s  %-9s  %4s  %-36s  %s\n", run->id,
            local_time(run->started, started), took(run, duration, sizeof duration), exit_code,
            devices(counts, devices_text, sizeof devices_text),
            text_clean(last_part(run->image), past->paint.utf8, image, sizeof image));
}

static json_t *json_text(const char *text)
{
    char valid[TEXT_MAX];
    return text[0] == '\0' ? NULL : json_string(text_valid(text, valid, sizeof valid));
}

static json_t *json_time(uint64_t unix_ms)
{
    char text[TEXT_TIME_SIZE];
    return unix_ms == 0 ? NULL : json_string(text_time(unix_ms, text));
}

static void print_object(json_t *object, FILE *out)
{
    if (object != NULL && json_dumpf(object, out, JSON_COMPACT) == 0)
        fputc('\n', out);
    json_decref(object);
}

static void run_json(const struct journal_run *run, const struct history_counts *counts, void *arg)
{
    struct past *past = arg;
    bool ended = run->ended >= run->started;
    if (past->id != NULL && strcmp(past->id, run->id) != 0)
        return;
    json_t *outcomes = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "flashed", (int)counts->flashed,
                                 "unchanged", (int)counts->unchanged, "failed", (int)counts->failed,
                                 "skipped", (int)counts->skipped, "not-started",
                                 (int)counts->not_started, "under-way", (int)counts->under_way);
    print_object(json_pack("{s:s, s:i, s:s, s:o?, s:o?, s:o?, s:o?, s:o?, s:o?, s:i, s:o}", "event",
                           "run_listed", "version", 1, "run", run->id, "started",
                           json_time(run->started), "ended", json_time(ended ? run->ended : 0),
                           "exit_code", ended ? json_integer(run->exit_code) : NULL, "inventory",
                           json_text(run->inventory), "image", json_text(run->image), "image_id",
                           json_text(run->image_id), "devices", (int)counts->devices, "outcomes",
                           outcomes),
                 past->out);
}

int past_print_runs(struct journal *journal, bool json, FILE *out, struct error *err)
{
    struct past past = {.journal = journal, .out = out, .paint = paint_for(STDOUT_FILENO)};
    if (history_each_run(journal, json ? run_json : run_line, &past, err) != 0)
        return -1;
    if (past.runs == 0 && !json)
        fprintf(out, "no run yet\n");
    return 0;
}

/* --- one run --------------------------------------------------------------------------- */

static void run_head(const struct journal_run *run, const struct history_counts *counts, void *arg)
{
    struct past *past = arg;
    char started[32], duration[32], text[TEXT_MAX];
    if (strcmp(past->id, run->id) != 0)
        return;
    fprintf(past->out, "run        %s\nstarted    %s", run->id, local_time(run->started, started));
    if (run->ended >= run->started)
        fprintf(past->out, ", took %s, exit code %d\n", took(run, duration, sizeof duration),
                run->exit_code);
    else
        fprintf(past->out, ", not ended in order (killed, or at work)\n");
    fprintf(past->out, "inventory  %s\n",
            text_clean(run->inventory, past->paint.utf8, text, sizeof text));
    fprintf(past->out, "image      %s\n",
            text_clean(run->image, past->paint.utf8, text, sizeof text));
    fprintf(past->out, "devices    %s\n", devices(counts, text, sizeof text));
}

static void step_line(const struct history_step *step, void *arg)
{
    struct past *past = arg;
    char since[32];
    if (past->first_ms == 0)
        past->first_ms = step->time;
    uint64_t elapsed = step->time > past->first_ms ? step->time - past->first_ms : 0;
    fprintf(past->out, "    +%-8s %-13s %s%s%s\n",
            units_format_duration(elapsed, since, sizeof since), step->state, step->step,
            step->outcome[0] != '\0' ? ": " : "", step->outcome);
}

static void step_json(const struct history_step *step, void *arg)
{
    struct past *past = arg;
    json_array_append_new(past->steps, json_pack("{s:o?, s:s, s:s}", "time", json_time(step->time),
                                                 "state", step->state, "step", step->step));
}

static void target_json(const struct past *past, const struct journal_target *target)
{
    bool failed = strcmp(target->outcome, "failed") == 0;
    print_object(json_pack("{s:s, s:i, s:s, s:s, s:s, s:o?, s:o?, s:o?, s:o?, s:O}", "event",
                           "target_recorded", "version", 1, "run", past->id, "target", target->name,
                           "state", target->state, "outcome", json_text(target->outcome), "error",
                           json_text(target->error), "damage",
                           failed ? json_text(target->damage) : NULL, "disk",
                           json_text(target->disk), "steps", past->steps),
                 past->out);
}

static void target_lines(const struct past *past, const struct journal_target *target)
{
    char name[TEXT_MAX], text[TEXT_MAX];
    const char *outcome = target->outcome[0] != '\0' ? target->outcome : "under way";
    fprintf(past->out, "  %-20s %s", text_clean(target->name, past->paint.utf8, name, sizeof name),
            outcome);
    if (target->outcome[0] == '\0')
        fprintf(past->out, " in %s (%s)", target->state, target->step);
    else if (strcmp(target->outcome, "failed") == 0)
        fprintf(past->out, " in %s, its disk or system is %s", target->state, target->damage);
    fputc('\n', past->out);
    if (target->error[0] != '\0')
        fprintf(past->out, "    %s\n",
                text_clean(target->error, past->paint.utf8, text, sizeof text));
}

static void event_json(const struct history_event *event, void *arg)
{
    const struct past *past = arg;
    fprintf(past->out, "%s\n", event->text);
}

/* Of an event that has words for people, these; of others, the name. */
static void event_line(const struct history_event *event, void *arg)
{
    const struct past *past = arg;
    char time[32], target[TEXT_MAX], text[TEXT_MAX];
    json_t *object = json_loads(event->text, 0, NULL);
    const char *words = json_string_value(json_object_get(object, "text"));
    const char *state = json_string_value(json_object_get(object, "state"));
    if (words == NULL)
        words = strcmp(event->event, "target_state") == 0 && state != NULL ? state : event->event;
    fprintf(past->out, "  %s  %s%s%s\n", local_time(event->time, time),
            text_clean(event->target, past->paint.utf8, target, sizeof target),
            event->target[0] != '\0' ? ": " : "",
            text_clean(words, past->paint.utf8, text, sizeof text));
    json_decref(object);
}

int past_print_run(struct journal *journal, const char *id, bool json, int verbosity, FILE *out,
                   struct error *err)
{
    bool steps = verbosity > 0, events = verbosity > (json ? 0 : 1);
    struct past past = {
        .journal = journal, .out = out, .paint = paint_for(STDOUT_FILENO), .id = id};
    struct journal_target *targets = NULL;
    size_t count = 0;
    if (history_each_run(journal, json ? run_json : run_head, &past, err) != 0 ||
        journal_load_targets(journal, id, &targets, &count, err) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        past.first_ms = 0;
        past.steps = json ? json_array() : NULL;
        if (!json)
            target_lines(&past, &targets[i]);
        if (json || steps)
            result = history_each_step(journal, id, targets[i].name, json ? step_json : step_line,
                                       &past, err);
        if (json && result == 0)
            target_json(&past, &targets[i]);
        json_decref(past.steps);
    }
    free(targets);
    if (events && result == 0)
        result = history_each_event(journal, id, json ? event_json : event_line, &past, err);
    return result;
}
