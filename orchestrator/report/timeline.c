/* SPDX-License-Identifier: Apache-2.0 */
#include "report/timeline.h"

#include "base/units.h"
#include "report/fleet.h"

#define MARKS_MAX 8u

struct timeline timeline_of(const struct run_view *run)
{
    static const uint32_t steps[] = {1,   2,   5,    10,   15,   30,    60,    120,
                                     300, 600, 1800, 3600, 7200, 21600, 43200, 86400}; /* s */
    struct timeline timeline = {.from_ms = UINT64_MAX};
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[i];
        for (unsigned k = 0; k < target->span_count; k++) {
            if (target->spans[k].from_ms < timeline.from_ms)
                timeline.from_ms = target->spans[k].from_ms;
            if (target->spans[k].to_ms > timeline.to_ms)
                timeline.to_ms = target->spans[k].to_ms;
        }
    }
    if (timeline.from_ms >= timeline.to_ms) /* nothing was done */
        timeline = (struct timeline){.from_ms = run->started_ms, .to_ms = run->started_ms + 1};
    uint64_t length = timeline.to_ms - timeline.from_ms;
    timeline.step_ms = length / MARKS_MAX + 1;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (length / (1000ull * steps[i]) < MARKS_MAX) {
            timeline.step_ms = 1000ull * steps[i];
            break;
        }
    }
    return timeline;
}

static double percent(const struct timeline *timeline, uint64_t milliseconds)
{
    return 100.0 * (double)milliseconds / (double)(timeline->to_ms - timeline->from_ms);
}

/* Where in the bar a moment is, 0 to 100. */
static double place(const struct timeline *timeline, uint64_t unix_ms)
{
    uint64_t inside = unix_ms < timeline->from_ms ? timeline->from_ms
                      : unix_ms > timeline->to_ms ? timeline->to_ms
                                                  : unix_ms;
    return percent(timeline, inside - timeline->from_ms);
}

/* "0", "30s", "5m", "1h30m": marks are round. */
static void put_mark(uint64_t milliseconds, FILE *out)
{
    unsigned seconds = (unsigned)(milliseconds / 1000);
    unsigned hours = seconds / 3600;
    unsigned minutes = seconds / 60 % 60;
    if (seconds == 0)
        fputs("0", out);
    if (hours > 0)
        fprintf(out, "%uh", hours);
    if (minutes > 0)
        fprintf(out, "%um", minutes);
    if (seconds % 60 > 0)
        fprintf(out, "%us", seconds % 60);
}

void timeline_put_axis(const struct timeline *timeline, FILE *out)
{
    uint64_t length = timeline->to_ms - timeline->from_ms;
    fputs("<div class=\"axis\" aria-hidden=\"true\"><div>", out);
    for (uint64_t at = 0; at <= length; at += timeline->step_ms) {
        double left = percent(timeline, at);
        fprintf(out, "<i style=\"left:%.3f%%\"%s>", left, left > 95 ? " class=\"last\"" : "");
        put_mark(at, out);
        fputs("</i>", out);
    }
    fputs("</div></div>\n", out);
}

void timeline_put_words(const struct target_status *target, FILE *out)
{
    char text[32];
    const char *between = "";
    for (int i = 0; i < STATE_COUNT; i++) {
        if (target->state_ms[i] == 0)
            continue;
        fprintf(out, "%s%s %s", between, target_state_name((enum target_state)i),
                units_format_duration(target->state_ms[i], text, sizeof text));
        between = ", ";
    }
}

void timeline_put_track(const struct timeline *timeline, const struct target_status *target,
                        FILE *out)
{
    char text[32];
    uint64_t end = 0;
    fprintf(out, "<span class=\"track\" role=\"img\" style=\"--step:%.4f%%\" aria-label=\"",
            percent(timeline, timeline->step_ms));
    timeline_put_words(target, out);
    fputs("\">", out);
    for (unsigned i = 0; i < target->span_count; i++) {
        const struct state_span *span = &target->spans[i];
        const char *name = target_state_name(span->state);
        double left = place(timeline, span->from_ms);
        fprintf(out, "<i class=\"span %s\" style=\"left:%.3f%%;width:%.3f%%\" title=\"%s %s\"></i>",
                name, left, place(timeline, span->to_ms) - left, name,
                units_format_duration(span->to_ms - span->from_ms, text, sizeof text));
        end = span->to_ms;
    }
    if (target->outcome == OUTCOME_FAILED && end != 0)
        fprintf(out, "<i class=\"end\" style=\"left:%.3f%%\"></i>", place(timeline, end));
    fputs("</span>", out);
}
