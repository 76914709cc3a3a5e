/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `docker` with real containers of podman and runc, in a storage of their own. */
#include "policy_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct harness harness;
static char *folder;
static char path[200];
static bool possible;
static const char *const via[] = {"env", path, "/bin/sh", "-c", NULL};

static int sh(const char *command)
{
    char line[1200];
    snprintf(line, sizeof line, "cd %s && PATH=%s:$PATH && { %s\n} >>log 2>&1 </dev/null", folder,
             folder, command);
    return system(line);
}

/* A container of busybox that sleeps, or ignores what is to stop it. */
static void add_container(const char *name, const char *more, const char *program)
{
    char command[500];
    snprintf(command, sizeof command,
             "podman run -d --network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 "
             "--name %s %s lab:1 %s",
             name, more, program);
    assert_int_equal(sh(command), 0);
}

#define SLEEPS  "sh -c 'trap \"exit 0\" TERM; sleep 100000 & wait'"
#define IGNORES "sh -c 'trap : TERM; while :; do sleep 1; done'"

static bool runs(const char *name)
{
    char command[200];
    snprintf(command, sizeof command, "podman ps --format '{{.Names}}' | grep -qx %s", name);
    return sh(command) == 0;
}

static int make_engine(void **state)
{
    (void)state;
    char text[400];
    folder = folder_make();
    snprintf(text, sizeof text,
             "#!/bin/sh\nexec /usr/bin/podman --root %s/storage --runroot %s/run --runtime runc "
             "--cgroup-manager cgroupfs \"$@\"\n",
             folder, folder);
    folder_write(folder, "podman", text);
    snprintf(path, sizeof path, "PATH=%s:/usr/sbin:/usr/bin:/sbin:/bin", folder);
    possible = sh("mkdir -p r/bin && cp $(command -v busybox) r/bin/busybox && "
                  "ln -s busybox r/bin/sh && ln -s busybox r/bin/sleep && tar -C r -cf r.tar . && "
                  "podman import r.tar lab:1 && podman run --rm --network none "
                  "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000 lab:1 sleep 0") == 0;
    if (!possible)
        fprintf(stderr, "no container can run here: %s\n", folder_read(folder, "log"));
    return 0;
}

static int remove_engine(void **state)
{
    (void)state;
    (void)!sh("podman rm -f -t 0 -a; podman rmi -a; umount storage/overlay");
    folder_remove(folder);
    return 0;
}

static void start(const char *const *words, size_t count)
{
    if (!possible)
        skip();
    harness_open(&harness, NULL);
    harness.via = via;
    harness_services(&harness, "docker", words, count);
    assert_true(harness_start(&harness));
}

#define START(...)                                                                                 \
    start((const char *const[]){__VA_ARGS__},                                                      \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_stop_and_undo(void **state)
{
    (void)state;
    START("label=lab", "label=role=db", "timeout=2s");
    add_container("one", "--label lab", SLEEPS);
    add_container("both", "--label lab --label role=db", IGNORES);
    add_container("db", "--label role=db", SLEEPS);
    add_container("web", "--label role=web", SLEEPS);
    add_container("idle", "--label lab", "sleep 0");
    assert_int_equal(sh("podman wait idle"), 0);
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_false(runs("one"));
    assert_false(runs("both")); /* killed after its two seconds */
    assert_false(runs("db"));
    assert_true(runs("web"));
    assert_int_equal(harness_log_count(&harness, "stopping container both"), 1);
    assert_int_equal(harness_log_count(&harness, "stopping container idle"), 0);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_true(runs("one"));
    assert_true(runs("both"));
    assert_true(runs("db"));
    assert_false(runs("idle"));
    harness_close(&harness);
}

/* Nothing to stop; a label is a word, whatever it has in it. */
static void test_none(void **state)
{
    (void)state;
    START("label=$(touch harm)'x", "engine=podman");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "no container with these labels runs"), 1);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    harness_close(&harness);
}

/* What was started with --rm cannot come back, and that is said. */
static void test_removed(void **state)
{
    (void)state;
    START("label=gone");
    add_container("gone", "--rm --label gone", SLEEPS);
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_FAIL);
    assert_non_null(strstr(harness.reason, "starting the containers again failed"));
    harness_close(&harness);
}

static void test_no_engine(void **state)
{
    (void)state;
    harness_open(&harness, NULL);
    static const char *const nowhere[] = {"env", "PATH=/nowhere", "/bin/sh", "-c", NULL};
    harness.via = nowhere;
    SERVICES(&harness, "docker", "label=x");
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason,
                        "the device has neither docker nor podman, or not the one asked for");
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_engine),
        cmocka_unit_test(test_stop_and_undo),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_removed),
    };
    return cmocka_run_group_tests(tests, make_engine, remove_engine);
}
