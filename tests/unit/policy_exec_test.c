/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `exec` with real programs on this machine. */
#include "policy/run.h"
#include "policy_support.h"

#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct harness harness;
static char *folder;

/* The program writes its input and arguments into the folder, then does `script`. */
static void start(const char *script, const char *more)
{
    static char text[1000], command[200];
    folder = folder_make();
    snprintf(text, sizeof text,
             "#!/bin/sh\ncd '%s'\ncat >input\nprintf '%%s\\n' \"$@\" >args\n%s\n", folder, script);
    folder_write(folder, "program", text);
    snprintf(command, sizeof command, "command=%s/program", folder);
    harness_open(&harness, NULL);
    SERVICES(&harness, "exec", command, "command=two words", "command=$(touch x)", more);
    assert_true(harness_start(&harness));
}

static void end(void)
{
    harness_close(&harness);
    folder_remove(folder);
}

static void test_go(void **state)
{
    (void)state;
    start("echo chatter; echo chatter >&2; exit 0", "timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(folder_read(folder, "args"), "two words\n$(touch x)\n");
    json_error_t error;
    json_t *input = json_loads(folder_read(folder, "input"), 0, &error);
    assert_non_null(input);
    static const char *const members[][2] = {
        {"action", "stop"}, {"target", "pi-07"},     {"group", "lab"}, {"address", "10.0.0.18"},
        {"mode", "stage"},  {"image", "lab.img.xz"}, {"run", "run-1"}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        assert_string_equal(json_string_value(json_object_get(input, members[i][0])),
                            members[i][1]);
    const json_t *parameters = json_object_get(input, "parameters");
    assert_string_equal(json_string_value(json_object_get(parameters, "timeout")), "1m");
    assert_int_equal(json_array_size(json_object_get(parameters, "command")), 3);
    assert_null(json_object_get(parameters, "undo"));
    json_decref(input);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    end();
}

/* "Not now" twice, then go. */
static void test_not_now(void **state)
{
    (void)state;
    start("echo again >>asked; [ $(wc -l <asked) = 3 ] || { echo 'a test runs'; exit 75; }",
          "again=1s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(folder_read(folder, "asked"), "again\nagain\nagain\n");
    assert_int_equal(harness_log_count(&harness, "not now, again in 1 s: a test runs"), 2);
    end();
}

/* Backed out while it waits; and a delay too many. */
static void test_not_now_ends(void **state)
{
    (void)state;
    start("echo 'a test runs'; exit 75", "again=1h");
    assert_true(harness_run_until(&harness, "not now, again in 3600 s"));
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    end();
    start("echo 'a test runs'; exit 75", "again=5m");
    harness.run->delayed = POLICY_DELAY_MAX - 299999;
    assert_int_equal(harness_stop(&harness), FF_VERDICT_VETO);
    assert_string_equal(harness.reason, "a test runs (and still after 55 min)");
    end();
}

static void test_veto(void **state)
{
    (void)state;
    start("echo 'a test runs until noon'; echo more; exit 10", "undo=/nowhere/undo");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_VETO);
    assert_string_equal(harness.reason, "a test runs until noon");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO); /* it has stopped nothing */
    end();
    start("exit 10", "timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_VETO);
    assert_string_equal(harness.reason, "the program gave no reason");
    end();
}

static void test_fail(void **state)
{
    char expected[300];
    (void)state;
    start("echo 'no answer from the scheduler' >&2; echo x >&2; exit 3", "timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "no answer from the scheduler");
    end();
    start("exit 4", "timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    snprintf(expected, sizeof expected, "%s/program ended with exit status 4", folder);
    assert_string_equal(harness.reason, expected);
    end();
    start("kill -9 $$", "timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_non_null(strstr(harness.reason, "died of signal 9"));
    end();
}

static void test_no_program(void **state)
{
    (void)state;
    harness_open(&harness, NULL);
    SERVICES(&harness, "exec", "command=/nowhere/program");
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason,
                        "/nowhere/program could not be started: no such file or directory");
    harness_close(&harness);
}

/* The program and what it has started are gone afterwards. */
static void test_timeout(void **state)
{
    (void)state;
    start("sleep 1000 & echo $! >child; sleep 1000", "timeout=500ms");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_non_null(strstr(harness.reason, "did not end within 500 ms"));
    harness_end_run(&harness);
    /* Killed with its group, and gone as soon as the kernel comes to it: else this hangs. */
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", atoi(folder_read(folder, "child")));
    for (const char *status = ""; status != NULL;) {
        status = folder_read(path, "stat");
        if (strstr(status, "(sleep)") == NULL || strstr(status, "(sleep) Z") != NULL)
            status = NULL;
        else
            usleep(10000);
    }
    end();
}

/* One that ignores SIGTERM is killed. */
static void test_stubborn(void **state)
{
    (void)state;
    start("trap '' TERM; while :; do sleep 1; done", "timeout=300ms");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    end();
}

/* More output than is kept; a program that does not read its input; a daemon left behind. */
static void test_output(void **state)
{
    (void)state;
    start("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo not this; exit 1", "timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_int_equal(strspn(harness.reason, "x"), strlen(harness.reason));
    end();
    start("sleep 5 & echo $! >child; exit 0", "timeout=1m");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    kill(atoi(folder_read(folder, "child")), SIGKILL);
    end();
}

static void test_undo(void **state)
{
    char undo[200];
    (void)state;
    start("echo stopped >state", "timeout=1m");
    end();
    start("[ \"$3\" = back ] || exit 0; echo done >undone", "timeout=1m");
    snprintf(undo, sizeof undo, "undo=%s/program", folder);
    char command[200];
    snprintf(command, sizeof command, "command=%s/program", folder);
    harness_end_run(&harness);
    SERVICES(&harness, "exec", command, undo, "undo=a", "undo=b", "undo=back");
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(folder_read(folder, "undone"), "");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_string_equal(folder_read(folder, "undone"), "done\n");
    assert_non_null(strstr(folder_read(folder, "input"), "\"action\":\"undo\""));
    end();
}

static void verdict_must_not_come(enum ff_verdict verdict, const char *reason, void *arg)
{
    (void)verdict;
    (void)reason;
    (void)arg;
    fail_msg("a verdict came after the end");
}

static void test_free_while_running(void **state)
{
    (void)state;
    start("sleep 1000", "timeout=1m");
    policy_run_stop(harness.run, 0, verdict_must_not_come, NULL);
    for (int i = 0; i < 3; i++)
        uv_run(&harness.loop, UV_RUN_NOWAIT);
    end(); /* asserts that nothing is left on the loop */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_go),
        cmocka_unit_test(test_not_now),
        cmocka_unit_test(test_not_now_ends),
        cmocka_unit_test(test_veto),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_stubborn),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_free_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
