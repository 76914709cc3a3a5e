/* SPDX-License-Identifier: Apache-2.0 */
/* The live screen on a pseudo-terminal: nothing drawn is wider than it, nothing of a device's text
 * acts on it, and its cursor comes back whatever happens. */
#include "report/frame.h"
#include "report/keys.h"
#include "report/screen.h"
#include "report/terminal.h"
#include "report_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

/* --- a terminal that remembers
 * -------------------------------------------------------------------- */

struct terminal {
    int master, slave;
    uv_thread_t reader;
    uv_mutex_t mutex; /* of what follows */
    char *text;
    size_t size;
};

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

static size_t terminal_size(struct terminal *terminal)
{
    uv_mutex_lock(&terminal->mutex);
    size_t size = terminal->size;
    uv_mutex_unlock(&terminal->mutex);
    return size;
}

/* Waits until all that was written has been read: a sequence that does nothing comes after it. */
static void terminal_sync(struct terminal *terminal)
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

static void terminal_resize(struct terminal *terminal, unsigned short columns, unsigned short rows)
{
    struct winsize size = {.ws_col = columns, .ws_row = rows};
    assert_int_equal(ioctl(terminal->master, TIOCSWINSZ, &size), 0);
}

static void terminal_open(struct terminal *terminal, unsigned short columns, unsigned short rows)
{
    memset(terminal, 0, sizeof *terminal);
    assert_int_equal(openpty(&terminal->master, &terminal->slave, NULL, NULL, NULL), 0);
    terminal_resize(terminal, columns, rows);
    uv_mutex_init(&terminal->mutex);
    uv_thread_create(&terminal->reader, reader_thread, terminal);
}

/* Everything that was written is in text then. */
static void terminal_close(struct terminal *terminal)
{
    close(terminal->slave);
    uv_thread_join(&terminal->reader);
    close(terminal->master);
    uv_mutex_destroy(&terminal->mutex);
    assert_non_null(terminal->text);
}

/* The widest piece between two movements of the cursor, in columns. Fails at any control sequence
 * that the screen has no business with. */
static unsigned widest_piece(const char *text)
{
    unsigned widest = 0, column = 0;
    while (*text != '\0') {
        if (*text == '\x1b') {
            assert_int_equal(text[1], '[');
            size_t size = 2 + strspn(text + 2, "?0123456789;");
            assert_non_null(strchr("ABKJmhl", text[size]));
            text += size + 1;
        } else if (*text == '\r' || *text == '\n') {
            column = 0;
            text++;
        } else {
            const char *start = text;
            char one[8];
            uint32_t code = text_next(&text);
            assert_true(code >= 0x20 && code != TEXT_INVALID && (code < 0x7f || code > 0x9f));
            snprintf(one, sizeof one, "%.*s", (int)(text - start), start);
            column += text_columns(one);
            widest = column > widest ? column : widest;
        }
    }
    return widest;
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

static void assert_cursor_restored(const struct terminal *terminal)
{
    const char *hide = last_of(terminal->text, HIDE);
    const char *show = last_of(terminal->text, SHOW);
    assert_non_null(hide); /* else nothing was tested */
    assert_non_null(show);
    assert_true(show > hide);
}

/* --- a run on it
 * ------------------------------------------------------------------------------------ */

struct scene {
    struct terminal terminal;
    struct fake *fake;
    uv_loop_t loop;
    struct screen *screen;
    struct run_observer see;
};

static uint64_t now;

/* A clock of which each look takes a second: every tick has something to draw. */
static uint64_t fake_now(void)
{
    return now += 1000;
}

static void scene_begin(struct scene *scene, size_t targets, unsigned short columns,
                        unsigned short rows)
{
    memset(scene, 0, sizeof *scene);
    terminal_open(&scene->terminal, columns, rows);
    scene->fake = fake_new(targets);
    uv_loop_init(&scene->loop);
    scene->screen = screen_new(&(struct screen_options){
        .loop = &scene->loop, .fd = scene->terminal.slave, .keys = -1, .now = fake_now});
    scene->see = screen_observer(scene->screen);
    scene->see.run_started(&scene->fake->run, scene->see.arg);
}

static void stop_callback(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

static void scene_wait(struct scene *scene, unsigned milliseconds)
{
    uv_timer_t timer;
    uv_timer_init(&scene->loop, &timer);
    uv_timer_start(&timer, stop_callback, milliseconds, 0);
    uv_run(&scene->loop, UV_RUN_DEFAULT);
}

/* Lets the screen draw what it has, if it differs from what is there. */
static void scene_draw(struct scene *scene)
{
    size_t before = terminal_size(&scene->terminal);
    for (int i = 0; i < 10 && terminal_size(&scene->terminal) == before; i++)
        scene_wait(scene, 120);
    scene_wait(scene, 120);
    terminal_sync(&scene->terminal);
}

static void scene_end(struct scene *scene)
{
    screen_free(scene->screen);
    uv_run(&scene->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&scene->loop), 0);
    terminal_close(&scene->terminal);
}

static void scene_free(struct scene *scene)
{
    free(scene->terminal.text);
    fake_free(scene->fake);
}

/* Targets in every state there is, with hostile texts. */
static void stir(struct scene *scene, unsigned turn)
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

static void check_size(size_t targets, unsigned short columns, unsigned short rows)
{
    struct scene scene;
    scene_begin(&scene, targets, columns, rows);
    scene_draw(&scene);
    fake_image(scene.fake);
    scene.fake->run.phase = RUN_FLASHING;
    for (unsigned turn = 0; turn < 3; turn++) {
        stir(&scene, turn);
        scene_draw(&scene);
    }
    scene.see.target_log(&scene.fake->run, &scene.fake->targets[0], LOG_WARNING,
                         "a warning \x1b[1;1H of more than a few words, which has to be broken",
                         scene.see.arg);
    scene_draw(&scene);
    fake_ended(scene.fake, 60000, 1);
    scene.see.run_ended(&scene.fake->run, scene.see.arg);
    scene_end(&scene);
    assert_in_range(widest_piece(scene.terminal.text), columns / 2, columns);
    assert_cursor_restored(&scene.terminal);
    assert_non_null(strstr(scene.terminal.text, "\\x1b[1;1H"));
    scene_free(&scene);
}

static void test_no_line_too_wide(void **state)
{
    (void)state;
    check_size(12, 80, 24);
    check_size(60, 80, 24);
    check_size(60, 200, 60);
    check_size(12, 40, 10);
    check_size(12, 24, 12);
    check_size(12, 21, 4);
    check_size(3, 12, 2);
}

/* After the window became smaller nothing is drawn that would not fit. */
static void test_resized(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 12, 120, 40);
    fake_image(scene.fake);
    stir(&scene, 0);
    scene_draw(&scene);
    terminal_resize(&scene.terminal, 50, 12);
    raise(SIGWINCH);
    scene_draw(&scene);
    size_t mark = terminal_size(&scene.terminal);
    stir(&scene, 1);
    scene_draw(&scene);
    scene_end(&scene);
    assert_true(widest_piece(scene.terminal.text) > 50); /* before */
    assert_true(mark > 0);
    unsigned after = widest_piece(scene.terminal.text + mark);
    assert_in_range(after, 20, 50);
    scene_free(&scene);
}

/* While the user is asked nothing is drawn and the cursor is there; what came up is told after. */
static void test_suspended(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 3, 80, 24);
    scene_draw(&scene);
    scene.see.suspend(&scene.fake->run, scene.see.arg);
    assert_int_equal(write(scene.terminal.slave, "QUESTION", 8), 8);
    scene.see.message(&scene.fake->run, LOG_WARNING, "came up meanwhile", scene.see.arg);
    stir(&scene, 0);
    scene_wait(&scene, 350);
    assert_int_equal(write(scene.terminal.slave, "ANSWER", 6), 6);
    scene.see.resume(&scene.fake->run, scene.see.arg);
    scene_draw(&scene);
    scene_end(&scene);
    const char *question = strstr(scene.terminal.text, "QUESTION");
    assert_non_null(question);
    assert_memory_equal(question, "QUESTIONANSWER", 14);
    assert_non_null(strstr(question, "came up meanwhile"));
    *(char *)(uintptr_t)question = '\0';
    assert_cursor_restored(&scene.terminal);
    scene_free(&scene);
}

/* --- keys ------------------------------------------------------------------------------------ */

static int open_again(const struct terminal *terminal)
{
    int fd = open(ttyname(terminal->slave), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Does it echo, and wait for whole lines? */
static bool is_cooked(const struct terminal *terminal)
{
    struct termios modes;
    assert_int_equal(tcgetattr(terminal->master, &modes), 0);
    return (modes.c_lflag & (ECHO | ICANON)) == (ECHO | ICANON);
}

static void command_callback(enum screen_command command, void *arg)
{
    struct scene *scene = arg;
    if (command == SCREEN_STOP)
        scene->fake->run.interrupted = true;
    else
        scene->fake->run.paused = command == SCREEN_PAUSE;
}

static void scene_begin_with_keys(struct scene *scene, size_t targets)
{
    memset(scene, 0, sizeof *scene);
    terminal_open(&scene->terminal, 80, 24);
    scene->fake = fake_new(targets);
    uv_loop_init(&scene->loop);
    scene->screen = screen_new(&(struct screen_options){.loop = &scene->loop,
                                                        .fd = scene->terminal.slave,
                                                        .keys = open_again(&scene->terminal),
                                                        .now = fake_now,
                                                        .command = command_callback,
                                                        .arg = scene});
    scene->see = screen_observer(scene->screen);
    scene->see.run_started(&scene->fake->run, scene->see.arg);
    fake_image(scene->fake);
}

static void scene_flash(struct scene *scene)
{
    scene->fake->run.phase = RUN_FLASHING;
    scene->see.wave_started(&scene->fake->run, 0, scene->see.arg);
    stir(scene, 0);
    scene_draw(scene);
}

/* What was drawn after the keys were pressed; valid until the next call. */
static const char *scene_press(struct scene *scene, const char *keys)
{
    size_t before = terminal_size(&scene->terminal);
    assert_int_equal(write(scene->terminal.master, keys, strlen(keys)), strlen(keys));
    scene_draw(scene);
    return scene->terminal.text + before;
}

static void test_keys(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin_with_keys(&scene, 60);
    scene_draw(&scene);
    assert_true(is_cooked(&scene.terminal)); /* the user may be asked something yet */
    scene_flash(&scene);
    assert_false(is_cooked(&scene.terminal));
    const char *shown = scene_press(&scene, "j");
    assert_non_null(strstr(shown, "── pi-01  10.0.0.11:22"));
    assert_non_null(strstr(shown, "turn 0 \\x1b[31m")); /* its log, cleaned */
    shown = scene_press(&scene, "j\x1b[B\x1bOB");       /* and both forms of the arrow */
    assert_non_null(strstr(shown, "10.0.0."));
    assert_null(strstr(shown, "── pi-01  10.0.0.11:22"));
    assert_non_null(strstr(scene_press(&scene, "\x1b[H"), "── pi-01  10.0.0.11:22"));
    assert_null(strstr(scene_press(&scene, "\x1b"), "── pi-"));
    assert_non_null(strstr(scene_press(&scene, "p"), "PAUSED"));
    assert_true(scene.fake->run.paused);
    assert_null(strstr(scene_press(&scene, "r"), "PAUSED"));
    assert_false(scene.fake->run.paused);
    assert_false(scene.fake->run.interrupted);
    assert_non_null(strstr(scene_press(&scene, "q"), "STOPPING"));
    assert_true(scene.fake->run.interrupted);
    scene_end(&scene);
    assert_cursor_restored(&scene.terminal);
    scene_free(&scene);
}

/* Whenever nothing is to be read the terminal is the user's, and at the end. */
static void test_keys_restored(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin_with_keys(&scene, 3);
    scene_flash(&scene);
    assert_false(is_cooked(&scene.terminal));
    scene.see.suspend(&scene.fake->run, scene.see.arg);
    assert_true(is_cooked(&scene.terminal));
    assert_int_equal(write(scene.terminal.master, "q", 1), 1); /* belongs to who asks */
    scene_wait(&scene, 250);
    assert_false(scene.fake->run.interrupted);
    assert_int_equal(tcflush(scene.terminal.slave, TCIFLUSH), 0);
    scene.see.resume(&scene.fake->run, scene.see.arg);
    assert_false(is_cooked(&scene.terminal));
    fake_ended(scene.fake, 1000, 0);
    scene.see.run_ended(&scene.fake->run, scene.see.arg);
    assert_true(is_cooked(&scene.terminal));
    scene_end(&scene);
    scene_free(&scene);
}

static void test_decode(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count;
        int keys[3];
    } cases[] = {
        {"q", 1, {'q'}},
        {"\x1b[A\x1b[B", 2, {KEY_UP, KEY_DOWN}},
        {"\x1bOA\x1bOH", 2, {KEY_UP, KEY_FIRST}},
        {"\x1b[1~\x1b[4~j", 3, {KEY_FIRST, KEY_LAST, 'j'}},
        {"\x1b", 1, {KEY_ESCAPE}},
        {"\x1b[15~p", 1, {'p'}},    /* F5 */
        {"\x1b[1;5Qr", 1, {'r'}},   /* control and a function key: no q of it */
        {"\x1b[200~\x1b[", 0, {0}}, /* cut off */
        {"\x1bq", 2, {KEY_ESCAPE, 'q'}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int keys[8] = {0};
        assert_int_equal(keys_decode(cases[i].bytes, strlen(cases[i].bytes), keys, 8),
                         cases[i].count);
        assert_memory_equal(keys, cases[i].keys, cases[i].count * sizeof *keys);
    }
}

static void exit_handler(int number)
{
    terminal_restore();
    _exit(number);
}

/* A program that ends in the middle, by exit or by a signal. */
static void check_sudden_end(int number)
{
    struct terminal terminal;
    terminal_open(&terminal, 80, 24);
    pid_t child = fork();
    if (child == 0) {
        struct fake *fake = fake_new(3);
        uv_loop_t loop;
        uv_loop_init(&loop);
        signal(number, SIG_DFL); /* cmocka and sanitizers catch some */
        struct screen *screen = screen_new(&(struct screen_options){
            .loop = &loop, .fd = terminal.slave, .keys = open_again(&terminal), .now = fake_now});
        struct run_observer see = screen_observer(screen);
        signal(SIGTERM, exit_handler);
        see.run_started(&fake->run, see.arg);
        fake->run.phase = RUN_FLASHING;
        see.wave_started(&fake->run, 0, see.arg);
        uv_timer_t timer;
        uv_timer_init(&loop, &timer);
        uv_timer_start(&timer, stop_callback, 300, 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        if (is_cooked(&terminal))
            _exit(99); /* nothing would be tested */
        if (number != 0)
            raise(number);
        terminal_restore();
        terminal_restore(); /* twice does no harm */
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (number == 0 || number == SIGTERM)
        assert_int_equal(WEXITSTATUS(status), number);
    else /* what it would have died of without us */
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == number);
    assert_true(is_cooked(&terminal));
    terminal_close(&terminal);
    assert_cursor_restored(&terminal);
    free(terminal.text);
}

static void test_sudden_end(void **state)
{
    (void)state;
    static const int numbers[] = {0, SIGTERM, SIGSEGV, SIGABRT, SIGBUS, SIGQUIT};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        check_sudden_end(numbers[i]);
}

/* --- the picture alone
 * -------------------------------------------------------------------------------- */

static char *compose(struct fake *fake, unsigned columns, unsigned rows, bool utf8)
{
    struct slots glimpses = {.item = sizeof(struct glimpse)};
    for (size_t i = 0; i < fake->count; i++) {
        struct glimpse *glimpse = slots_at(&glimpses, (unsigned)i);
        glimpse_update(glimpse, &fake->targets[i]);
    }
    struct frame_options options = {
        .columns = columns, .rows = rows, .paint = {.utf8 = utf8}, .elapsed = 62000};
    char *picture = frame_compose(&fake->run, &glimpses, &options);
    slots_free(&glimpses);
    return picture;
}

static struct fake *small_fleet(void)
{
    struct fake *fake = fake_new(4);
    fake_image(fake);
    fake->run.phase = RUN_FLASHING;
    fake_flashed(fake, 0);
    fake_failed(fake, 1, "no answer on port 22 — for five minutes at the very least", NULL);
    struct target_status *target = &fake->targets[2];
    target->started = true;
    target->state = STATE_TRANSFER;
    strcpy(target->activity, "staging");
    target->blocks_done = 50;
    target->blocks_total = 100;
    target->rate = 10 << 20;
    target->remaining_ms = 65000;
    return fake;
}

static void test_picture(void **state)
{
    (void)state;
    struct fake *fake = small_fleet();
    char *picture = compose(fake, 72, 20, true);
    assert_string_equal(picture,
                        "golden.img.xz  4 targets  1m02s\n"
                        "1 failed  1 flashed  1 active  1 waiting  10.0 MiB/s  about 3m left\n"
                        "✓ pi-01  flashed       1m12s, 100 MiB sent\n"
                        "✗ pi-02  failed        no answer on port 22 — for five minutes at the v…\n"
                        "• pi-03  transfer      ━━━━━━━━━━━━─────────────  50%  10.0 MiB/s  1m05s\n"
                        "· pi-04  waiting       ");
    free(picture);
    picture = compose(fake, 72, 20, false);
    assert_non_null(strstr(picture, "* pi-03  transfer      ############.............  50%"));
    for (const char *c = picture; *c != '\0'; c++)
        assert_true((unsigned char)*c < 0x80);
    free(picture);
    fake_free(fake);
}

/* What has no room is counted; failed and active ones stay. */
static void test_picture_too_small(void **state)
{
    (void)state;
    struct fake *fake = fake_new(60);
    fake_image(fake);
    fake->run.phase = RUN_FLASHING;
    for (size_t i = 0; i < 40; i++)
        fake_flashed(fake, i);
    fake_failed(fake, 33, "pi-34: no", NULL);
    fake->run.halted = "1 device failed in wave 1, its limit is 0";
    for (size_t i = 50; i < 53; i++) {
        fake->targets[i].started = true;
        fake->targets[i].state = STATE_COMMIT;
    }
    char *picture = compose(fake, 80, 10, true);
    unsigned lines = 1;
    for (const char *c = picture; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 10);
    assert_non_null(strstr(picture, "  60 targets, halted  "));
    assert_non_null(strstr(picture, "✗ pi-34  failed        no\n"));
    assert_non_null(strstr(picture, "• pi-51  commit"));
    assert_non_null(strstr(picture, "• pi-53  commit"));
    assert_non_null(strstr(picture, "\nand 53 more:  39 flashed  14 waiting"));
    free(picture);
    fake_free(fake);
}

/* The line with a text in it, 0 the first; fails when there is none. */
static unsigned line_of(const char *picture, const char *text)
{
    const char *at = strstr(picture, text);
    unsigned line = 0;
    if (at == NULL)
        fail_msg("'%s' is not in\n%s", text, picture);
    for (const char *c = picture; c < at; c++)
        line += *c == '\n';
    return line;
}

/* A big fleet on a small screen: waves, states, the failed and then the slowest first. */
static void test_picture_of_a_fleet(void **state)
{
    (void)state;
    struct fake *fake = fake_new(60);
    fake_image(fake);
    fake->run.phase = RUN_FLASHING;
    fake->run.wave_count = 3;
    for (size_t i = 0; i < 60; i++) {
        struct target_status *target = &fake->targets[i];
        target->wave = i < 4 ? 0 : i < 40 ? 1 : 2;
        if (i < 10) {
            fake_flashed(fake, i);
        } else if (i < 30) {
            target->started = true;
            target->started_ms = FAKE_STARTED + 40000;
            target->state = STATE_COMMIT;
        }
    }
    fake->targets[20].started_ms = FAKE_STARTED + 2000; /* the slowest one */
    fake->targets[25].state = STATE_TRANSFER;           /* behind the others */
    fake_failed(fake, 12, "no", NULL);
    char *picture = compose(fake, 80, 23, true);
    line_of(picture, "1 failed  10 flashed  19 active  30 waiting");
    assert_int_equal(line_of(picture, "wave 1  4/4    wave 2  7/36 1 failed    wave 3  0/20"), 2);
    assert_int_equal(line_of(picture, "under way: 1 transfer  18 commit"), 3);
    assert_int_equal(line_of(picture, "pi-13"), 4);
    assert_int_equal(line_of(picture, "pi-21"), 5);
    assert_int_equal(line_of(picture, "pi-26"), 6);
    assert_int_equal(line_of(picture, "pi-11"), 7);
    assert_int_equal(line_of(picture, "and 42 more:"), 22);
    free(picture);
    fake_free(fake);
}

static void test_remaining(void **state)
{
    (void)state;
    struct fake *fake = fake_new(5);
    uint64_t now_ms = FAKE_STARTED + 100000;
    bool rough;
    assert_true(fleet_remaining(&fake->run, now_ms, &rough) == UINT64_MAX);
    fake->targets[1].started = true;
    fake->targets[1].started_ms = FAKE_STARTED + 88000;
    fake->targets[1].blocks_total = 10;
    fake->targets[1].remaining_ms = 20000;
    /* 12 s old and 20 s left; the other four will take as long at least, one after the other */
    assert_int_equal(fleet_remaining(&fake->run, now_ms, &rough), 20000 + 4 * 32000);
    assert_true(rough);
    fake_flashed(fake, 0); /* took 72 s; so 60 s are left of this one, and three wait for it */
    assert_int_equal(fleet_remaining(&fake->run, now_ms, &rough), 60000 + 3 * 72000);
    assert_false(rough);
    for (size_t i = 1; i < 5; i++)
        fake_flashed(fake, i);
    assert_true(fleet_remaining(&fake->run, now_ms, &rough) == UINT64_MAX);
    fake_free(fake);
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    setenv("TERM", "xterm-256color", 1);
    unsetenv("NO_COLOR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_picture_too_small),
        cmocka_unit_test(test_picture_of_a_fleet),
        cmocka_unit_test(test_remaining),
        cmocka_unit_test(test_no_line_too_wide),
        cmocka_unit_test(test_resized),
        cmocka_unit_test(test_suspended),
        cmocka_unit_test(test_sudden_end),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_keys_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
