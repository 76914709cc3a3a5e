/* SPDX-License-Identifier: Apache-2.0 */
#include "report/screen.h"

#include "report/canvas.h"
#include "report/fleet.h"
#include "report/frame.h"
#include "report/keys.h"
#include "report/lines.h"
#include "report/summary.h"
#include "report/tail.h"
#include "report/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REDRAW_MS 100u
#define CLOCK_MS  1000u /* the picture's clock goes on when nothing else changes */
#define NOTHING   SIZE_MAX

enum { WATCH_WINDOW, WATCH_CONTINUE, WATCH_STOP, WATCH_COUNT };

struct screen {
    struct screen_options options;
    struct paint paint;
    struct canvas canvas;
    struct lines *lines;
    struct keys *keys;          /* NULL: there are none */
    const struct run_view *run; /* NULL until the run began */
    uint64_t began, drawn_at;
    uv_timer_t timer;
    uv_signal_t signals[WATCH_COUNT];
    unsigned open_handles;

    struct slots glimpses; /* struct glimpse */
    struct slots tails;    /* struct tail */
    size_t chosen;         /* the target whose log is shown, its place in run->targets; NOTHING */
    bool dirty, suspended, ended;
};

/* --- drawing ---------------------------------------------------------------------------------- */

/* Rows that the picture may take: one remains for what scrolls by. */
static unsigned picture_rows(unsigned rows)
{
    return rows > 2 ? rows - 1 : 1;
}

static uint64_t elapsed(const struct screen *screen)
{
    return screen->options.now() - screen->began;
}

static struct tail *tail_of(struct screen *screen, const struct target_status *target)
{
    return slots_at(&screen->tails, target->index);
}

static char *compose(struct screen *screen, unsigned columns, unsigned rows)
{
    struct frame_options options = {
        .columns = columns > 1 ? columns - 1 : 1, /* the last one makes some terminals wrap */
        .rows = picture_rows(rows),
        .paint = screen->paint,
        .elapsed = elapsed(screen),
        .keys = keys_are_read(screen->keys),
    };
    if (screen->chosen != NOTHING) {
        options.chosen = &screen->chosen;
        options.log = tail_of(screen, screen->run->targets[screen->chosen]);
    }
    return frame_compose(screen->run, &screen->glimpses, &options);
}

static void draw(struct screen *screen)
{
    unsigned columns, rows;
    canvas_measure(&screen->canvas, &columns, &rows);
    char *picture = compose(screen, columns, rows);
    if (picture == NULL)
        return;
    canvas_draw(&screen->canvas, picture, columns, rows);
    screen->dirty = false;
    screen->drawn_at = screen->options.now();
}

static void tick_callback(uv_timer_t *timer)
{
    struct screen *screen = timer->data;
    if (screen->run == NULL || screen->suspended || screen->ended)
        return;
    if (screen->keys != NULL)
        keys_check(screen->keys);
    bool due = screen->dirty || screen->options.now() - screen->drawn_at >= CLOCK_MS;
    if (due && outbox_pending(screen->canvas.outbox) == 0) /* else the terminal does not keep up */
        draw(screen);
}

/* --- keys --------------------------------------------------------------------------------- */

/* The next device whose log is shown, in the order of the picture; the first one when there is none
 * yet. */
static void choose(struct screen *screen, int key)
{
    unsigned columns, rows;
    size_t count = screen->run->target_count;
    canvas_measure(&screen->canvas, &columns, &rows);
    size_t *order = frame_order(screen->run, picture_rows(rows));
    size_t at = 0;
    if (order == NULL || count == 0) {
        free(order);
        return;
    }
    while (screen->chosen != NOTHING && at + 1 < count && order[at] != screen->chosen)
        at++;
    if (screen->chosen == NOTHING || key == KEY_FIRST)
        at = 0;
    else if (key == KEY_LAST)
        at = count - 1;
    else if (key == KEY_DOWN && at + 1 < count)
        at++;
    else if (key == KEY_UP && at > 0)
        at--;
    screen->chosen = order[at];
    free(order);
}

static void command(const struct screen *screen, enum screen_command command)
{
    if (screen->options.command != NULL)
        screen->options.command(command, screen->options.arg);
}

static void key_callback(int key, void *arg)
{
    struct screen *screen = arg;
    if (screen->ended || screen->suspended)
        return;
    screen->dirty = true;
    switch (key) {
    case KEY_UP:
    case 'k':
        choose(screen, KEY_UP);
        break;
    case KEY_DOWN:
    case 'j':
        choose(screen, KEY_DOWN);
        break;
    case KEY_FIRST:
    case 'g':
        choose(screen, KEY_FIRST);
        break;
    case KEY_LAST:
    case 'G':
        choose(screen, KEY_LAST);
        break;
    case KEY_ESCAPE:
        screen->chosen = NOTHING;
        break;
    case 'p':
        command(screen, SCREEN_PAUSE);
        break;
    case 'r':
        command(screen, SCREEN_RESUME);
        break;
    case 'q':
        command(screen, SCREEN_STOP);
        break;
    default:
        break;
    }
}

static void listen_to_keys(struct screen *screen)
{
    if (screen->keys != NULL)
        keys_listen(screen->keys, screen->run != NULL && screen->run->phase == RUN_FLASHING &&
                                      !screen->suspended && !screen->ended);
}

/* --- signals ------------------------------------------------------------------------------ */

static void signal_callback(uv_signal_t *handle, int number)
{
    struct screen *screen = handle->data;
    screen->dirty = true;
    if (number == SIGCONT && screen->keys != NULL)
        keys_continued(screen->keys);
    if (number == SIGTSTP) { /* ^Z: as if we had not caught it, but with a cursor */
        canvas_put_away(&screen->canvas, NULL);
        if (screen->keys != NULL)
            keys_stopping(screen->keys);
        raise(SIGSTOP);
    }
}

/* --- what scrolls by ---------------------------------------------------------------------- */

static void scroll_line(enum line_kind kind, const char *text, void *arg)
{
    static const enum colour colours[LINE_KIND_COUNT] = {
        [LINE_FAILURE] = COLOUR_RED, [LINE_WARNING] = COLOUR_YELLOW, [LINE_DEBUG] = COLOUR_DIM};
    struct screen *screen = arg;
    unsigned columns, rows;
    canvas_measure(&screen->canvas, &columns, &rows);
    char *line = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&line, &size);
    if (out == NULL)
        return;
    fputs(paint_begin(&screen->paint, colours[kind]), out);
    text_wrap(out, text, 0, 10, columns > 1 ? columns - 1 : 1);
    fprintf(out, "%s\n", paint_end(&screen->paint, colours[kind]));
    fclose(out);
    canvas_scroll(&screen->canvas, line, size);
    free(line);
    screen->dirty = true;
}

/* --- life --------------------------------------------------------------------------------- */

static void watch(struct screen *screen)
{
    static const int numbers[WATCH_COUNT] = {SIGWINCH, SIGCONT, SIGTSTP};
    uv_timer_init(screen->options.loop, &screen->timer);
    screen->timer.data = screen;
    uv_timer_start(&screen->timer, tick_callback, 0, REDRAW_MS);
    uv_unref((uv_handle_t *)&screen->timer);
    for (int i = 0; i < WATCH_COUNT; i++) {
        uv_signal_init(screen->options.loop, &screen->signals[i]);
        screen->signals[i].data = screen;
        uv_signal_start(&screen->signals[i], signal_callback, numbers[i]);
        uv_unref((uv_handle_t *)&screen->signals[i]);
    }
    screen->open_handles = 1 + WATCH_COUNT;
}

struct screen *screen_new(const struct screen_options *options)
{
    struct screen *screen = calloc(1, sizeof *screen);
    if (screen == NULL)
        return NULL;
    screen->options = *options;
    if (screen->options.now == NULL)
        screen->options.now = clock_monotonic;
    screen->began = screen->options.now();
    screen->paint = paint_for(options->fd);
    screen->glimpses.item = sizeof(struct glimpse);
    screen->tails.item = sizeof(struct tail);
    screen->chosen = NOTHING;
    struct lines_options line_options = {
        .verbosity = options->verbosity,
        .live = true,
        .utf8 = screen->paint.utf8,
        .now = options->now,
        .line = scroll_line,
        .arg = screen,
    };
    screen->lines = lines_new(&line_options);
    screen->canvas = (struct canvas){.fd = options->fd, .outbox = outbox_new(options->fd)};
    if (screen->lines == NULL || screen->canvas.outbox == NULL) {
        outbox_free(screen->canvas.outbox);
        lines_free(screen->lines);
        if (options->keys >= 0)
            close(options->keys);
        free(screen);
        return NULL;
    }
    watch(screen);
    terminal_catch_crashes();
    if (options->keys >= 0)
        screen->keys = keys_new(options->loop, options->keys, key_callback, screen);
    return screen;
}

static void close_callback(uv_handle_t *handle)
{
    struct screen *screen = handle->data;
    if (--screen->open_handles == 0)
        free(screen);
}

void screen_free(struct screen *screen)
{
    if (screen == NULL)
        return;
    keys_free(screen->keys);
    if (screen->options.keys >= 0)
        close(screen->options.keys);
    canvas_put_away(&screen->canvas, NULL);
    terminal_release_crashes();
    outbox_free(screen->canvas.outbox);
    lines_free(screen->lines);
    slots_free(&screen->glimpses);
    for (size_t i = 0; i < screen->tails.count; i++)
        tail_clear(slots_at(&screen->tails, (unsigned)i));
    slots_free(&screen->tails);
    uv_close((uv_handle_t *)&screen->timer, close_callback);
    for (int i = 0; i < WATCH_COUNT; i++)
        uv_close((uv_handle_t *)&screen->signals[i], close_callback);
}

/* --- the observer -------------------------------------------------------------------------- */

static void screen_run_started(const struct run_view *run, void *arg)
{
    struct screen *screen = arg;
    screen->run = run;
    screen->dirty = true;
}

static void screen_image_progress(const struct run_view *run, void *arg)
{
    struct screen *screen = arg;
    screen->dirty = true;
    lines_image_progress(screen->lines, run);
}

static void screen_image_ready(const struct run_view *run, void *arg)
{
    struct screen *screen = arg;
    screen->dirty = true;
    lines_image_ready(screen->lines, run);
}

static void screen_wave_started(const struct run_view *run, unsigned wave, void *arg)
{
    struct screen *screen = arg;
    screen->dirty = true;
    lines_wave_started(screen->lines, run, wave);
    listen_to_keys(screen);
}

static void screen_target_changed(const struct run_view *run, const struct target_status *target,
                                  void *arg)
{
    (void)run;
    struct screen *screen = arg;
    struct glimpse *glimpse = slots_at(&screen->glimpses, target->index);
    if (glimpse != NULL)
        glimpse_update(glimpse, target);
    struct tail *tail = tail_of(screen, target);
    if (tail != NULL)
        tail_note(tail, elapsed(screen), target);
    screen->dirty = true;
    lines_target_changed(screen->lines, target);
}

static void screen_target_log(const struct run_view *run, const struct target_status *target,
                              enum log_level level, const char *text, void *arg)
{
    (void)run;
    struct screen *screen = arg;
    struct tail *tail = tail_of(screen, target);
    if (tail != NULL && (level > LOG_DEBUG || screen->options.verbosity > 0))
        tail_add(tail,
                 level == LOG_ERROR     ? LINE_FAILURE
                 : level == LOG_WARNING ? LINE_WARNING
                 : level == LOG_INFO    ? LINE_DETAIL
                                        : LINE_DEBUG,
                 elapsed(screen), text);
    lines_target_log(screen->lines, target, level, text);
}

static void screen_target_done(const struct run_view *run, const struct target_status *target,
                               void *arg)
{
    (void)run;
    struct screen *screen = arg;
    struct tail *tail = tail_of(screen, target);
    if (tail != NULL)
        tail_done(tail, elapsed(screen), target);
    screen->dirty = true;
    lines_target_done(screen->lines, target);
}

static void screen_soak_started(const struct run_view *run, unsigned wave, uint64_t until,
                                void *arg)
{
    (void)run;
    (void)wave;
    (void)until;
    ((struct screen *)arg)->dirty = true;
}

static void screen_target_soaked(const struct run_view *run, const struct target_status *target,
                                 void *arg)
{
    (void)run;
    struct screen *screen = arg;
    screen->dirty = true;
    lines_target_soaked(screen->lines, target);
}

static void screen_message(const struct run_view *run, enum log_level level, const char *text,
                           void *arg)
{
    (void)run;
    struct screen *screen = arg;
    lines_message(screen->lines, level, text);
}

static void screen_suspend(const struct run_view *run, void *arg)
{
    (void)run;
    struct screen *screen = arg;
    screen->suspended = true;
    listen_to_keys(screen);
    canvas_put_away(&screen->canvas, NULL);
}

static void screen_resume(const struct run_view *run, void *arg)
{
    (void)run;
    struct screen *screen = arg;
    screen->suspended = false;
    screen->dirty = true;
    listen_to_keys(screen);
}

static void screen_run_ended(const struct run_view *run, void *arg)
{
    struct screen *screen = arg;
    char *text = NULL;
    size_t size = 0;
    unsigned columns, rows;
    canvas_measure(&screen->canvas, &columns, &rows);
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return;
    if (screen->options.verbosity > -2)
        summary_print(run, &screen->paint, columns > 1 ? columns - 1 : 1, out);
    fclose(out);
    screen->ended = true;
    listen_to_keys(screen);
    canvas_put_away(&screen->canvas, text);
    free(text);
}

struct run_observer screen_observer(struct screen *screen)
{
    return (struct run_observer){
        .run_started = screen_run_started,
        .image_progress = screen_image_progress,
        .image_ready = screen_image_ready,
        .wave_started = screen_wave_started,
        .target_changed = screen_target_changed,
        .target_log = screen_target_log,
        .target_done = screen_target_done,
        .soak_started = screen_soak_started,
        .target_soaked = screen_target_soaked,
        .message = screen_message,
        .suspend = screen_suspend,
        .resume = screen_resume,
        .run_ended = screen_run_ended,
        .arg = screen,
    };
}
