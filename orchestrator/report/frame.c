/* SPDX-License-Identifier: Apache-2.0 */
#include "report/frame.h"

#include "base/units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STATE_COLUMNS 12u /* "reachability" */
#define BAR_TAIL      24u /* " 100%  11.2 MiB/s  59m59s" without its bar */
#define BAR_MAX       40u
#define ACTIVITY_WIDE 28u /* beside the bar, where there is room for both */

void glimpse_update(struct glimpse *glimpse, const struct target_status *target)
{
    if (strcmp(glimpse->activity, target->activity) != 0) {
        snprintf(glimpse->activity, sizeof glimpse->activity, "%s", target->activity);
        glimpse->bar_is_newer = false;
    }
    if (glimpse->blocks_done != target->blocks_done ||
        glimpse->blocks_total != target->blocks_total) {
        glimpse->blocks_done = target->blocks_done;
        glimpse->blocks_total = target->blocks_total;
        glimpse->bar_is_newer = true;
    }
}

/* A line that grows until its columns are used up: nothing put into it can make it too wide. */
struct row {
    FILE *out;
    const struct paint *paint;
    unsigned left;
};

/* Puts a text cut (and, with pad, filled up) to width columns. */
static void row_put(struct row *row, enum colour colour, const char *text, unsigned width, bool pad)
{
    char clean[TEXT_MAX];
    char fitted[TEXT_MAX];
    if (width > row->left)
        width = row->left;
    text_clean(text, row->paint->utf8, clean, sizeof clean);
    text_fit(clean, width, row->paint->utf8, fitted, sizeof fitted);
    unsigned used = text_columns(fitted);
    if (used > 0)
        fprintf(row->out, "%s%s%s", paint_begin(row->paint, colour), fitted,
                paint_end(row->paint, colour));
    if (pad) {
        fprintf(row->out, "%*s", (int)(width - used), "");
        used = width;
    }
    row->left -= used;
}

static void row_rest(struct row *row, enum colour colour, const char *text)
{
    row_put(row, colour, text, row->left, false);
}

static void row_gap(struct row *row, unsigned width)
{
    row_put(row, COLOUR_NONE, "", width, true);
}

/* Puts a text at the right end of width columns. */
static void row_right(struct row *row, const char *text, unsigned width)
{
    unsigned used = text_columns(text);
    if (used < width)
        row_gap(row, width - used);
    row_put(row, COLOUR_NONE, text, used, false);
}

static void row_bar(struct row *row, enum colour colour, uint64_t done, uint64_t total,
                    unsigned width)
{
    if (width > row->left)
        width = row->left;
    unsigned full = total > 0 && done < total ? (unsigned)(done * width / total) : width;
    fputs(paint_begin(row->paint, colour), row->out);
    for (unsigned i = 0; i < full; i++)
        fputs(row->paint->utf8 ? "━" : "#", row->out);
    fputs(paint_end(row->paint, colour), row->out);
    fputs(paint_begin(row->paint, COLOUR_DIM), row->out);
    for (unsigned i = full; i < width; i++)
        fputs(row->paint->utf8 ? "─" : ".", row->out);
    fputs(paint_end(row->paint, COLOUR_DIM), row->out);
    row->left -= width;
}

/* --- the header --------------------------------------------------------------------------- */

static void put_percent(struct row *row, uint64_t done, uint64_t total)
{
    char text[16];
    uint64_t percent = total == 0 ? 0 : done >= total ? 100 : done * 100 / total;
    snprintf(text, sizeof text, "%3u%%", (unsigned)percent);
    row_right(row, text, 5);
}

/* Reading the image: bar and sizes. */
static void image_line(struct row *row, const struct run_view *run)
{
    char text[160], done[32], total[32];
    row_put(row, COLOUR_BOLD, "Reading the image  ", row->left, false);
    units_format_size(run->image_bytes_done, done, sizeof done);
    units_format_size(run->image_bytes_total, total, sizeof total);
    if (run->image_bytes_total == 0) {
        row_rest(row, COLOUR_NONE, done);
        return;
    }
    snprintf(text, sizeof text, "  %s of %s", done, total);
    unsigned tail = text_columns(text) + 5;
    if (row->left > tail + 8) {
        unsigned bar = row->left - tail;
        row_bar(row, COLOUR_GREEN, run->image_bytes_done, run->image_bytes_total,
                bar < BAR_MAX ? bar : BAR_MAX);
    }
    put_percent(row, run->image_bytes_done, run->image_bytes_total);
    row_rest(row, COLOUR_NONE, text);
}

/* The wave that is under way: the first with a target that has not ended. */
static unsigned present_wave(const struct run_view *run)
{
    unsigned wave = run->wave_count > 0 ? run->wave_count - 1 : 0;
    for (size_t i = 0; i < run->target_count; i++) {
        if (run->targets[i]->outcome == OUTCOME_NONE && run->targets[i]->wave < wave)
            wave = run->targets[i]->wave;
    }
    return wave;
}

static void title_line(struct row *row, const struct run_view *run, uint64_t elapsed)
{
    char text[128], time[32], soak[32];
    const char *slash = run->image != NULL ? strrchr(run->image, '/') : NULL;
    const char *image = slash != NULL && slash[1] != '\0' ? slash + 1 : run->image;
    units_format_duration(elapsed, time, sizeof time);
    int length = snprintf(text, sizeof text, "  %zu target%s", run->target_count,
                          run->target_count == 1 ? "" : "s");
    if (run->soak_until_ms != 0) {
        uint64_t now = clock_unix();
        units_format_duration(run->soak_until_ms > now ? run->soak_until_ms - now : 0, soak,
                              sizeof soak);
        length +=
            snprintf(text + length, sizeof text - (size_t)length, "  wave %u of %u soaks, %s left",
                     run->soak_wave + 1, run->wave_count, soak);
    } else if (run->wave_count > 1)
        length += snprintf(text + length, sizeof text - (size_t)length, "  wave %u of %u",
                           present_wave(run) + 1, run->wave_count);
    snprintf(text + length, sizeof text - (size_t)length, "  %s", time);
    unsigned tail = text_columns(text);
    row_put(row, COLOUR_BOLD, image != NULL ? image : run->command,
            row->left > tail + 4 ? row->left - tail : row->left, false);
    row_rest(row, COLOUR_NONE, text);
}

static void put_count(struct row *row, enum colour colour, size_t count, const char *words)
{
    char text[64];
    if (count == 0)
        return;
    snprintf(text, sizeof text, "%zu %s  ", count, words);
    row_rest(row, colour, text);
}

static void totals_line(struct row *row, const struct fleet *fleet)
{
    put_count(row, COLOUR_RED, fleet->outcomes[OUTCOME_FAILED], "failed");
    put_count(row, COLOUR_YELLOW, fleet->outcomes[OUTCOME_SKIPPED], "skipped");
    put_count(row, COLOUR_YELLOW, fleet->outcomes[OUTCOME_NOT_STARTED], "not started");
    put_count(row, COLOUR_GREEN, fleet->outcomes[OUTCOME_FLASHED], "flashed");
    put_count(row, COLOUR_GREEN, fleet->outcomes[OUTCOME_UNCHANGED], "unchanged");
    put_count(row, COLOUR_NONE, fleet->active, "active");
    put_count(row, COLOUR_DIM, fleet->waiting, "waiting");
    if (fleet->rate >= 1) {
        char size[32], text[48];
        snprintf(text, sizeof text, "%s/s",
                 units_format_size((uint64_t)fleet->rate, size, sizeof size));
        row_rest(row, COLOUR_NONE, text);
    }
}

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
    put_percent(row, target->blocks_done, target->blocks_total);
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
        row_rest(row, COLOUR_NONE, target->error.text);
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
                        const struct glimpse *glimpse, unsigned name_columns)
{
    struct look look = look_of(target);
    if (row->left > name_columns + 3) { /* else the name alone matters */
        row_put(row, look.colour, row->paint->utf8 ? look.mark : look.ascii, 1, true);
        row_gap(row, 1);
    }
    row_put(row, COLOUR_NONE, target->spec->name, name_columns, true);
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

/* When not all have room: failed ones (at most half of it while others are active), active ones,
 * then the rest. Marks the chosen ones. */
static void choose(const struct run_view *run, size_t room, bool *chosen)
{
    size_t used = 0;
    for (int pass = 0; pass < 4; pass++) {
        size_t limit = pass == 0 ? (room + 1) / 2 : room;
        for (size_t i = 0; i < run->target_count && used < limit; i++) {
            const struct target_status *target = run->targets[i];
            bool wanted = pass == 0 || pass == 2 ? target->outcome == OUTCOME_FAILED
                          : pass == 1            ? target_is_active(target)
                                                 : true;
            if (wanted && !chosen[i]) {
                chosen[i] = true;
                used++;
            }
        }
    }
}

static void more_line(struct row *row, const struct run_view *run, const bool *chosen)
{
    size_t waiting = 0, states[STATE_COUNT] = {0}, outcomes[OUTCOME_COUNT] = {0}, hidden = 0;
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[i];
        if (chosen[i])
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
        put_count(row, COLOUR_DIM, outcomes[i], target_outcome_name((enum target_outcome)i));
    for (int i = STATE_COUNT - 1; i >= 0; i--)
        put_count(row, COLOUR_DIM, states[i], target_state_name((enum target_state)i));
    put_count(row, COLOUR_DIM, waiting, "waiting");
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

static void target_lines(struct row *row, const struct run_view *run, const struct slots *glimpses,
                         unsigned columns, size_t room)
{
    bool *chosen = calloc(run->target_count + 1, sizeof *chosen);
    if (chosen == NULL)
        return;
    bool all = run->target_count <= room;
    unsigned name_columns = widest_name(run, columns);
    choose(run, all ? room : room - 1, chosen);
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[i];
        const struct glimpse *glimpse =
            target->index < glimpses->count
                ? &((const struct glimpse *)(const void *)glimpses->data)[target->index]
                : NULL;
        if (!chosen[i])
            continue;
        fputc('\n', row->out);
        row->left = columns;
        target_line(row, target, glimpse, name_columns);
    }
    if (!all) {
        fputc('\n', row->out);
        row->left = columns;
        more_line(row, run, chosen);
    }
    free(chosen);
}

char *frame_compose(const struct run_view *run, const struct slots *glimpses,
                    const struct frame_options *options)
{
    char *text = NULL;
    size_t size = 0;
    struct fleet fleet;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    fleet_count(run, &fleet);
    struct row row = {.out = out, .paint = &options->paint, .left = options->columns};
    bool reading = run->image != NULL && run->store == NULL && run->phase == RUN_PREPARING;
    if (reading && options->rows < 3)
        image_line(&row, run);
    else
        title_line(&row, run, options->elapsed);
    if (options->rows > 1) {
        fputc('\n', out);
        row.left = options->columns;
        if (reading && options->rows >= 3)
            image_line(&row, run);
        else
            totals_line(&row, &fleet);
    }
    if (options->rows > 3)
        target_lines(&row, run, glimpses, options->columns, options->rows - 2);
    fclose(out);
    return text;
}
