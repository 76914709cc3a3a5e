/* SPDX-License-Identifier: Apache-2.0 */
#include "report/lines.h"

#include "base/units.h"
#include "report/fleet.h"
#include "report/summary.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define RECENT_COUNT 8u

/* Texts shown lately, so that what flickers between two of them is told once. */
struct recent {
    uint32_t hashes[RECENT_COUNT];
    unsigned next;
};

/* What was told of a target. */
struct told {
    bool started;
    enum target_state state;
    unsigned attempts;
    struct recent activities, warnings;
};

struct lines {
    struct lines_options options;
    uint64_t began;
    struct slots told; /* struct told */
    uint64_t image_step;
};

struct lines *lines_new(const struct lines_options *options)
{
    struct lines *lines = calloc(1, sizeof *lines);
    if (lines == NULL)
        return NULL;
    lines->options = *options;
    if (lines->options.now == NULL)
        lines->options.now = clock_monotonic;
    lines->began = lines->options.now();
    lines->told.item = sizeof(struct told);
    return lines;
}

void lines_free(struct lines *lines)
{
    if (lines == NULL)
        return;
    slots_free(&lines->told);
    free(lines);
}

static bool is_shown(const struct lines *lines, enum line_kind kind)
{
    /* The least verbosity, as plain lines and above a live screen. */
    static const int least[LINE_KIND_COUNT][2] = {
        [LINE_FAILURE] = {-2, -2}, [LINE_WARNING] = {-1, -1}, [LINE_OUTCOME] = {-1, 1},
        [LINE_STATE] = {0, 1},     [LINE_DETAIL] = {1, 1},    [LINE_DEBUG] = {2, 2},
    };
    return lines->options.verbosity >= least[kind][lines->options.live];
}

static void emit(struct lines *lines, enum line_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void emit(struct lines *lines, enum line_kind kind, const char *format, ...)
{
    if (!is_shown(lines, kind))
        return;
    char raw[TEXT_MAX];
    char clean[TEXT_MAX];
    uint64_t elapsed = lines->options.now() - lines->began;
    int length = snprintf(raw, sizeof raw, "[%3" PRIu64 ".%" PRIu64 "s] ", elapsed / 1000,
                          elapsed % 1000 / 100);
    va_list args;
    va_start(args, format);
    vsnprintf(raw + length, sizeof raw - (size_t)length, format, args);
    va_end(args);
    text_clean(raw, lines->options.utf8, clean, sizeof clean);
    lines->options.line(kind, clean, lines->options.arg);
}

/* --- the run ---------------------------------------------------------------------------------- */

/* Every tenth, or every GiB where the size is not known. */
void lines_image_progress(struct lines *lines, const struct run_view *run)
{
    char done[32], total[32];
    uint64_t have = run->image_bytes_done;
    uint64_t all = run->image_bytes_total;
    uint64_t step = all > 0 ? have * 10 / all : have >> 30;
    if (step <= lines->image_step || (all > 0 && have >= all))
        return; /* the last step is image_ready */
    lines->image_step = step;
    units_format_size(have, done, sizeof done);
    units_format_size(all, total, sizeof total);
    if (all > 0)
        emit(lines, LINE_STATE, "image: %" PRIu64 " %% read (%s of %s)", step * 10, done, total);
    else
        emit(lines, LINE_STATE, "image: %s read", done);
}

void lines_image_ready(struct lines *lines, const struct run_view *run)
{
    const struct store_info *info = run->store;
    if (info == NULL)
        return;
    char size[32];
    emit(lines, LINE_STATE, "image: %s checked: %s, %s%s%s%s%.12s%s",
         run->image != NULL ? run->image : "image",
         units_format_size(info->image_size, size, sizeof size), info->facts.format,
         info->facts.os_name[0] != '\0' ? ", " : "", info->facts.os_name, ", sha256 ",
         info->facts.sha256, info->from_cache ? ", from the cache" : "");
}

void lines_wave_started(struct lines *lines, const struct run_view *run, unsigned wave)
{
    if (run->wave_count < 2)
        return;
    size_t count = 0;
    for (size_t i = 0; i < run->target_count; i++)
        count += run->targets[i]->wave == wave;
    emit(lines, LINE_STATE, "wave %u of %u: %zu target%s", wave + 1, run->wave_count, count,
         count == 1 ? "" : "s");
}

static enum line_kind kind_for(enum log_level level, bool of_run)
{
    switch (level) {
    case LOG_ERROR:
        return LINE_FAILURE;
    case LOG_WARNING:
        return LINE_WARNING;
    case LOG_INFO:
        return of_run ? LINE_STATE : LINE_DETAIL;
    default:
        return LINE_DEBUG;
    }
}

static const char *prefix_for(enum log_level level)
{
    return level == LOG_ERROR ? "error: " : level == LOG_WARNING ? "warning: " : "";
}

void lines_message(struct lines *lines, enum log_level level, const char *text)
{
    if (text[0] != '\0')
        emit(lines, kind_for(level, true), "%s%s", prefix_for(level), text);
}

/* --- targets ---------------------------------------------------------------------------------- */

/* Notes a text; false when it was noted lately. */
static bool recent_note(struct recent *recent, const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    for (unsigned i = 0; i < RECENT_COUNT; i++) {
        if (recent->hashes[i] == hash)
            return false;
    }
    recent->hashes[recent->next++ % RECENT_COUNT] = hash;
    return true;
}

static struct told *told_of(struct lines *lines, const struct target_status *target)
{
    struct told *told = slots_at(&lines->told, target->index);
    if (told != NULL && told->attempts != target->attempts) { /* a new try is worth telling anew */
        told->attempts = target->attempts;
        memset(&told->activities, 0, sizeof told->activities);
        memset(&told->warnings, 0, sizeof told->warnings);
    }
    return told;
}

void lines_target_changed(struct lines *lines, const struct target_status *target)
{
    struct told *told = told_of(lines, target);
    if (told == NULL || !target_is_active(target))
        return;
    const char *state = target_state_name(target->state);
    if (!told->started || told->state != target->state) {
        told->started = true;
        told->state = target->state;
        emit(lines, LINE_STATE, "%s: %s", target->spec->name, state);
    }
    if (is_shown(lines, LINE_DETAIL) && target->activity[0] != '\0' &&
        recent_note(&told->activities, target->activity))
        emit(lines, LINE_DETAIL, "%s: %s: %s", target->spec->name, state, target->activity);
}

void lines_target_log(struct lines *lines, const struct target_status *target, enum log_level level,
                      const char *text)
{
    struct told *told = told_of(lines, target);
    if (text[0] == '\0' ||
        (told != NULL && level == LOG_WARNING && !recent_note(&told->warnings, text)))
        return;
    emit(lines, kind_for(level, false), "%s: %s%s", target->spec->name, prefix_for(level), text);
}

/* What was done, for an outcome that is good. */
static void emit_good(struct lines *lines, const struct target_status *target)
{
    char time[32], sent[32], written[32], skipped[32];
    const char *name = target->spec->name;
    units_format_duration(target_duration(target), time, sizeof time);
    if (target->outcome == OUTCOME_UNCHANGED) {
        emit(lines, LINE_OUTCOME, "%s: unchanged, the disk holds the image already (%s)", name,
             time);
        return;
    }
    emit(lines, LINE_OUTCOME, "%s: flashed in %s (%s mode, %s sent, %s written, %s already there)",
         name, time, flash_mode_name(target->mode),
         units_format_size(target->bytes_sent, sent, sizeof sent),
         units_format_size(target->bytes_written, written, sizeof written),
         units_format_size(target->bytes_skipped, skipped, sizeof skipped));
    if (target->proof[0] != '\0')
        emit(lines, LINE_DETAIL, "%s: proof: %s", name, target->proof);
}

void lines_target_done(struct lines *lines, const struct target_status *target)
{
    switch (target->outcome) {
    case OUTCOME_FLASHED:
    case OUTCOME_UNCHANGED:
        emit_good(lines, target);
        break;
    case OUTCOME_FAILED:
    case OUTCOME_SKIPPED:
    case OUTCOME_NOT_STARTED:
        emit(lines, target->outcome == OUTCOME_SKIPPED ? LINE_WARNING : LINE_FAILURE,
             "%s: %s%s%s%s%s", target->spec->name, target_outcome_name(target->outcome),
             target->error.text[0] != '\0' ? ": " : "", summary_told(target),
             target->error.remedy[0] != '\0' ? " — " : "", target->error.remedy);
        break;
    default:
        break;
    }
}

void lines_target_soaked(struct lines *lines, const struct target_status *target)
{
    if (target->outcome == OUTCOME_FAILED)
        lines_target_done(lines, target);
    else
        emit(lines, LINE_DETAIL, "%s: is as it was before the soak", target->spec->name);
}
