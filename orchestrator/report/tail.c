/* SPDX-License-Identifier: Apache-2.0 */
#include "report/tail.h"

#include "base/units.h"
#include "report/fleet.h"
#include "report/summary.h"

#include <stdlib.h>
#include <string.h>

void tail_add(struct tail *tail, enum line_kind kind, uint64_t elapsed, const char *text)
{
    struct tail_line *line = &tail->lines[tail->count % TAIL_LINES];
    char *copy = strdup(text);
    if (copy == NULL)
        return;
    free(line->text);
    *line = (struct tail_line){.kind = kind, .elapsed = elapsed, .text = copy};
    tail->count++;
}

void tail_note(struct tail *tail, uint64_t elapsed, const struct target_status *target)
{
    char text[160];
    bool entered = tail->state != (int)target->state + 1;
    if (!target_is_active(target) || (!entered && (target->activity[0] == '\0' ||
                                                   strcmp(tail->activity, target->activity) == 0)))
        return;
    tail->state = (int)target->state + 1;
    snprintf(tail->activity, sizeof tail->activity, "%s", target->activity);
    snprintf(text, sizeof text, "%s%s%s", target_state_name(target->state),
             target->activity[0] != '\0' ? ": " : "", target->activity);
    tail_add(tail, entered ? LINE_STATE : LINE_DETAIL, elapsed, text);
}

void tail_done(struct tail *tail, uint64_t elapsed, const struct target_status *target)
{
    bool good = target->outcome == OUTCOME_FLASHED || target->outcome == OUTCOME_UNCHANGED;
    char text[700], time[32];
    if (good)
        snprintf(text, sizeof text, "%s in %s%s%s", target_outcome_name(target->outcome),
                 units_format_duration(target_duration(target), time, sizeof time),
                 target->proof[0] != '\0' ? ": " : "", target->proof);
    else
        snprintf(text, sizeof text, "%s%s%s", target_outcome_name(target->outcome),
                 target->error.text[0] != '\0' ? ": " : "", summary_told(target));
    tail_add(tail,
             good                                ? LINE_OUTCOME
             : target->outcome == OUTCOME_FAILED ? LINE_FAILURE
                                                 : LINE_WARNING,
             elapsed, text);
    if (!good && target->error.remedy[0] != '\0')
        tail_add(tail, LINE_STATE, elapsed, target->error.remedy);
}

size_t tail_count(const struct tail *tail)
{
    return tail->count < TAIL_LINES ? tail->count : TAIL_LINES;
}

const struct tail_line *tail_at(const struct tail *tail, size_t i)
{
    size_t first = tail->count < TAIL_LINES ? 0 : tail->count;
    return &tail->lines[(first + i) % TAIL_LINES];
}

void tail_clear(struct tail *tail)
{
    for (size_t i = 0; i < TAIL_LINES; i++)
        free(tail->lines[i].text);
    memset(tail, 0, sizeof *tail);
}
