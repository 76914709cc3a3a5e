/* SPDX-License-Identifier: Apache-2.0 */
#include "report/frame_parts.h"

#include "base/units.h"

#include <stdlib.h>
#include <string.h>

#define LOG_ROWS_MIN 8u /* beside all targets; else they give way */
#define LOG_ROWS_MAX 20u

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

/* --- one target's log ---------------------------------------------------------------------- */

/* The name over the log, with what else is known of the device. */
static void log_title(struct row *row, const struct target_status *target)
{
    char address[300], text[600];
    const struct target_facts *facts = &target->facts;
    target_address(target->spec, address, sizeof address);
    snprintf(text, sizeof text, "%s %s  %s%s%s%s%s ", row->paint->utf8 ? "──" : "--",
             target->spec->name, address, facts->model[0] != '\0' ? "  " : "", facts->model,
             facts->disk[0] != '\0' ? "  " : "", facts->disk);
    row_rest(row, COLOUR_BOLD, text);
    while (row->left > 0)
        row_put(row, COLOUR_DIM, row->paint->utf8 ? "─" : "-", 1, false);
}

static void log_line(struct row *row, const struct tail_line *line)
{
    static const enum colour colours[LINE_KIND_COUNT] = {[LINE_FAILURE] = COLOUR_RED,
                                                         [LINE_WARNING] = COLOUR_YELLOW,
                                                         [LINE_OUTCOME] = COLOUR_GREEN,
                                                         [LINE_DEBUG] = COLOUR_DIM};
    char time[32];
    units_format_duration(line->elapsed, time, sizeof time);
    row_right(row, time, 7);
    row_gap(row, 2);
    row_rest(row, colours[line->kind], line->text);
}

/* Fills that many rows: the newest line is the last one. */
static void put_log(struct row *row, const struct run_view *run,
                    const struct frame_options *options, unsigned rows)
{
    size_t count = options->log != NULL ? tail_count(options->log) : 0;
    size_t first = count > rows - 1 ? count - (rows - 1) : 0;
    row_next(row, options->columns);
    log_title(row, run->targets[*options->chosen]);
    for (size_t i = first; i < first + rows - 1; i++) {
        row_next(row, options->columns);
        if (i < count)
            log_line(row, tail_at(options->log, i));
        else if (count == 0 && i == 0)
            row_rest(row, COLOUR_DIM, "         nothing yet: its turn has not come");
    }
}

/* --- the whole ------------------------------------------------------------------------------- */

static void put_hint(struct row *row, const struct run_view *run,
                     const struct frame_options *options)
{
    const char *arrows = options->paint.utf8 ? "↑↓" : "j k";
    char text[120];
    if (run->interrupted) {
        row_rest(row, COLOUR_YELLOW,
                 "STOPPING: devices that are being written finish; ^C stops at once   ");
    } else if (run->halted != NULL) {
        row_rest(row, COLOUR_RED, "HALTED: devices under way finish   ");
    } else if (run->paused) {
        row_rest(row, COLOUR_YELLOW, "PAUSED: nothing new is started   ");
        row_rest(row, COLOUR_BOLD, "r resume   ");
    } else {
        row_rest(row, COLOUR_DIM, "p pause   ");
    }
    if (!run->interrupted)
        row_rest(row, COLOUR_DIM, "q stop   ");
    snprintf(text, sizeof text,
             options->chosen != NULL ? "%s other logs   Esc back" : "%s a device's log", arrows);
    row_rest(row, COLOUR_DIM, text);
}

/* Rows of the log, of all below the head: what the targets leave, or half. */
static unsigned log_height(const struct run_view *run, unsigned rows)
{
    unsigned height = rows / 2;
    if (run->target_count + LOG_ROWS_MIN <= rows)
        height = rows - (unsigned)run->target_count;
    return height < LOG_ROWS_MAX ? height : LOG_ROWS_MAX;
}

char *frame_compose(const struct run_view *run, const struct slots *glimpses,
                    const struct frame_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    struct row row = {.out = out, .paint = &options->paint, .left = options->columns};
    bool all = frame_has_room_for_all(run, options->rows);
    bool hint = options->keys && options->rows >= FRAME_ROOMY;
    bool log = options->chosen != NULL && options->rows >= FRAME_ROOMY;
    unsigned rows = options->rows - frame_head_rows(run, options->rows, all) - hint;
    unsigned log_rows = log ? log_height(run, rows) : 0;
    frame_head(&row, run, options, all);
    if (options->rows > 3)
        frame_list(&row, run, glimpses, options, rows - log_rows);
    if (log)
        put_log(&row, run, options, log_rows);
    if (hint) {
        row_next(&row, options->columns);
        put_hint(&row, run, options);
    }
    fclose(out);
    return text;
}
