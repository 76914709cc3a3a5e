/* SPDX-License-Identifier: Apache-2.0 */
#include "screen_scene.h"

#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* --- the terminal -------------------------------------------------------------------------- */

static void reader_thread(void *arg)
{
    struct terminal *terminal = arg;
    char piece[4096];
    ssize_t got;
    while ((got = read(terminal->master, piece, sizeof piece)) > 0) {
        uv_mutex_lock(&terminal->mutex);
        terminal->text = realloc(terminal->text, terminal->size + (size_t)got + 1);
        memcpy(terminal->text + terminal->size, piece, (size_t)got);
        terminal->size += (size_t)got;
        terminal->text[terminal->size] = '\0';
        uv_mutex_unlock(&terminal->mutex);
    }
}

size_t terminal_size(struct terminal *terminal)
{
    uv_mutex_lock(&terminal->mutex);
    size_t size = terminal->size;
    uv_mutex_unlock(&terminal->mutex);
    return size;
}

/* Waits until all that was written has been read: a sequence that does nothing comes after it. */
void terminal_sync(struct terminal *terminal)
{
    static const char mark[] = "\x1b[10m\r";
    size_t size = sizeof mark - 1;
    bool seen = false;
    for (unsigned i = 0; !seen; i++) {
        if (i % 100 == 0) /* again when the screen's thread wrote after it */
            assert_int_equal(write(terminal->slave, mark, size), size);
        usleep(1000);
        uv_mutex_lock(&terminal->mutex);
        seen = terminal->size >= size &&
               memcmp(terminal->text + terminal->size - size, mark, size) == 0;
        uv_mutex_unlock(&terminal->mutex);
    }
}

void terminal_resize(struct terminal *terminal, unsigned short columns, unsigned short rows)
{
    struct winsize size = {.ws_col = columns, .ws_row = rows};
    assert_int_equal(ioctl(terminal->master, TIOCSWINSZ, &size), 0);
}

void terminal_open(struct terminal *terminal, unsigned short columns, unsigned short rows)
{
    memset(terminal, 0, sizeof *terminal);
    assert_int_equal(openpty(&terminal->master, &terminal->slave, NULL, NULL, NULL), 0);
    terminal_resize(terminal, columns, rows);
    uv_mutex_init(&terminal->mutex);
    uv_thread_create(&terminal->reader, reader_thread, terminal);
}

void terminal_close(struct terminal *terminal)
{
    close(terminal->slave);
    uv_thread_join(&terminal->reader);
    close(terminal->master);
    uv_mutex_destroy(&terminal->mutex);
    assert_non_null(terminal->text);
}

int terminal_open_again(const struct terminal *terminal)
{
    int fd = open(ttyname(terminal->slave), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

bool terminal_is_cooked(const struct terminal *terminal)
{
    struct termios modes;
    assert_int_equal(tcgetattr(terminal->master, &modes), 0);
    return (modes.c_lflag & (ECHO | ICANON)) == (ECHO | ICANON);
}

static const char *last_of(const char *text, const char *part)
{
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        last = at;
    return last;
}

#define HIDE "\x1b[?25l"
#define SHOW "\x1b[?25h"

void assert_cursor_restored(const struct terminal *terminal)
{
    const char *hide = last_of(terminal->text, HIDE);
    const char *show = last_of(terminal->text, SHOW);
    assert_non_null(hide); /* else nothing was tested */
    assert_non_null(show);
    assert_true(show > hide);
}

/* --- a run on it --------------------------------------------------------------------------- */

static uint64_t now;

uint64_t scene_now(void)
{
    return now += 1000;
}

void scene_begin(struct scene *scene, size_t targets, unsigned short columns, unsigned short rows)
{
    memset(scene, 0, sizeof *scene);
    terminal_open(&scene->terminal, columns, rows);
    scene->fake = fake_new(targets);
    uv_loop_init(&scene->loop);
    scene->screen = screen_new(&(struct screen_options){
        .loop = &scene->loop, .fd = scene->terminal.slave, .keys = -1, .now = scene_now});
    scene->see = screen_observer(scene->screen);
    scene->see.run_started(&scene->fake->run, scene->see.arg);
}

static void command_callback(enum screen_command command, void *arg)
{
    struct scene *scene = arg;
    if (command == SCREEN_STOP)
        scene->fake->run.interrupted = true;
    else
        scene->fake->run.paused = command == SCREEN_PAUSE;
}

void scene_begin_with_keys(struct scene *scene, size_t targets)
{
    memset(scene, 0, sizeof *scene);
    terminal_open(&scene->terminal, 80, 24);
    scene->fake = fake_new(targets);
    uv_loop_init(&scene->loop);
    scene->screen =
        screen_new(&(struct screen_options){.loop = &scene->loop,
                                            .fd = scene->terminal.slave,
                                            .keys = terminal_open_again(&scene->terminal),
                                            .now = scene_now,
                                            .command = command_callback,
                                            .arg = scene});
    scene->see = screen_observer(scene->screen);
    scene->see.run_started(&scene->fake->run, scene->see.arg);
    fake_image(scene->fake);
}

static void stop_callback(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

void scene_wait(uv_loop_t *loop, unsigned milliseconds)
{
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, stop_callback, milliseconds, 0);
    uv_run(loop, UV_RUN_DEFAULT);
}

void scene_draw(struct scene *scene)
{
    size_t before = terminal_size(&scene->terminal);
    for (int i = 0; i < 10 && terminal_size(&scene->terminal) == before; i++)
        scene_wait(&scene->loop, 120);
    scene_wait(&scene->loop, 120);
    terminal_sync(&scene->terminal);
}

void scene_end(struct scene *scene)
{
    screen_free(scene->screen);
    uv_run(&scene->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&scene->loop), 0);
    terminal_close(&scene->terminal);
}

void scene_free(struct scene *scene)
{
    free(scene->terminal.text);
    fake_free(scene->fake);
}

void scene_stir(struct scene *scene, unsigned turn)
{
    struct fake *fake = scene->fake;
    for (size_t i = 0; i < fake->count; i++) {
        struct target_status *target = &fake->targets[i];
        if (i % 9 == 8 || target->outcome != OUTCOME_NONE)
            continue;
        target->started = true;
        target->state = (enum target_state)((i + turn) % STATE_COUNT);
        snprintf(target->activity, sizeof target->activity,
                 "turn %u \x1b[31m\x9b 日本 of a rather long activity that goes on and on", turn);
        scene->see.target_changed(&fake->run, target, scene->see.arg);
        if (i % 3 == 0) {
            target->blocks_total = 1000;
            target->blocks_done = 100 * turn + (unsigned)i;
            target->rate = 123456789.0 * (double)i;
            target->remaining_ms = 3599000ull * (i % 100);
            scene->see.target_changed(&fake->run, target, scene->see.arg);
        }
        if (i % 7 == 6 && turn == 1) {
            fake_failed(fake, i,
                        "it said \x1b]0;gotcha\x07 and then nothing more, for a very "
                        "long time, so that we gave up \xff",
                        "look \x1b[2Jat it");
            scene->see.target_done(&fake->run, target, scene->see.arg);
        }
    }
}
