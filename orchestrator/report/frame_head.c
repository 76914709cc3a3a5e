/* SPDX-License-Identifier: Apache-2.0 */
/* The head of the live picture: what holds for the run as a whole. */
#include "report/frame_parts.h"

#include "base/units.h"

#include <string.h>

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
    row_percent(row, run->image_bytes_done, run->image_bytes_total);
    row_rest(row, COLOUR_NONE, text);
}

/* --- the run ------------------------------------------------------------------------------------
 */

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
    snprintf(text + length, sizeof text - (size_t)length, "%s  %s",
             run->halted != NULL ? ", halted" : "", time);
    unsigned tail = text_columns(text);
    row_put(row, COLOUR_BOLD, image != NULL ? image : run->command,
            row->left > tail + 4 ? row->left - tail : row->left, false);
    row_rest(row, COLOUR_NONE, text);
}

/* "about 4m left": as exact as it is known. */
static void put_remaining(struct row *row, const struct run_view *run, uint64_t elapsed)
{
    char text[64], time[32];
    bool rough;
    uint64_t left = fleet_remaining(run, run->started_ms + elapsed, &rough);
    if (left == UINT64_MAX || left == 0)
        return;
    left = left < 60000 ? (left + 9999) / 10000 * 10000 : (left + 59999) / 60000 * 60000;
    units_format_duration(left, time, sizeof time);
    char *seconds = strstr(time, "00s"); /* "4m00s" */
    if (seconds != NULL && seconds > time && seconds[-1] == 'm')
        *seconds = '\0';
    snprintf(text, sizeof text, "%s %s left", rough ? "at least" : "about", time);
    row_rest(row, COLOUR_NONE, text);
}

static void totals_line(struct row *row, const struct run_view *run, const struct fleet *fleet,
                        uint64_t elapsed)
{
    row_count(row, COLOUR_RED, fleet->outcomes[OUTCOME_FAILED], "failed");
    row_count(row, COLOUR_YELLOW, fleet->outcomes[OUTCOME_SKIPPED], "skipped");
    row_count(row, COLOUR_YELLOW, fleet->outcomes[OUTCOME_NOT_STARTED], "not started");
    row_count(row, COLOUR_GREEN, fleet->outcomes[OUTCOME_FLASHED], "flashed");
    row_count(row, COLOUR_GREEN, fleet->outcomes[OUTCOME_UNCHANGED], "unchanged");
    row_count(row, COLOUR_NONE, fleet->active, "active");
    row_count(row, COLOUR_DIM, fleet->waiting, "waiting");
    if (fleet->rate >= 1) {
        char size[32], text[48];
        snprintf(text, sizeof text, "%s/s  ",
                 units_format_size((uint64_t)fleet->rate, size, sizeof size));
        row_rest(row, COLOUR_NONE, text);
    }
    put_remaining(row, run, elapsed);
}

/* "wave 1 4/4  wave 2 22/40 2 failed  wave 3 0/16" */
static void waves_line(struct row *row, const struct run_view *run)
{
    unsigned present = present_wave(run);
    for (unsigned wave = present > 1 ? present - 1 : 0; wave < run->wave_count; wave++) {
        size_t all = 0, done = 0, failed = 0;
        char text[80];
        for (size_t i = 0; i < run->target_count; i++) {
            if (run->targets[i]->wave != wave)
                continue;
            all++;
            done += run->targets[i]->outcome != OUTCOME_NONE;
            failed += run->targets[i]->outcome == OUTCOME_FAILED;
        }
        if (all == 0)
            continue;
        snprintf(text, sizeof text, "wave %u  %zu/%zu", wave + 1, done, all);
        row_rest(row,
                 wave == present ? COLOUR_BOLD
                 : done == all   ? COLOUR_GREEN
                                 : COLOUR_DIM,
                 text);
        snprintf(text, sizeof text, " %zu failed", failed);
        row_rest(row, COLOUR_RED, failed > 0 ? text : "");
        row_rest(row, COLOUR_NONE, "    ");
    }
}

static void states_line(struct row *row, const struct fleet *fleet)
{
    row_rest(row, COLOUR_NONE, fleet->active > 0 ? "under way: " : "under way: none");
    for (int i = 0; i < STATE_COUNT; i++)
        row_count(row, COLOUR_NONE, fleet->states[i], target_state_name((enum target_state)i));
}

unsigned frame_head_rows(const struct run_view *run, unsigned rows, bool all)
{
    if (rows < FRAME_ROOMY)
        return rows > 1 ? 2 : 1;
    return 2 + (run->wave_count > 1) + !all;
}

void frame_head(struct row *row, const struct run_view *run, const struct frame_options *options,
                bool all)
{
    struct fleet fleet;
    bool reading = run->image != NULL && run->store == NULL && run->phase == RUN_PREPARING;
    fleet_count(run, &fleet);
    if (reading && options->rows < 3)
        image_line(row, run);
    else
        title_line(row, run, options->elapsed);
    if (options->rows == 1)
        return;
    row_next(row, options->columns);
    if (reading && options->rows >= 3)
        image_line(row, run);
    else
        totals_line(row, run, &fleet, options->elapsed);
    if (options->rows < FRAME_ROOMY)
        return;
    if (run->wave_count > 1) {
        row_next(row, options->columns);
        waves_line(row, run);
    }
    if (!all) {
        row_next(row, options->columns);
        states_line(row, &fleet);
    }
}
