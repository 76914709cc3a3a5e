/* SPDX-License-Identifier: Apache-2.0 */
/* The targets in the live picture: which of them, in which order, and a line for each. */
#include "report/frame_parts.h"

#include "base/units.h"
#include "report/summary.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STATE_COLUMNS 12u /* "reachability" */
#define BAR_TAIL      24u /* " 100%  11.2 MiB/s  59m59s" without its bar */
#define ACTIVITY_WIDE 28u /* beside the bar, where there is room for both */

/* --- a target's line ---------------------------------------------------------------------- */

/* "  47%  11.2 MiB/s  1m12s" behind a bar as wide as there is room. */
static void put_progress(struct row *row, const struct target_status *target)
{
    char text[48], size[32];
    bool with_rate = row->left >= BAR_TAIL + 8;
    unsigned tail = with_rate ? BAR_TAIL : 5;
    if (row->left >= ACTIVITY_WIDE + BAR_MAX + tail + 2) {
        row_put(row, COLOUR_NONE, target->activity, ACTIVITY_WIDE, true);
        row_gap(row, 2);
    }
    unsigned bar = row->left > tail ? row->left - tail : 0;
    row_bar(row, COLOUR_GREEN, target->blocks_done, target->blocks_total,
            bar < BAR_MAX ? bar : BAR_MAX);
    row_percent(row, target->blocks_done, target->blocks_total);
    if (!with_rate)
        return;
    text[0] = '\0';
    if (target->rate >= 1)
        snprintf(text, sizeof text, "%s/s",
                 units_format_size((uint64_t)target->rate, size, sizeof size));
    row_right(row, text, 12);
    text[0] = '\0';
    if (target->rate >= 1 && target->remaining_ms != UINT64_MAX)
        units_format_duration(target->remaining_ms, text, sizeof text);
    row_right(row, text, 7);
}

static void put_outcome(struct row *row, const struct target_status *target)
{
    char text[200], size[32];
    units_format_duration(target_duration(target), text, sizeof text);
    if (target->outcome == OUTCOME_FLASHED) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, ", %s sent",
                 units_format_size(target->bytes_sent, size, sizeof size));
        row_rest(row, COLOUR_DIM, text);
    } else if (target->outcome == OUTCOME_UNCHANGED) {
        row_rest(row, COLOUR_DIM, text);
    } else {
        row_rest(row, COLOUR_NONE, summary_told(target));
    }
}

/* What stands at the beginning of the line, and in the state's column. */
struct look {
    const char *mark, *ascii, *word;
    enum colour colour;
};

static struct look look_of(const struct target_status *target)
{
    static const struct look looks[OUTCOME_COUNT] = {
        [OUTCOME_FLASHED] = {"✓", "+", "flashed", COLOUR_GREEN},
        [OUTCOME_UNCHANGED] = {"=", "=", "unchanged", COLOUR_GREEN},
        [OUTCOME_FAILED] = {"✗", "!", "failed", COLOUR_RED},
        [OUTCOME_SKIPPED] = {"–", "-", "skipped", COLOUR_YELLOW},
        [OUTCOME_NOT_STARTED] = {"–", "-", "not started", COLOUR_YELLOW},
    };
    if (target_is_active(target))
        return (struct look){"•", "*", target_state_name(target->state), COLOUR_NONE};
    if (target->outcome == OUTCOME_NONE)
        return (struct look){"·", ".", "waiting", COLOUR_DIM};
    return looks[target->outcome];
}

static void target_line(struct row *row, const struct target_status *target,
                        const struct glimpse *glimpse, unsigned name_columns, bool chosen)
{
    struct look look = look_of(target);
    if (row->left > name_columns + 3) { /* else the name alone matters */
        row_put(row, look.colour, row->paint->utf8 ? look.mark : look.ascii, 1, true);
        row_put(row, chosen ? COLOUR_BOLD : COLOUR_NONE, chosen ? ">" : " ", 1, true);
    }
    row_put(row, chosen ? COLOUR_BOLD : COLOUR_NONE, target->spec->name, name_columns, true);
    row_gap(row, 2);
    row_put(row, look.colour, look.word, STATE_COLUMNS, true);
    row_gap(row, 2);
    if (target->outcome != OUTCOME_NONE)
        put_outcome(row, target);
    else if (target_is_active(target) && glimpse != NULL && glimpse->bar_is_newer &&
             target->blocks_done < target->blocks_total)
        put_progress(row, target);
    else if (target_is_active(target))
        row_rest(row, COLOUR_NONE, target->activity);
}

/* --- which targets ------------------------------------------------------------------------ */

/* A place in the order; the least comes first. */
struct rank {
    int group;
    uint64_t age; /* of those under way: the longer, the less */
    int state;
    size_t place;
};

/* Those that began within this time count as begun together: else they would change places all the
 * time. */
#define AGE_STEP_MS 15000u

static struct rank rank_of(const struct run_view *run, size_t place)
{
    const struct target_status *target = run->targets[place];
    static const int groups[OUTCOME_COUNT] = {
        [OUTCOME_FAILED] = 0,      [OUTCOME_SKIPPED] = 2, [OUTCOME_NONE] = 3,
        [OUTCOME_NOT_STARTED] = 3, [OUTCOME_FLASHED] = 4, [OUTCOME_UNCHANGED] = 4};
    struct rank rank = {.group = groups[target->outcome], .place = place};
    if (target_is_active(target)) {
        rank.group = 1;
        rank.age = target->started_ms > run->started_ms
                       ? (target->started_ms - run->started_ms) / AGE_STEP_MS
                       : 0;
        rank.state = (int)target->state;
    }
    return rank;
}

static int compare_ranks(const void *a, const void *b)
{
    const struct rank *left = a, *right = b;
    if (left->group != right->group)
        return left->group - right->group;
    if (left->age != right->age)
        return left->age < right->age ? -1 : 1;
    if (left->state != right->state)
        return left->state - right->state;
    return left->place < right->place ? -1 : left->place > right->place;
}

bool frame_has_room_for_all(const struct run_view *run, unsigned rows)
{
    return run->target_count + frame_head_rows(run, rows, true) + 1 <= rows;
}

size_t *frame_order(const struct run_view *run, unsigned rows)
{
    size_t *order = calloc(run->target_count + 1, sizeof *order);
    struct rank *ranks = calloc(run->target_count + 1, sizeof *ranks);
    if (order == NULL || ranks == NULL) {
        free(ranks);
        free(order);
        return NULL;
    }
    for (size_t i = 0; i < run->target_count; i++)
        ranks[i] = rank_of(run, i);
    if (!frame_has_room_for_all(run, rows))
        qsort(ranks, run->target_count, sizeof *ranks, compare_ranks);
    for (size_t i = 0; i < run->target_count; i++)
        order[i] = ranks[i].place;
    free(ranks);
    return order;
}

/* Marks what is shown of an order when not all have room: its beginning, but of the failed ones at
 * most half of it while others have something to show. */
static void show_beginning(const struct run_view *run, const size_t *order, size_t room,
                           bool *shown)
{
    size_t used = 0, failed = 0;
    for (size_t i = 0; i < run->target_count && used < room; i++) {
        bool is_failed = run->targets[order[i]]->outcome == OUTCOME_FAILED;
        if (is_failed && failed >= (room + 1) / 2)
            continue;
        failed += is_failed;
        shown[order[i]] = true;
        used++;
    }
    for (size_t i = 0; i < run->target_count && used < room; i++) {
        used += !shown[order[i]];
        shown[order[i]] = true;
    }
}

/* Or a part of it with the chosen one in it. */
static void show_around(const struct run_view *run, const size_t *order, size_t room, size_t chosen,
                        bool *shown)
{
    size_t at = 0;
    while (at < run->target_count && order[at] != chosen)
        at++;
    size_t first = at > room / 2 ? at - room / 2 : 0;
    if (first + room > run->target_count)
        first = run->target_count > room ? run->target_count - room : 0;
    for (size_t i = first; i < run->target_count && i < first + room; i++)
        shown[order[i]] = true;
}

static void more_line(struct row *row, const struct run_view *run, const bool *shown)
{
    size_t waiting = 0, states[STATE_COUNT] = {0}, outcomes[OUTCOME_COUNT] = {0}, hidden = 0;
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[i];
        if (shown[i])
            continue;
        hidden++;
        if (target_is_active(target))
            states[target->state]++;
        else if (target->outcome == OUTCOME_NONE)
            waiting++;
        else
            outcomes[target->outcome]++;
    }
    char text[64];
    snprintf(text, sizeof text, "and %zu more:  ", hidden);
    row_rest(row, COLOUR_DIM, text);
    for (int i = OUTCOME_COUNT - 1; i > OUTCOME_NONE; i--)
        row_count(row, COLOUR_DIM, outcomes[i], target_outcome_name((enum target_outcome)i));
    for (int i = STATE_COUNT - 1; i >= 0; i--)
        row_count(row, COLOUR_DIM, states[i], target_state_name((enum target_state)i));
    row_count(row, COLOUR_DIM, waiting, "waiting");
}

static unsigned widest_name(const struct run_view *run, unsigned columns)
{
    unsigned widest = 4;
    unsigned limit = columns / 5 > 8 ? columns / 5 : 8;
    for (size_t i = 0; i < run->target_count; i++) {
        unsigned width = text_columns(run->targets[i]->spec->name);
        if (width > widest)
            widest = width;
    }
    return widest < limit ? widest : limit;
}

void frame_list(struct row *row, const struct run_view *run, const struct slots *glimpses,
                const struct frame_options *options, unsigned room)
{
    bool *shown = calloc(run->target_count + 1, sizeof *shown);
    size_t *order = frame_order(run, options->rows);
    bool all = run->target_count <= room;
    if (shown == NULL || order == NULL) {
        free(order);
        free(shown);
        return;
    }
    unsigned name_columns = widest_name(run, options->columns);
    if (options->chosen != NULL)
        show_around(run, order, all ? room : room - 1, *options->chosen, shown);
    else
        show_beginning(run, order, all ? room : room - 1, shown);
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[order[i]];
        const struct glimpse *glimpse =
            target->index < glimpses->count
                ? &((const struct glimpse *)(const void *)glimpses->data)[target->index]
                : NULL;
        if (!shown[order[i]])
            continue;
        row_next(row, options->columns);
        target_line(row, target, glimpse, name_columns,
                    options->chosen != NULL && *options->chosen == order[i]);
    }
    if (!all) {
        row_next(row, options->columns);
        more_line(row, run, shown);
    }
    free(order);
    free(shown);
}
