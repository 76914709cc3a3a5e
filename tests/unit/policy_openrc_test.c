/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `openrc` with Debian's real OpenRC and real daemons (sleeps), in a chroot of their own. */
#include "policy_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct harness harness;
static char *folder;
static bool possible;

/* /proc is there as long as a command runs; the daemons outlive it. */
static const char *const chrooted[] = {
    "unshare",
    "-m",
    "sh",
    "-c",
    "mount -t proc p \"$0/proc\" && exec chroot \"$0\" /bin/sh -c \"$1\"",
    NULL,
    NULL};
static const char *via[7];

static int in_root(const char *command)
{
    char line[1000];
    snprintf(
        line, sizeof line,
        "unshare -m sh -c 'mount -t proc p \"$0/proc\" && exec chroot \"$0\" /bin/sh -c \"$1\"' "
        "%s '%s' >/dev/null 2>&1 </dev/null",
        folder, command);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void add_service(const char *name, const char *needs, const char *more)
{
    char path[100], text[600];
    snprintf(path, sizeof path, "etc/init.d/%s", name);
    snprintf(text, sizeof text,
             "#!/sbin/openrc-run\ncommand=/bin/sleep\ncommand_args=100000\n"
             "command_background=true\npidfile=/run/$RC_SVCNAME.pid\n"
             "depend() { %s%s; }\n%s",
             needs[0] != '\0' ? "need " : ":", needs, more);
    folder_write(folder, path, text);
}

static bool runs(const char *name)
{
    char command[100];
    snprintf(command, sizeof command, "rc-service %s status", name);
    return in_root(command) == 0;
}

static int make_root(void **state)
{
    (void)state;
    char command[600];
    folder = folder_make();
    snprintf(command, sizeof command, "%s/openrc_root.sh %s", TEST_SOURCE_FOLDER, folder);
    int status = system(command);
    possible = status == 0;
    if (!possible && (!WIFEXITED(status) || WEXITSTATUS(status) != 77))
        return -1;
    add_service("base", "", "");
    add_service("middle", "base", "");
    add_service("top", "middle", "");
    add_service("idle", "base", "");
    add_service("other", "", "");
    add_service("stubborn", "", "stop() { echo cannot stop now >&2; return 6; }\n");
    add_service("below-ssh", "", "");
    add_service("sshd", "below-ssh", "");
    memcpy(via, chrooted, sizeof chrooted);
    via[5] = folder;
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "for p in %s/run/*.pid; do [ -e $p ] && kill $(cat $p); done",
             folder);
    (void)!system(command);
    folder_remove(folder);
    return 0;
}

static void start(const char *const *words, size_t count)
{
    if (!possible)
        skip();
    harness_open(&harness, NULL);
    harness.via = via;
    harness_services(&harness, "openrc", words, count);
    assert_true(harness_start(&harness));
}

#define START(...)                                                                                 \
    start((const char *const[]){__VA_ARGS__},                                                      \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_dependents(void **state)
{
    (void)state;
    START("stop=base", "stop=missing", "stop=sshd", "timeout=20s");
    assert_int_equal(in_root("rc-service top start && rc-service other start"), 0);
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_false(runs("base"));
    assert_false(runs("middle"));
    assert_false(runs("top"));
    assert_true(runs("other"));
    assert_int_equal(harness_log_count(&harness, "there is no service missing"), 1);
    assert_int_equal(harness_log_count(&harness, "sshd is needed by the flash itself"), 1);
    const char *top = strstr(harness.log, "stopping top"),
               *base = strstr(harness.log, "stopping base");
    assert_non_null(top);
    assert_non_null(base);
    assert_true(top < base);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_true(runs("base"));
    assert_true(runs("middle"));
    assert_true(runs("top"));
    assert_false(runs("idle")); /* it did not run before */
    harness_close(&harness);
}

static void test_takes_ssh_along(void **state)
{
    (void)state;
    START("stop=below-ssh", "timeout=2s");
    assert_int_equal(in_root("rc-service below-ssh start && rc-service stubborn start"), 0);
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "sshd would stop too, and is needed by the flash itself");
    assert_true(runs("below-ssh"));
    harness_close(&harness);
}

static void test_still_running(void **state)
{
    (void)state;
    START("stop=stubborn", "timeout=1s");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_non_null(strstr(harness.reason, "stubborn still runs 1 s after its stop"));
    harness_close(&harness);
}

static void test_no_openrc(void **state)
{
    (void)state;
    harness_open(&harness, NULL);
    harness.replace[0] = "rc-service";
    harness.replace[1] = "no-such-program";
    SERVICES(&harness, "openrc", "stop=one");
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason,
                        "the device has no OpenRC (rc-service); policy systemd or sysv may fit");
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_openrc),
        cmocka_unit_test(test_dependents),
        cmocka_unit_test(test_takes_ssh_along),
        cmocka_unit_test(test_still_running),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
