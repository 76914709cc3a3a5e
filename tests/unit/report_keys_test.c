/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the live screen: what they are taken for and what they do, and that the terminal is
 * the user's whenever none is read. */
#include "report/keys.h"
#include "screen_scene.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void scene_flash(struct scene *scene)
{
    scene->fake->run.phase = RUN_FLASHING;
    scene->see.wave_started(&scene->fake->run, 0, scene->see.arg);
    scene_stir(scene, 0);
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
    assert_true(terminal_is_cooked(&scene.terminal)); /* the user may be asked something yet */
    scene_flash(&scene);
    assert_false(terminal_is_cooked(&scene.terminal));
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
    assert_false(terminal_is_cooked(&scene.terminal));
    scene.see.suspend(&scene.fake->run, scene.see.arg);
    assert_true(terminal_is_cooked(&scene.terminal));
    assert_int_equal(write(scene.terminal.master, "q", 1), 1); /* belongs to who asks */
    scene_wait(&scene.loop, 250);
    assert_false(scene.fake->run.interrupted);
    assert_int_equal(tcflush(scene.terminal.slave, TCIFLUSH), 0);
    scene.see.resume(&scene.fake->run, scene.see.arg);
    assert_false(terminal_is_cooked(&scene.terminal));
    fake_ended(scene.fake, 1000, 0);
    scene.see.run_ended(&scene.fake->run, scene.see.arg);
    assert_true(terminal_is_cooked(&scene.terminal));
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

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    setenv("TERM", "xterm-256color", 1);
    unsetenv("NO_COLOR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_keys_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
