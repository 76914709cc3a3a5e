/* SPDX-License-Identifier: Apache-2.0 */
/* The live screen on a pseudo-terminal: nothing drawn is wider than it, nothing of a device's text
 * acts on it, and its cursor comes back whatever happens. */
#include "report/terminal.h"
#include "report/text.h"
#include "screen_scene.h"

#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void check_size(size_t targets, unsigned short columns, unsigned short rows)
{
    struct scene scene;
    scene_begin(&scene, targets, columns, rows);
    scene_draw(&scene);
    fake_image(scene.fake);
    scene.fake->run.phase = RUN_FLASHING;
    for (unsigned turn = 0; turn < 3; turn++) {
        scene_stir(&scene, turn);
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
    scene_stir(&scene, 0);
    scene_draw(&scene);
    terminal_resize(&scene.terminal, 50, 12);
    raise(SIGWINCH);
    scene_draw(&scene);
    size_t mark = terminal_size(&scene.terminal);
    scene_stir(&scene, 1);
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
    scene_stir(&scene, 0);
    scene_wait(&scene.loop, 350);
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

/* --- an end in the middle ------------------------------------------------------------------ */

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
        struct screen *screen =
            screen_new(&(struct screen_options){.loop = &loop,
                                                .fd = terminal.slave,
                                                .keys = terminal_open_again(&terminal),
                                                .now = scene_now});
        struct run_observer see = screen_observer(screen);
        signal(SIGTERM, exit_handler);
        see.run_started(&fake->run, see.arg);
        fake->run.phase = RUN_FLASHING;
        see.wave_started(&fake->run, 0, see.arg);
        scene_wait(&loop, 300);
        if (terminal_is_cooked(&terminal))
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
    assert_true(terminal_is_cooked(&terminal));
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

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    setenv("TERM", "xterm-256color", 1);
    unsetenv("NO_COLOR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_line_too_wide),
        cmocka_unit_test(test_resized),
        cmocka_unit_test(test_suspended),
        cmocka_unit_test(test_sudden_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
