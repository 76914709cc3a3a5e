/* SPDX-License-Identifier: Apache-2.0 */
/* Links to the agent that die, fall silent, or are taken over. */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

static char disk[64];

static const uint8_t zero_secret[PROTOCOL_KEY_SIZE];

static int connect_unix(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, name, strlen(name));
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    for (int i = 0; i < 200; i++) { /* the agent may still be starting */
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, size) == 0)
            return fd;
        close(fd);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return -1;
}

static int connect_tcp(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* The link is cut in the middle of a stream; the flash goes on over the agent's own port. */
static void test_second_way_in(void **state)
{
    char name[48];
    struct driver first, lost, stranger, second;
    (void)state;
    snprintf(name, sizeof name, "fleetflash-test-%d", (int)getpid());
    const char *extra[] = {"--socket", name, "--port", "0", NULL};
    struct image *image = image_new(12 * MIB, 1);
    disk_file_make(disk, 16 * MIB, NULL, 0, 7);
    driver_start(&first, image, disk, extra);

    int fd = connect_unix(name);
    assert_true(fd >= 0);
    driver_init(&lost, image, fd, fd);
    driver_introduce(&lost);
    assert_int_not_equal(lost.hello.port, 0);
    driver_begin(&lost, MODE_STREAM, 0);
    assert_true(driver_until(&lost, FRAME_MODE));
    driver_request(&lost, FRAME_FENCE);
    assert_true(driver_until(&lost, FRAME_FENCED));
    lost.stop_after = 40;
    driver_request(&lost, FRAME_WRITE);
    while (lost.sent < 40)
        assert_true(driver_until(&lost, FRAME_WANT));
    uint16_t port = lost.hello.port;
    driver_stop(&lost);

    /* Who does not know the secret gets a nonce and nothing else. */
    uint8_t wrong[PROTOCOL_KEY_SIZE] = {1};
    fd = connect_tcp(port);
    driver_init(&stranger, image, fd, fd);
    driver_encrypt(&stranger, wrong);
    driver_hello(&stranger, PROTOCOL_VERSION);
    assert_false(driver_until(&stranger, FRAME_HELLO_REPLY));
    assert_int_equal(stranger.fail.code, 0);
    driver_stop(&stranger);

    fd = connect_tcp(port);
    driver_init(&second, image, fd, fd);
    driver_encrypt(&second, zero_secret);
    driver_hello(&second, PROTOCOL_VERSION);
    assert_true(driver_until(&second, FRAME_HELLO_REPLY));
    assert_int_equal(second.hello.phase, PHASE_WRITING);
    assert_int_equal(second.hello.has_manifest, 1);
    assert_int_equal(second.hello.mode, MODE_STREAM);
    assert_true(driver_until(&second, FRAME_WRITTEN));
    driver_request(&second, FRAME_REBOOT);
    while (driver_until(&second, FRAME_LOG))
        ;
    assert_true(second.wants + 40 <= 128 + 16); /* what had come was not asked for again */
    driver_stop(&second);
    assert_int_equal(driver_stop(&first), 0);
    assert_true(disk_file_holds(disk, image));
    image_free(image);
}

/* A controller must be able to tell a write that is stuck from one that goes on: while blocks are
 * missing and none comes, the agent falls silent. */
static void test_silent_when_stuck(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(12 * MIB, 1);
    disk_file_make(disk, 16 * MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver.stop_after = 40;
    driver_begin(&driver, MODE_STREAM, 0);
    assert_true(driver_until(&driver, FRAME_MODE));
    driver_request(&driver, FRAME_FENCE);
    assert_true(driver_until(&driver, FRAME_FENCED));
    driver_request(&driver, FRAME_WRITE);
    while (driver.sent < 40)
        assert_true(driver_until(&driver, FRAME_WANT));
    /* What is on its way ends some time: then nothing more is heard for seconds. */
    struct pollfd poll_in = {.fd = driver.in, .events = POLLIN};
    uint8_t drop[4096];
    unsigned heard = 0;
    while (poll(&poll_in, 1, 2000) > 0 && heard++ < 100)
        assert_true(read(driver.in, drop, sizeof drop) > 0);
    assert_true(heard < 100);
    kill(driver.pid, SIGKILL);
    driver_stop(&driver);
    image_free(image);
}

static struct driver connect_again(struct image *image, const char *name)
{
    struct driver driver;
    int fd = connect_unix(name);
    assert_true(fd >= 0);
    driver_init(&driver, image, fd, fd);
    return driver;
}

/* Whoever waits for a controller whose host lost power, or whose cable was pulled, hears no end of
 * the stream: silence has to do. The next one finds the write where it stood. */
static void test_silent_controller(void **state)
{
    char name[48];
    struct driver agent, silent, next;
    (void)state;
    snprintf(name, sizeof name, "fleetflash-quiet-%d", (int)getpid());
    const char *extra[] = {"--socket", name, "--silence", "3000", NULL};
    struct image *image = image_new(12 * MIB, 1);
    disk_file_make(disk, 16 * MIB, NULL, 0, 7);
    driver_start(&agent, image, disk, extra);
    silent = connect_again(image, name);
    silent.pings = true;
    silent.kept_block = 100;
    driver_introduce(&silent);
    driver_begin(&silent, MODE_STREAM, 0);
    assert_true(driver_until(&silent, FRAME_MODE));
    driver_request(&silent, FRAME_FENCE);
    assert_true(driver_until(&silent, FRAME_FENCED));
    driver_request(&silent, FRAME_WRITE);
    while (silent.want_count[100] == 0)
        assert_true(driver_until(&silent, FRAME_WANT));
    silent.pings = false;
    assert_false(driver_until(&silent, FRAME_WRITTEN)); /* the agent hangs up … */
    assert_int_equal(silent.fail.code, 0);              /* … and has not failed */
    driver_stop(&silent);

    next = connect_again(image, name);
    next.pings = true;
    driver_hello(&next, PROTOCOL_VERSION);
    assert_true(driver_until(&next, FRAME_HELLO_REPLY));
    assert_int_equal(next.hello.phase, PHASE_WRITING);
    assert_true(driver_until(&next, FRAME_WRITTEN));
    assert_int_equal(next.want_count[100], 1);
    driver_request(&next, FRAME_REBOOT);
    while (driver_until(&next, FRAME_LOG))
        ;
    driver_stop(&next);
    assert_int_equal(driver_stop(&agent), 0);
    assert_true(disk_file_holds(disk, image));
    image_free(image);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whoever pings is not given up, though nothing else is said for longer than silence may last. */
static void test_pings_keep(void **state)
{
    const char *extra[] = {"--silence", "2000", NULL};
    struct driver driver;
    (void)state;
    struct image *image = image_new(MIB, 1);
    disk_file_make(disk, MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, extra);
    driver_introduce(&driver);
    int64_t longest = 0, began = now_ms(), last = began;
    while (last - began < 4000) {
        driver_request(&driver, FRAME_PING);
        bool answered = driver_until(&driver, FRAME_PONG);
        int64_t now = now_ms();
        longest = now - last > longest ? now - last : longest;
        last = now;
        if (!answered)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    bool kept = last - began >= 4000;
    driver_stop(&driver);
    image_free(image);
    if (!kept && longest > 1000)
        skip(); /* this machine was too busy to ping in time */
    assert_true(kept);
}

/* A write that failed half way is started again, by the same controller or by a later one; why it
 * failed is then history. */
static void test_restart(void **state)
{
    (void)state;
    char name[48];
    snprintf(name, sizeof name, "fleetflash-again-%d", (int)getpid());
    const char *extra[] = {"--socket", name, NULL};
    for (uint32_t flags = 0; flags <= BEGIN_FLAG_FORCE; flags++) {
        struct image *image = image_new(12 * MIB, 1);
        struct driver agent;
        disk_file_make(disk, 16 * MIB, NULL, 0, 7);
        driver_start(&agent, image, disk, extra);
        struct driver first = connect_again(image, name);
        first.corrupt_block = 100;
        first.corrupt_times = 1000;
        driver_introduce(&first);
        assert_false(driver_flash(&first, MODE_STREAM, flags));
        assert_int_equal(first.fail.code, FAILCODE_BLOCK);
        assert_int_equal(first.fail.state, FAIL_INCOMPLETE);
        driver_request(&first, FRAME_WRITE); /* still spoilt */
        assert_false(driver_until(&first, FRAME_WRITTEN));
        assert_int_equal(first.fail.state, FAIL_INCOMPLETE);
        driver_stop(&first);

        struct driver second = connect_again(image, name);
        driver_hello(&second, PROTOCOL_VERSION);
        assert_true(driver_until(&second, FRAME_HELLO_REPLY));
        assert_false(driver_until(&second, FRAME_WRITTEN)); /* hears what happened */
        assert_int_equal(second.fail.state, FAIL_INCOMPLETE);
        /* How much was written before the two failures is chance; this block surely was not. */
        second.kept_block = 100;
        driver_request(&second, FRAME_WRITE);
        while (second.want_count[100] == 0)
            assert_true(driver_until(&second, FRAME_WANT));
        driver_stop(&second);

        struct driver third = connect_again(image, name);
        driver_hello(&third, PROTOCOL_VERSION);
        assert_true(driver_until(&third, FRAME_HELLO_REPLY));
        assert_true(driver_until(&third, FRAME_WRITTEN));
        driver_request(&third, FRAME_REBOOT);
        while (driver_until(&third, FRAME_LOG))
            ;
        driver_stop(&third);
        assert_int_equal(driver_stop(&agent), 0);
        assert_true(disk_file_holds(disk, image));
        image_free(image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_way_in), cmocka_unit_test(test_silent_when_stuck),
        cmocka_unit_test(test_restart),       cmocka_unit_test(test_silent_controller),
        cmocka_unit_test(test_pings_keep),
    };
    int status = agent_tests_begin(disk, sizeof disk);
    return status != 0 ? status : agent_tests_end(disk, cmocka_run_group_tests(tests, NULL, NULL));
}
