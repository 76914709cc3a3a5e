/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `systemd` against a mock: `systemctl` is a shell script here that keeps its units as files
 * and prints what the real one prints. This proves what the policy asks for and how it reads the
 * answers, not what systemd does: that is proven on the lab's booted devices. */
#include "policy_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct harness harness;
static char *folder;

/* A unit is a folder units/NAME with a file for each property; `stuck` and `immortal` say what it
 * withstands. */
static const char systemctl[] =
    "#!/bin/sh\n"
    "cd \"$(dirname \"$0\")/../units\" || exit 1\n"
    "echo \"$*\" >>../calls\n"
    "verb=$1; shift; block=\n"
    "while [ \"$1\" != -- ]; do\n"
    "  [ \"$1\" = --no-block ] && block=no; shift; done\n"
    "shift\n"
    "case $verb in\n"
    "list-units)\n"
    "  for u in *; do s=$(cat $u/ActiveState); case $s in active|activating|reloading) ;; *) "
    "continue ;; esac\n"
    "    for p; do case $u in $p) echo \"$u loaded $s running Some description\"; break ;; esac; "
    "done\n"
    "  done ;;\n"
    "show)\n"
    "  first=yes\n"
    "  for u; do\n"
    "    case $u in \\**) for m in $u; do [ -d $m ] && echo && echo Id=$m && echo "
    "ActiveState=$(cat "
    "$m/ActiveState) && echo Triggers=$(cat $m/Triggers 2>/dev/null); done; continue ;; esac\n"
    "    [ $first ] || echo; first=\n"
    "    if [ ! -d $u ]; then echo Id=$u; echo ActiveState=inactive; continue; fi\n"
    "    for f in $u/*; do p=${f#*/}; case $p in [A-Z]*) echo $p=$(cat $f) ;; esac; done; echo "
    "Id=$u\n"
    "  done ;;\n"
    "stop)\n"
    "  [ $block ] || exit 1\n"
    "  for u; do if [ -e $u/refuse ]; then echo \"Failed to stop $u: Access denied\" >&2; exit 4; "
    "fi\n"
    "    if [ -e $u/stuck ]; then echo deactivating >$u/ActiveState; else echo inactive "
    ">$u/ActiveState; fi; done ;;\n"
    "kill)\n"
    "  for u; do [ -e $u/immortal ] || echo failed >$u/ActiveState; done ;;\n"
    "start)\n"
    "  for u; do s=active; [ -e $u/nostart ] && s=failed; [ -e $u/oneshot ] && s=activating\n"
    "    echo $s >$u/ActiveState; done ;;\n"
    "esac\n"
    "exit 0\n";

static void set(const char *unit, const char *property, const char *value)
{
    char name[200], text[300], command[300];
    snprintf(command, sizeof command, "mkdir -p '%s/units/%s'", folder, unit);
    assert_int_equal(system(command), 0);
    snprintf(name, sizeof name, "units/%s/%s", unit, property);
    snprintf(text, sizeof text, "%s\n", value);
    folder_write(folder, name, text);
}

static void open_device(void)
{
    static char path[400], booted[300];
    char command[300];
    if (path[0] == '\0')
        snprintf(path, sizeof path, "%s", getenv("PATH"));
    folder = folder_make();
    snprintf(command, sizeof command, "mkdir %s/units %s/bin %s/booted", folder, folder, folder);
    assert_int_equal(system(command), 0);
    folder_write(folder, "bin/systemctl", systemctl);
    snprintf(command, sizeof command, "%s/bin:", folder);
    char whole[800];
    snprintf(whole, sizeof whole, "%s%s", command, path);
    setenv("PATH", whole, 1);
    harness_open(&harness, NULL);
    snprintf(booted, sizeof booted, "%s/booted", folder);
    harness.replace[0] = "/run/systemd/system";
    harness.replace[1] = booted;
    set("ssh.service", "ActiveState", "active");
    set("docker.service", "ActiveState", "active");
    set("docker.service", "TriggeredBy", "docker.socket");
    set("docker.socket", "ActiveState", "active");
    set("container-a.service", "ActiveState", "active");
    set("container-b.service", "ActiveState", "activating");
    set("container-off.service", "ActiveState", "inactive");
    set("container-x.mount", "ActiveState", "active");
}

#define START(...)                                                                                 \
    do {                                                                                           \
        SERVICES(&harness, "systemd", __VA_ARGS__);                                                \
        assert_true(harness_start(&harness));                                                      \
    } while (0)

static void end(void)
{
    harness_close(&harness);
    folder_remove(folder);
}

static const char *state_of(const char *unit)
{
    char name[200];
    static char text[64];
    snprintf(name, sizeof name, "units/%s/ActiveState", unit);
    snprintf(text, sizeof text, "%s", folder_read(folder, name));
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static void test_patterns(void **state)
{
    (void)state;
    open_device();
    START("stop=container-*", "stop=docker", "stop=nothing-*");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("container-a.service"), "inactive");
    assert_string_equal(state_of("container-b.service"), "inactive");
    assert_string_equal(state_of("container-x.mount"), "active");
    assert_string_equal(state_of("docker.service"), "inactive");
    assert_string_equal(state_of("docker.socket"), "inactive"); /* would start docker again */
    assert_int_equal(harness_log_count(&harness, "nothing that runs matches nothing-*.service"), 1);
    folder_write(folder, "calls", "");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_string_equal(folder_read(folder, "calls"),
                        "start --no-block -- docker.socket container-a.service "
                        "container-b.service docker.service\n"
                        "show -p Id -p ActiveState -p Job -- docker.socket container-a.service "
                        "container-b.service docker.service\n");
    assert_string_equal(state_of("container-off.service"), "inactive");
    end();
}

/* What systemd takes along is started again, too; chains of it as well. */
static void test_taken_along(void **state)
{
    (void)state;
    open_device();
    set("database.service", "ActiveState", "active");
    set("database.service", "RequiredBy", "app.service off.service");
    set("app.service", "ActiveState", "active");
    set("app.service", "BoundBy", "worker.service");
    set("worker.service", "ActiveState", "active");
    set("worker.service", "ConsistsOf", "app.service");
    set("off.service", "ActiveState", "inactive");
    START("stop=database");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    folder_write(folder, "calls", "");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_string_equal(folder_read(folder, "calls"),
                        "start --no-block -- database.service app.service worker.service\n"
                        "show -p Id -p ActiveState -p Job -- database.service app.service "
                        "worker.service\n");
    end();
}

static void test_protected(void **state)
{
    (void)state;
    open_device();
    set("systemd-journald.service", "ActiveState", "active");
    set("session-3.scope", "ActiveState", "active");
    START("stop=*", "stop=*.scope");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("ssh.service"), "active");
    assert_string_equal(state_of("systemd-journald.service"), "active");
    assert_string_equal(state_of("session-3.scope"), "active");
    assert_string_equal(state_of("docker.service"), "inactive");
    assert_int_equal(harness_log_count(&harness, "ssh.service matches but the flash itself"), 1);
    end();
}

/* Oneshots that are over: only those are stopped whose stop does something. */
static void test_exited(void **state)
{
    (void)state;
    open_device();
    const char *const units[] = {"setup.service", "compose.service", "stack.service"};
    for (size_t i = 0; i < 3; i++) {
        set(units[i], "ActiveState", "active");
        set(units[i], "SubState", "exited");
    }
    set("compose.service", "ExecStop", "{ path=/usr/bin/docker ; argv[]=docker compose down }");
    set("stack.service", "ConsistsOf", "container-a.service");
    START("stop=setup", "stop=compose", "stop=stack");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("setup.service"), "active");
    assert_string_equal(state_of("compose.service"), "inactive");
    assert_string_equal(state_of("stack.service"), "inactive");
    assert_string_equal(state_of("container-a.service"), "inactive");
    assert_int_equal(harness_log_count(&harness, "nothing of setup.service runs"), 1);
    end();
}

/* A stop that would take sshd along does not happen at all. */
static void test_takes_ssh_along(void **state)
{
    (void)state;
    open_device();
    set("base.service", "ActiveState", "active");
    set("base.service", "RequiredBy", "middle.service");
    set("middle.service", "ActiveState", "active");
    set("middle.service", "RequiredBy", "ssh.service");
    START("stop=docker", "stop=base");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "stopping base.service would also stop ssh.service, which "
                                        "the flash itself needs");
    assert_string_equal(state_of("docker.service"), "active");
    assert_null(strstr(folder_read(folder, "calls"), "stop --no-block"));
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_null(strstr(folder_read(folder, "calls"), "start --no-block"));
    end();
}

static void test_nothing(void **state)
{
    (void)state;
    open_device();
    set("fixed.service", "ActiveState", "active");
    set("fixed.service", "CanStop", "no");
    START("stop=absent", "stop=fixed");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "fixed.service does not allow to be stopped"), 1);
    assert_int_equal(harness_log_count(&harness, "nothing to stop"), 1);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    end();
}

static void test_kill(void **state)
{
    (void)state;
    open_device();
    set("docker.service", "stuck", "");
    START("stop=docker", "stop=container-a", "timeout=0s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("docker.service"), "failed");
    assert_non_null(strstr(folder_read(folder, "calls"), "kill -s KILL -- docker.service\n"));
    end();
}

static void test_no_kill(void **state)
{
    (void)state;
    open_device();
    set("docker.service", "stuck", "");
    START("stop=docker", "timeout=0s", "kill=no");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "still running 0 s after the stop: docker.service");
    assert_null(strstr(folder_read(folder, "calls"), "kill"));
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("docker.service"), "active");
    end();
}

/* Takes the ten seconds that a killed unit has to vanish. */
static void test_immortal(void **state)
{
    (void)state;
    open_device();
    set("docker.service", "stuck", "");
    set("docker.service", "immortal", "");
    START("stop=docker", "timeout=0s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason,
                        "still running 0 s after the stop and a kill: docker.service");
    end();
}

static void test_refused(void **state)
{
    (void)state;
    open_device();
    set("docker.service", "refuse", "");
    START("stop=docker");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "systemctl stop failed (exit status 4): Failed to stop "
                                        "docker.service: Access denied");
    end();
}

static void test_start_fails(void **state)
{
    (void)state;
    open_device();
    START("stop=docker");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    set("docker.service", "nostart", "");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "started again but not up: docker.service");
    end();
}

/* A oneshot that was at work when it was stopped is started, and not waited for. */
static void test_oneshot(void **state)
{
    (void)state;
    open_device();
    set("tick.service", "ActiveState", "activating");
    set("tick.service", "oneshot", "");
    START("stop=tick");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("tick.service"), "inactive");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("tick.service"), "activating");
    end();
}

/* A timer whose service does not run now could start it in the middle of the flash. */
static void test_idle_service(void **state)
{
    (void)state;
    open_device();
    set("backup.service", "ActiveState", "inactive");
    set("nightly.timer", "ActiveState", "active");
    set("nightly.timer", "Triggers", "other.service backup.service");
    set("off.timer", "ActiveState", "inactive");
    set("off.timer", "Triggers", "backup.service");
    set("ssh.socket", "ActiveState", "active");
    set("ssh.socket", "Triggers", "ssh.service");
    set("odd.socket", "ActiveState", "active");
    set("odd.socket", "Triggers", "ssh.service");
    START("stop=backup", "stop=ssh*");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("nightly.timer"), "inactive");
    assert_string_equal(state_of("ssh.socket"), "active");
    assert_string_equal(state_of("odd.socket"), "active");
    folder_write(folder, "calls", "");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_string_equal(state_of("nightly.timer"), "active");
    assert_string_equal(state_of("off.timer"), "inactive");
    assert_string_equal(state_of("backup.service"), "inactive");
    end();
}

static void verdict_must_not_come(enum ff_verdict verdict, const char *reason, void *arg)
{
    (void)verdict;
    (void)reason;
    (void)arg;
    fail_msg("the verdict of a stop that was cut off came");
}

/* Undo, or the end, at every command of a stop. */
static void test_cut_off(void **state)
{
    static const char show[] = "Id=docker.service\nActiveState=active\n";
    const struct answer answers[] = {
        {.expect = "list-units", .out = "docker.service loaded active running Docker\n"},
        {.expect = "show -p Id -p ActiveState -p Triggers"},
        {.expect = "show -p Id -p ActiveState -p SubState", .out = show},
        {.expect = "stop --no-block -- docker.service"},
        {.expect = "show -p Id -p ActiveState -- docker.service", .out = show},
    };
    enum { STAGES = 5, ASKED_TO_STOP = 3 };
    (void)state;
    for (int with_undo = 0; with_undo < 2; with_undo++) {
        for (size_t stage = 0; stage < STAGES; stage++) {
            struct answer list[STAGES + 2];
            memcpy(list, answers, sizeof answers);
            list[stage].never = true;
            list[stage + 1] = (struct answer){.expect = "start --no-block -- docker.service"};
            list[stage + 2] = (struct answer){
                .expect = "show -p Id -p ActiveState -p Job -- docker.service", .out = show};
            harness_open(&harness, NULL);
            harness.answers = list;
            harness.answer_count = stage + 3;
            START("stop=docker");
            policy_run_stop(harness.run, 0, verdict_must_not_come, NULL);
            while (harness.answered <= stage)
                uv_run(&harness.loop, UV_RUN_NOWAIT);
            if (with_undo) {
                assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
                /* Asked to start only if it was asked to stop. */
                assert_int_equal(harness.answered, stage < ASKED_TO_STOP ? stage + 1 : stage + 3);
            }
            harness_close(&harness);
        }
    }
}

static void test_other_answers(void **state)
{
    static const struct {
        struct answer answer;
        const char *reason;
    } cases[] = {
        {{.expect = "list-units", .exit_status = 99},
         "the device does not run systemd (no /run/systemd/system); policy sysv may fit"},
        {{.expect = "list-units", .exit_status = -1, .error = "the link to pi-07 was reset"},
         "systemctl list-units failed (exit status -1): the link to pi-07 was reset"},
        {{.expect = "list-units", .exit_status = 127, .err = "sh: systemctl: not found\n"},
         "systemctl list-units failed (exit status 127): sh: systemctl: not found"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        harness_open(&harness, NULL);
        harness.answers = &cases[i].answer;
        harness.answer_count = 1;
        START("stop=docker");
        assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
        assert_string_equal(harness.reason, cases[i].reason);
        harness_close(&harness);
    }
}

/* Names from the device and the inventory reach the shell as single words. */
static void test_quoting(void **state)
{
    static const struct answer answers[] = {
        {.expect = "-- 'it'\\''s-$(reboot)*.service'",
         .out = "it's-$(reboot)1.service loaded active running x\n"},
        {.expect = "Triggers"},
        {.expect = "-- 'it'\\''s-$(reboot)1.service'",
         .out = "Id=it's-$(reboot)1.service\nActiveState=inactive\n"},
    };
    (void)state;
    harness_open(&harness, NULL);
    harness.answers = answers;
    harness.answer_count = 3;
    START("stop=it's-$(reboot)*");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),  cmocka_unit_test(test_taken_along),
        cmocka_unit_test(test_protected), cmocka_unit_test(test_takes_ssh_along),
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_kill),
        cmocka_unit_test(test_no_kill),   cmocka_unit_test(test_immortal),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_start_fails),
        cmocka_unit_test(test_cut_off),   cmocka_unit_test(test_other_answers),
        cmocka_unit_test(test_exited),    cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_oneshot),   cmocka_unit_test(test_idle_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
