/* SPDX-License-Identifier: Apache-2.0 */
/* What root's fleetflash may not do any more, what it still may, and that its children are root. */
#include "base/privilege.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FULL "grep -h ^Cap /proc/self/status"

/* What a child that is started now may do. */
static void capabilities(char *out, size_t size)
{
    FILE *child = popen(FULL, "r");
    assert_non_null(child);
    size_t n = fread(out, 1, size - 1, child);
    out[n] = '\0';
    assert_int_equal(pclose(child), 0);
}

static void binds_low_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), status = -1;
    for (uint16_t port = 1000; status != 0 && port < 1024; port++) {
        address.sin_port = htons(port);
        status = bind(s, (struct sockaddr *)&address, sizeof address);
    }
    assert_int_equal(status, 0);
    close(s);
}

static void reads_files_of_others(void)
{
    char path[] = "/tmp/fleetflash-privilege-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_int_equal(fchown(fd, 12345, 12345), 0);
    close(fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
}

static void test_root(void **state)
{
    char before[1024], after[1024];
    (void)state;
    if (geteuid() != 0)
        skip();
    capabilities(before, sizeof before);
    assert_true(chroot("/") == 0);
    privilege_reduce();
    assert_int_equal(chroot("/"), -1); /* CAP_SYS_CHROOT: as good an example as any */
    assert_int_equal(errno, EPERM);
    binds_low_port();
    reads_files_of_others();
    capabilities(after, sizeof after);
    assert_string_equal(after, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_root)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
