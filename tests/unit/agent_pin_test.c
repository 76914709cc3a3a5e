/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent holds in memory for others, and what it stands on itself. */
#include "footing.h"
#include "pin.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

/* Pins what this process has mapped from that file system; the line that failed, or 0. Without
 * rights to /proc/PID/map_files, as on kernels that have none. */
static int pin_own(dev_t filesystem, const char *file, unsigned count, unsigned missed)
{
    struct device_set filesystems = {.count = 0};
    struct pins pins = {0};
    struct pid_set self = {.items = {getpid()}, .count = 1};
    device_set_add(&filesystems, filesystem);
    if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
        return __LINE__;
    prctl(PR_SET_DUMPABLE, 1); /* else its /proc belongs to root */
    if (pin_processes(&pins, &filesystems, &self) != 0)
        return __LINE__;
    if (pins.count != count || pins.bytes != (uint64_t)4096 * count)
        return __LINE__;
    if (pins.missed != missed || (missed > 0 && strstr(pins.first_missed, file) == NULL))
        return __LINE__;
    pin_release(&pins);
    return 0;
}

static void pin_one(bool deleted)
{
    char file[] = "/dev/shm/fleetflash-pin-XXXXXX";
    struct stat st;
    int status, fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4096) | fchmod(fd, 0644) | fstat(fd, &st), 0);
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(mapped != MAP_FAILED);
    if (deleted)
        unlink(file);
    pid_t pid = fork();
    if (pid == 0)
        _exit(pin_own(st.st_dev, file, deleted ? 0 : 1, deleted ? 1 : 0) & 0xff);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unlink(file);
    munmap(mapped, 4096);
    close(fd);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void mapped_file_is_pinned(void **state)
{
    (void)state;
    pin_one(false);
}

/* Upgraded under a running init, say: nobody can open it any more, and that is told. */
static void deleted_file_is_missed(void **state)
{
    (void)state;
    pin_one(true);
}

static void cgroups(void **state)
{
    static const struct {
        const char *text, *foreign;
    } rows[] = {
        {"0::/fleetflash\n", NULL},
        {"0::/\n", NULL},
        {"", NULL},
        {"nonsense\n", NULL},
        {"0::/user.slice/user-0.slice/session-3.scope\n",
         "/user.slice/user-0.slice/session-3.scope"},
        {"12:pids:/\n3:cpu,cpuacct:/\n1:name=systemd:/system.slice/ssh.service\n0::/\n",
         "/system.slice/ssh.service"},
        {"12:pids:/\n1:name=systemd:/\n0::/fleetflash\n", NULL},
        {"0::/fleetflash/deeper", "/fleetflash/deeper"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char found[64];
        assert_int_equal(footing_find_foreign(rows[i].text, found, sizeof found),
                         rows[i].foreign != NULL);
        assert_string_equal(found, rows[i].foreign == NULL ? "" : rows[i].foreign);
    }
}

static void count_warning(const char *sentence, void *arg)
{
    print_message("%s\n", sentence);
    ++*(unsigned *)arg;
}

/* This test is in somebody's control group, may be killed for memory, and is a file on a disk. */
static void bad_footing_is_told(void **state)
{
    unsigned warnings = 0;
    (void)state;
    footing_check(count_warning, &warnings);
    assert_true(warnings >= 1 && warnings <= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mapped_file_is_pinned),
        cmocka_unit_test(deleted_file_is_missed),
        cmocka_unit_test(cgroups),
        cmocka_unit_test(bad_footing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
