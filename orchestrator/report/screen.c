/* SPDX-License-Identifier: Apache-2.0 */
#include "report/screen.h"

#include "report/fleet.h"
#include "report/frame.h"
#include "report/lines.h"
#include "report/outbox.h"
#include "report/summary.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_MS   100u
#define CLOCK_MS    1000u /* the picture's clock goes on when nothing else changes */
#define SCROLL_MAX  (256u * 1024u)
#define HIDE_CURSOR "\x1b[?25l"
#define SHOW_CURSOR "\x1b[0m\x1b[?25h"

enum { WATCH_WINDOW, WATCH_CONTINUE, WATCH_STOP, WATCH_COUNT };

struct screen {
    struct screen_options options;
    struct paint paint;
    struct outbox *outbox;
    struct lines *lines;
    const struct run_view *run; /* NULL until the run began */
    uint64_t began, drawn_at;
    uv_timer_t timer;
    uv_signal_t signals[WATCH_COUNT];
    unsigned open_handles;

    struct slots glimpses; /* struct glimpse */
    char *scroll;          /* lines that wait to go above the picture */
    size_t scroll_size;
    char *picture;          /* what is on the screen, NULL: nothing */
    unsigned columns, rows; /* when it was drawn */
    bool dirty, suspended, ended;
};

/* The terminal whose cursor is hidden, + 1. Process-wide, because a signal handler has nothing else
 * to go by. */
static volatile sig_atomic_t hidden_on;

void screen_restore(void)
{
    int fd = (int)hidden_on - 1;
    int saved = errno;
    if (fd < 0)
        return;
    hidden_on = 0;
    static const char text[] = SHOW_CURSOR "\r\n";
    ssize_t written = write(fd, text, sizeof text - 1);
    (void)written;
    errno = saved;
}

bool screen_is_possible(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

/* --- drawing ---------------------------------------------------------------------------------- */

static void measure(const struct screen *screen, unsigned *columns, unsigned *rows)
{
    struct winsize size = {0};
    ioctl(screen->options.fd, TIOCGWINSZ, &size);
    *columns = size.ws_col > 0 ? size.ws_col : 80;
    *rows = size.ws_row > 0 ? size.ws_row : 24;
}

/* Columns of a line of the picture, which may hold colours. */
static unsigned painted_columns(const char *line, size_t size)
{
    unsigned columns = 0;
    const char *at = line;
    while (at < line + size) {
        if (*at == '\x1b') {
            at += strcspn(at, "m") + 1;
            continue;
        }
        const char *start = at;
        char one[8];
        text_next(&at);
        snprintf(one, sizeof one, "%.*s", (int)(at - start), start);
        columns += text_columns(one);
    }
    return columns;
}

/* Rows from the first to the last of the picture as the terminal shows it now: one that became
 * narrower has broken the long lines. */
static unsigned picture_height(const struct screen *screen, unsigned columns)
{
    unsigned height = 0;
    for (const char *line = screen->picture; line != NULL;) {
        size_t size = strcspn(line, "\n");
        unsigned width = columns < screen->columns ? painted_columns(line, size) : 0;
        height += width > columns ? (width + columns - 1) / columns : 1;
        line = line[size] == '\n' ? line + size + 1 : NULL;
    }
    return height;
}

/* Removes the picture; the cursor stands where it began. */
static void erase(struct screen *screen, FILE *out)
{
    if (screen->picture == NULL)
        return;
    unsigned columns, rows;
    measure(screen, &columns, &rows);
    unsigned height = picture_height(screen, columns);
    fputc('\r', out);
    if (height > 1)
        fprintf(out, "\x1b[%uA", height - 1);
    fputs("\x1b[J", out);
    free(screen->picture);
    screen->picture = NULL;
}

/* "\n" in text as a terminal in any mode wants it. */
static void put_lines(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputc('\r', out);
        fputc(*text, out);
    }
}

static void put_scroll(struct screen *screen, FILE *out)
{
    if (screen->scroll_size == 0)
        return;
    put_lines(out, screen->scroll);
    free(screen->scroll);
    screen->scroll = NULL;
    screen->scroll_size = 0;
}

/* Draws picture over the old one of as many lines, touching only the lines that differ. The cursor
 * rests at the last line. */
static void put_changes(const struct screen *screen, const char *picture, unsigned height,
                        FILE *out)
{
    const char *old = screen->picture;
    unsigned at = height - 1;
    for (unsigned i = 0; i < height; i++) {
        size_t size = strcspn(picture, "\n");
        size_t old_size = strcspn(old, "\n");
        if (size != old_size || memcmp(picture, old, size) != 0) {
            fputc('\r', out);
            if (i < at)
                fprintf(out, "\x1b[%uA", at - i);
            else if (i > at)
                fprintf(out, "\x1b[%uB", i - at);
            at = i;
            fprintf(out, "%.*s\x1b[K", (int)size, picture);
        }
        picture += size + (picture[size] == '\n');
        old += old_size + (old[old_size] == '\n');
    }
    if (at < height - 1)
        fprintf(out, "\x1b[%uB", height - 1 - at);
}

static unsigned line_count(const char *text)
{
    unsigned count = 1;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

static char *compose(struct screen *screen, unsigned columns, unsigned rows)
{
    struct frame_options options = {
        .columns = columns > 1 ? columns - 1 : 1, /* the last one makes some terminals wrap */
        .rows = rows > 2 ? rows - 1 : 1,          /* one remains for what scrolls by */
        .paint = screen->paint,
        .elapsed = screen->options.now() - screen->began,
    };
    return frame_compose(screen->run, &screen->glimpses, &options);
}

static void hand_over(struct screen *screen, FILE *out, char **text, const size_t *size)
{
    fclose(out);
    if (*text != NULL && *size > 0)
        outbox_add(screen->outbox, *text, *size);
    free(*text);
}

static void draw(struct screen *screen)
{
    unsigned columns, rows;
    measure(screen, &columns, &rows);
    char *picture = compose(screen, columns, rows);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (picture == NULL || out == NULL) {
        free(picture);
        return;
    }
    if (hidden_on == 0) {
        hidden_on = screen->options.fd + 1;
        fputs(HIDE_CURSOR, out);
    }
    unsigned height = line_count(picture);
    if (screen->picture == NULL || screen->scroll_size > 0 || columns != screen->columns ||
        rows != screen->rows || height != line_count(screen->picture)) {
        erase(screen, out);
        put_scroll(screen, out);
        put_lines(out, picture);
    } else {
        put_changes(screen, picture, height, out);
    }
    free(screen->picture);
    screen->picture = picture;
    screen->columns = columns;
    screen->rows = rows;
    screen->dirty = false;
    screen->drawn_at = screen->options.now();
    hand_over(screen, out, &text, &size);
}

static void tick_callback(uv_timer_t *timer)
{
    struct screen *screen = timer->data;
    if (screen->run == NULL || screen->suspended || screen->ended)
        return;
    bool due = screen->dirty || screen->options.now() - screen->drawn_at >= CLOCK_MS;
    if (due && outbox_pending(screen->outbox) == 0) /* else the terminal does not keep up */
        draw(screen);
}

/* Removes the picture and shows the cursor; extra (may be NULL) comes after what waits to scroll.
 */
static void put_away(struct screen *screen, const char *extra)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return;
    erase(screen, out);
    put_scroll(screen, out);
    if (extra != NULL)
        put_lines(out, extra);
    if (hidden_on != 0)
        fputs(SHOW_CURSOR, out);
    hand_over(screen, out, &text, &size);
    outbox_flush(screen->outbox);
    hidden_on = 0;
}

/* --- signals ------------------------------------------------------------------------------ */

static void signal_callback(uv_signal_t *handle, int number)
{
    struct screen *screen = handle->data;
    screen->dirty = true;
    if (number == SIGTSTP) { /* ^Z: as if we had not caught it, but with a cursor */
        put_away(screen, NULL);
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
    measure(screen, &columns, &rows);
    char *line = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&line, &size);
    if (out == NULL)
        return;
    fputs(paint_begin(&screen->paint, colours[kind]), out);
    text_wrap(out, text, 0, 10, columns > 1 ? columns - 1 : 1);
    fprintf(out, "%s\n", paint_end(&screen->paint, colours[kind]));
    fclose(out);
    char *scroll = screen->scroll_size + size < SCROLL_MAX
                       ? realloc(screen->scroll, screen->scroll_size + size + 1)
                       : NULL;
    if (scroll != NULL) {
        memcpy(scroll + screen->scroll_size, line, size + 1);
        screen->scroll = scroll;
        screen->scroll_size += size;
    }
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
    struct lines_options line_options = {
        .verbosity = options->verbosity,
        .live = true,
        .utf8 = screen->paint.utf8,
        .now = options->now,
        .line = scroll_line,
        .arg = screen,
    };
    screen->lines = lines_new(&line_options);
    screen->outbox = outbox_new(options->fd);
    if (screen->lines == NULL || screen->outbox == NULL) {
        outbox_free(screen->outbox);
        lines_free(screen->lines);
        free(screen);
        return NULL;
    }
    watch(screen);
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
    put_away(screen, NULL);
    outbox_free(screen->outbox);
    lines_free(screen->lines);
    slots_free(&screen->glimpses);
    uv_close((uv_handle_t *)&screen->timer, close_callback);
    for (int i = 0; i < WATCH_COUNT; i++)
        uv_close((uv_handle_t *)&screen->signals[i], close_callback);
}

/* --- the observer
 * --------------------------------------------------------------------------------- */

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
}

static void screen_target_changed(const struct run_view *run, const struct target_status *target,
                                  void *arg)
{
    (void)run;
    struct screen *screen = arg;
    struct glimpse *glimpse = slots_at(&screen->glimpses, target->index);
    if (glimpse != NULL)
        glimpse_update(glimpse, target);
    screen->dirty = true;
    lines_target_changed(screen->lines, target);
}

static void screen_target_log(const struct run_view *run, const struct target_status *target,
                              enum log_level level, const char *text, void *arg)
{
    (void)run;
    struct screen *screen = arg;
    lines_target_log(screen->lines, target, level, text);
}

static void screen_target_done(const struct run_view *run, const struct target_status *target,
                               void *arg)
{
    (void)run;
    struct screen *screen = arg;
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
    put_away(screen, NULL);
}

static void screen_resume(const struct run_view *run, void *arg)
{
    (void)run;
    struct screen *screen = arg;
    screen->suspended = false;
    screen->dirty = true;
}

static void screen_run_ended(const struct run_view *run, void *arg)
{
    struct screen *screen = arg;
    char *text = NULL;
    size_t size = 0;
    unsigned columns, rows;
    measure(screen, &columns, &rows);
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return;
    if (screen->options.verbosity > -2)
        summary_print(run, &screen->paint, columns > 1 ? columns - 1 : 1, out);
    fclose(out);
    screen->ended = true;
    put_away(screen, text);
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
