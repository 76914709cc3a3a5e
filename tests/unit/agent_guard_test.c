/* SPDX-License-Identifier: Apache-2.0 */
/* What the guard of an agent hears, however the agent ends. What it then does (a reboot) is seen in
 * the lab. This program is its own guard: that one writes down what it heard. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HEARD  "heard"
#define REFUSE "refuse"

static const int none[GUARD_ESTATE_SIZE] = {-1, -1, -1, -1, -1};

/* In the present folder, which the guard has as well. */
static int note_heard(enum guard_word word)
{
    char byte = (char)word;
    int fd = open(HEARD ".new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, &byte, 1) != 1 || close(fd) != 0)
        return 1;
    return rename(HEARD ".new", HEARD) == 0 ? 0 : 1;
}

static bool hold_unless_refused(void)
{
    return access(REFUSE, F_OK) != 0;
}

static char wait_heard(void)
{
    char byte = '?';
    int fd;
    while ((fd = open(HEARD, O_RDONLY)) < 0) /* the test's own time limit ends it */
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
    unlink(HEARD);
    return byte;
}

/* An agent that says these words and is killed. */
static void test_killed(void **state)
{
    static const struct {
        const char *words; /* beside what guard_post says */
        char heard;
    } rows[] = {{"", GUARD_UNTOUCHED},
                {"i", GUARD_INCOMPLETE},
                {"ii", GUARD_INCOMPLETE},
                {"ih", GUARD_INCOMPLETE},
                {"ic", GUARD_COMPLETE}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pid_t agent = fork();
        if (agent == 0) {
            struct guard guard = {0};
            if (guard_post(&guard, none) != 0)
                _exit(1);
            for (const char *word = rows[i].words; *word != '\0'; word++)
                guard_tell(&guard, (enum guard_word) * word);
            kill(getpid(), SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(agent, &status, 0), agent);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(wait_heard(), rows[i].heard);
    }
}

/* One that ends in order leaves nothing behind, and can have a guard again. */
static void test_dismissed(void **state)
{
    struct guard guard = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(guard_post(&guard, none), 0);
        guard_dismiss(&guard);
        assert_int_equal(guard.pid, 0);
        assert_int_equal(wait_heard(), GUARD_FAREWELL);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    }
    guard_dismiss(&guard);
    guard_tell(&guard, GUARD_INCOMPLETE);
    guard_tell(NULL, GUARD_INCOMPLETE);
}

/* One that is gone harms nobody, and is not taken for one that listens. */
static void test_guard_gone(void **state)
{
    struct guard guard = {0};
    siginfo_t info;
    (void)state;
    assert_int_equal(guard_post(&guard, none), 0);
    kill(guard.pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)guard.pid, &info, WEXITED | WNOWAIT), 0);
    guard_tell(&guard, GUARD_INCOMPLETE);
    assert_int_equal(guard.pid, 0);
}

/* A request is answered, and is no word about the disk. */
static void test_hold(void **state)
{
    struct guard guard = {0};
    (void)state;
    assert_int_equal(guard_hold(&guard), -1);
    assert_int_equal(guard_post(&guard, none), 0);
    assert_int_equal(guard_hold(&guard), 0);
    int fd = open(REFUSE, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(guard_hold(&guard), -1);
    unlink(REFUSE);
    assert_int_equal(guard_hold(&guard), 0);
    assert_true(guard.pid != 0);
    kill(guard.pid, SIGKILL);
    assert_int_equal(guard_hold(&guard), -1);
    guard_dismiss(&guard);
    unlink(HEARD);
}

static void test_by_hand(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDONLY);
        dup2(null, STDIN_FILENO);
        _exit(guard_main());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 2);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/guard-test-XXXXXX";
    if (argc == 2 && strcmp(argv[1], "guard") == 0)
        return note_heard(guard_listen(STDIN_FILENO, hold_unless_refused));
    if (mkdtemp(folder) == NULL || chdir(folder) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),     cmocka_unit_test(test_dismissed),
        cmocka_unit_test(test_guard_gone), cmocka_unit_test(test_hold),
        cmocka_unit_test(test_by_hand),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
