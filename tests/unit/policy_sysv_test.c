/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `sysv` with real init scripts and real daemons (sleeps), in a folder of their own. */
#include "policy_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct harness harness;
static char *folder;
static char undo_file[200]; /* "": none */

/* An init script with status; the daemon holds its standard output open, as careless ones do. */
static const char lsb_script[] =
    "#!/bin/sh\n"
    "cd '%s'; name=%s; pid=$(cat $name.pid 2>/dev/null)\n"
    "echo \"$name $1\" >>calls\n"
    "case $1 in\n"
    "start) sleep 1000 & echo $! >$name.pid ;;\n"
    "stop) %s; kill $pid 2>/dev/null; rm -f $name.pid ;;\n"
    "status) [ -n \"$pid\" ] && kill -0 $pid 2>/dev/null || exit 3 ;;\n"
    "esac\n";

static void add_service(const char *name, const char *before_stop, bool running)
{
    char text[1000], command[300];
    snprintf(text, sizeof text, lsb_script, folder, strncmp(name, "S50", 3) == 0 ? name + 3 : name,
             before_stop);
    folder_write(folder, name, text);
    snprintf(command, sizeof command, "%s/%s start >/dev/null 2>&1", folder, name);
    if (running)
        assert_int_equal(system(command), 0);
}

static void start(const char *const *words, size_t count)
{
    static char scripts[200];
    const char *all[12];
    snprintf(scripts, sizeof scripts, "scripts=%s", folder);
    memcpy(all, words, count * sizeof *words);
    all[count] = scripts;
    harness_open(&harness, NULL);
    harness.undo_file = undo_file[0] != '\0' ? undo_file : NULL;
    harness_services(&harness, "sysv", all, count + 1);
    assert_true(harness_start(&harness));
}

#define START(...)                                                                                 \
    start((const char *const[]){__VA_ARGS__},                                                      \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void end(void)
{
    char command[300];
    harness_close(&harness);
    snprintf(command, sizeof command,
             "for p in %s/*.pid; do [ -e $p ] && kill $(cat $p); done 2>/dev/null", folder);
    (void)!system(command);
    folder_remove(folder);
}

static bool runs(const char *name)
{
    char command[300];
    snprintf(command, sizeof command, "%s/%s status", folder, name);
    return system(command) == 0;
}

static void test_stop_and_undo(void **state)
{
    (void)state;
    folder = folder_make();
    add_service("one", ":", true);
    add_service("idle", ":", false);
    add_service("S50two", ":", true);
    add_service("other", ":", true);
    START("stop=one", "stop=idle", "stop=two", "stop=missing", "stop=sshd", "timeout=20s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_false(runs("one"));
    assert_false(runs("S50two"));
    assert_true(runs("other"));
    assert_int_equal(harness_log_count(&harness, "idle does not run"), 1);
    assert_int_equal(harness_log_count(&harness, "there is no service missing"), 1);
    assert_int_equal(harness_log_count(&harness, "sshd is needed by the flash itself"), 1);
    folder_write(folder, "calls", "");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_true(runs("one"));
    assert_true(runs("S50two"));
    assert_false(runs("idle"));
    /* in the reverse order */
    const char *calls = folder_read(folder, "calls");
    assert_non_null(strstr(calls, "two start"));
    assert_true(strstr(calls, "two start") < strstr(calls, "one start"));
    assert_null(strstr(calls, "idle start"));
    end();
}

/* A host that is killed after the stop: what was left brings back what ran, and no more. */
static void test_left_behind(void **state)
{
    char command[300];
    (void)state;
    folder = folder_make();
    snprintf(undo_file, sizeof undo_file, "%s/undo-1", folder);
    add_service("one", ":", true);
    add_service("idle", ":", false);
    add_service("S50two", "[ -e undo-1 ] || touch too-early", true);
    START("stop=one", "stop=idle", "stop=two", "timeout=20s");
    undo_file[0] = '\0';
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_false(runs("one"));
    snprintf(command, sizeof command, "[ ! -e %s/too-early ] && %s/one start >/dev/null 2>&1",
             folder, folder);
    assert_int_equal(system(command), 0); /* somebody has started it meanwhile */
    folder_write(folder, "calls", "");
    snprintf(command, sizeof command, "sh %s/undo-1", folder);
    assert_int_equal(system(command), 0);
    assert_true(runs("one"));
    assert_true(runs("S50two"));
    assert_false(runs("idle"));
    assert_null(strstr(folder_read(folder, "calls"), "one start"));
    end();
}

/* A script without status, found by its pid file in /run as the survey does, cannot be made here
 * without touching /run; a script whose only trace is the process's name can. */
static void test_without_status(void **state)
{
    (void)state;
    folder = folder_make();
    char text[600];
    snprintf(text, sizeof text,
             "#!/bin/sh\ncd '%s'; status=0\ncase $1 in\n"
             "start) ./policy-test-daemon 1000 & ;;\nstop) killall -q policy-test-daemon || "
             "kill $(pidof policy-test-daemon) ;;\n*) touch asked; exit 0 ;;\nesac\n",
             folder);
    folder_write(folder, "policy-test-daemon.init", text);
    char command[400];
    snprintf(
        command, sizeof command,
        "cd %s && mkdir s && mv policy-test-daemon.init s/policy-test-daemon && "
        "cp $(command -v sleep) policy-test-daemon && s/policy-test-daemon start >/dev/null 2>&1",
        folder);
    assert_int_equal(system(command), 0);
    harness_open(&harness, NULL);
    snprintf(text, sizeof text, "scripts=%s/s", folder);
    SERVICES(&harness, "sysv", "stop=policy-test-daemon", text, "timeout=20s");
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_not_equal(system("pidof policy-test-daemon >/dev/null"), 0);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_int_equal(system("pidof policy-test-daemon >/dev/null"), 0);
    snprintf(command, sizeof command, "[ ! -e %s/asked ] && kill $(pidof policy-test-daemon)",
             folder);
    assert_int_equal(system(command), 0); /* `status` was never called */
    end();
}

static void test_still_running(void **state)
{
    (void)state;
    folder = folder_make();
    add_service("stubborn", "echo 'cannot stop now' >&2; exit 6", true);
    START("stop=stubborn", "timeout=1s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason,
                        "stubborn still runs 1 s after its stop; exit status 6: cannot stop now");
    assert_true(runs("stubborn"));
    end();
}

static void verdict_must_not_come(enum ff_verdict verdict, const char *reason, void *arg)
{
    (void)verdict;
    (void)reason;
    (void)arg;
    fail_msg("the verdict of a stop that was cut off came");
}

/* Undo while a stop script is at work: it is brought to its end, then the service started. */
static void test_undo_in_between(void **state)
{
    (void)state;
    folder = folder_make();
    add_service("slow", "touch stopping; [ -e hurry ] || sleep 3", true);
    START("stop=slow", "timeout=20s");
    policy_run_stop(harness.run, 0, verdict_must_not_come, NULL);
    char path[300];
    snprintf(path, sizeof path, "[ -e %s/stopping ]", folder);
    while (system(path) != 0)
        uv_run(&harness.loop, UV_RUN_NOWAIT);
    folder_write(folder, "hurry", "");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_true(runs("slow"));
    const char *first = strstr(folder_read(folder, "calls"), "slow stop\n");
    const char *second = first == NULL ? NULL : strstr(first + 1, "slow stop\n");
    assert_non_null(second);
    assert_non_null(strstr(second, "slow start\n"));
    end();
}

static void test_no_scripts(void **state)
{
    (void)state;
    harness_open(&harness, NULL);
    SERVICES(&harness, "sysv", "stop=one", "scripts=/nowhere");
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "the device has no /etc/init.d; policy systemd may fit");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    harness_close(&harness);
}

/* The path of a script is the device's word, and each of its quotes takes four characters. */
static void test_path_of_quotes(void **state)
{
    (void)state;
    char quotes[396], survey[450];
    memset(quotes, '\'', sizeof quotes - 1);
    quotes[sizeof quotes - 1] = '\0';
    snprintf(survey, sizeof survey, "one /%s running\n", quotes);
    const struct answer answers[] = {
        {.expect = "set -- one", .out = survey},
        {.expect = "' stop", .exit_status = 1},
        {.expect = "set -- one", .exit_status = 1, .err = "gone"},
        {.expect = "set -- one", .out = survey},
        {.expect = "' start"},
    };
    harness_open(&harness, NULL);
    SERVICES(&harness, "sysv", "stop=one");
    harness.answers = answers;
    harness.answer_count = sizeof answers / sizeof *answers;
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_int_equal(harness.answered, 5);
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_and_undo),  cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_path_of_quotes), cmocka_unit_test(test_without_status),
        cmocka_unit_test(test_still_running),  cmocka_unit_test(test_undo_in_between),
        cmocka_unit_test(test_no_scripts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
