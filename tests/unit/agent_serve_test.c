/* SPDX-License-Identifier: Apache-2.0 */
/* The real agent program on a file-backed disk, from HELLO to "would reboot". */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

static char disk[64];

static void flash_whole(enum flash_mode mode, uint64_t image_size, uint64_t disk_size)
{
    struct driver driver;
    struct image *image = image_new(image_size, 1);
    disk_file_make(disk, disk_size, NULL, 0, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    assert_true(driver_flash(&driver, mode, 0));
    assert_int_equal(driver.mode.mode, mode);
    assert_non_null(strstr(driver.logs, "would reboot"));
    assert_int_equal(driver_stop(&driver), 0);
    assert_true(disk_file_holds(disk, image));
    assert_int_equal(driver.tally.blocks_repaired, 0);
    assert_true(driver.tally.bytes_verified >= image_size);
    struct stat st;
    assert_int_equal(stat(disk, &st), 0);
    assert_int_equal(st.st_size, disk_size);
    image_free(image);
}

static void test_stage(void **state)
{
    (void)state;
    flash_whole(MODE_STAGE, 5 * MIB, 8 * MIB);
}

static void test_stream(void **state)
{
    (void)state;
    flash_whole(MODE_STREAM, 5 * MIB, 8 * MIB);
}

/* The image's end is in the middle of a block and of a sector; what follows in it is kept. */
static void test_odd_tail(void **state)
{
    (void)state;
    for (int mode = MODE_STAGE; mode <= MODE_STREAM; mode++) {
        uint8_t before[512], after[512];
        disk_file_make(disk, 4 * MIB, NULL, 0, 7);
        int fd = open(disk, O_RDONLY);
        assert_int_equal(pread(fd, before, sizeof before, 3 * MIB + 70001), sizeof before);
        close(fd);
        flash_whole((enum flash_mode)mode, 3 * MIB + 70001, 4 * MIB);
        fd = open(disk, O_RDONLY);
        assert_int_equal(pread(fd, after, sizeof after, 3 * MIB + 70001), sizeof after);
        close(fd);
        assert_memory_equal(before, after, sizeof before);
        /* A disk that is not a whole number of pages, and ends with the image. */
        flash_whole((enum flash_mode)mode, 3 * MIB + 512, 3 * MIB + 512);
        flash_whole((enum flash_mode)mode, 70001, 1 * MIB);
    }
}

static void test_too_large(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(3 * MIB, 1);
    disk_file_make(disk, 2 * MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    assert_false(driver_flash(&driver, MODE_AUTO, 0));
    assert_int_equal(driver.fail.code, FAILCODE_DISK);
    assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
    assert_int_equal(driver_stop(&driver), 0);
    image_free(image);
}

/* Only what differs is asked for, in both modes; nothing when nothing differs. */
static void test_delta(void **state)
{
    (void)state;
    for (int mode = MODE_STAGE; mode <= MODE_STREAM; mode++) {
        struct driver driver;
        struct image *image = image_new(6 * MIB, 1);
        disk_file_make(disk, 8 * MIB, image->data, image->size, 7);
        driver_start(&driver, image, disk, NULL);
        driver_introduce(&driver);
        assert_true(driver_flash(&driver, (enum flash_mode)mode, 0));
        assert_int_equal(driver.mode.mode, MODE_UNCHANGED);
        assert_int_equal(driver.wants, 0);
        assert_int_equal(driver_stop(&driver), 0);

        memset(image->data + 40 * DRIVER_BLOCK, 3, 10);
        memset(image->data + 63 * DRIVER_BLOCK, 0, DRIVER_BLOCK);
        image_seal(image);
        driver_start(&driver, image, disk, NULL);
        driver_introduce(&driver);
        assert_true(driver_flash(&driver, (enum flash_mode)mode, 0));
        assert_int_equal(driver.mode.differing_blocks, 2);
        assert_int_equal(driver.wants, 1);
        assert_int_equal(driver.want_count[40], 1);
        assert_int_equal(driver.tally.blocks_received, 1);
        assert_int_equal(driver_stop(&driver), 0);
        assert_true(disk_file_holds(disk, image));
        image_free(image);
    }
}

static void test_force(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(3 * MIB, 1);
    disk_file_make(disk, 4 * MIB, image->data, image->size, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    assert_true(driver_flash(&driver, MODE_AUTO, BEGIN_FLAG_FORCE));
    assert_int_equal(driver.mode.mode, MODE_STAGE);
    assert_int_equal(driver.wants, 32);
    assert_int_equal(driver_stop(&driver), 0);
    assert_true(disk_file_holds(disk, image));
    image_free(image);
}

static void test_corrupt_block(void **state)
{
    (void)state;
    for (int mode = MODE_STAGE; mode <= MODE_STREAM; mode++) {
        struct driver driver;
        struct image *image = image_new(3 * MIB, 1);
        disk_file_make(disk, 4 * MIB, NULL, 0, 7);
        driver_start(&driver, image, disk, NULL);
        driver.corrupt_block = 21;
        driver.corrupt_times = 2;
        driver_introduce(&driver);
        assert_true(driver_flash(&driver, (enum flash_mode)mode, 0));
        assert_int_equal(driver.want_count[21], 3);
        assert_int_equal(driver_stop(&driver), 0);
        assert_true(disk_file_holds(disk, image));

        disk_file_make(disk, 4 * MIB, NULL, 0, 7);
        driver_start(&driver, image, disk, NULL);
        driver.corrupt_block = 21;
        driver.corrupt_times = 1000;
        driver_introduce(&driver);
        assert_false(driver_flash(&driver, (enum flash_mode)mode, 0));
        assert_int_equal(driver.fail.code, FAILCODE_BLOCK);
        assert_int_equal(driver.fail.state, mode == MODE_STAGE ? FAIL_UNTOUCHED : FAIL_INCOMPLETE);
        driver_stop(&driver);
        image_free(image);
    }
}

static void test_wrong_hello(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(MIB, 1);
    disk_file_make(disk, MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, NULL);
    driver.token[5] ^= 1;
    driver_hello(&driver, PROTOCOL_VERSION);
    assert_false(driver_until(&driver, FRAME_HELLO_REPLY));
    assert_int_equal(driver.fail.code, FAILCODE_TOKEN);
    assert_false(driver_until(&driver, FRAME_HELLO_REPLY)); /* hung up */
    assert_int_equal(driver_stop(&driver), 0);

    driver_start(&driver, image, disk, NULL);
    driver_hello(&driver, PROTOCOL_VERSION + 1);
    assert_false(driver_until(&driver, FRAME_HELLO_REPLY));
    assert_int_equal(driver.fail.code, FAILCODE_VERSION);
    assert_int_equal(driver_stop(&driver), 0);

    /* Nothing but HELLO is answered before HELLO. */
    driver_start(&driver, image, disk, NULL);
    driver_request(&driver, FRAME_PING);
    assert_false(driver_until(&driver, FRAME_PONG));
    assert_int_equal(driver_stop(&driver), 0);
    image_free(image);
}

static void test_bad_frames(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(MIB, 1);
    disk_file_make(disk, MIB, NULL, 0, 7);
    const uint8_t oversize[PROTOCOL_HEADER_SIZE] = {0, 0, 0x11, 0, FRAME_BLOCK};
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_send(&driver, oversize, sizeof oversize);
    assert_false(driver_until(&driver, FRAME_PONG));
    assert_int_equal(driver_stop(&driver), 0);

    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_request(&driver, FRAME_WRITE); /* not its time */
    assert_false(driver_until(&driver, FRAME_WRITTEN));
    assert_int_equal(driver.fail.code, FAILCODE_PROTOCOL);
    assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
    assert_int_equal(driver_stop(&driver), 0);

    image->manifest.image_id[0] ^= 1; /* hashes that are not the image's */
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    assert_false(driver_until(&driver, FRAME_PONG));
    assert_int_equal(driver.fail.code, FAILCODE_PROTOCOL);
    driver_stop(&driver);
    image_free(image);
}

/* What the disk spoils is found by reading back, and repaired. */
static void test_repair(void **state)
{
    (void)state;
    if (getenv("AGENT_RUNNER") != NULL)
        skip(); /* only the native program has switches */
    for (int mode = MODE_STAGE; mode <= MODE_STREAM; mode++) {
        for (int block = 0; block <= 30; block += 30) { /* in the head and behind it */
            char word[32];
            const char *extra[] = {"--switch", word, NULL};
            struct driver driver;
            struct image *image = image_new(3 * MIB, 1);
            snprintf(word, sizeof word, "corrupt-write=%d", block);
            disk_file_make(disk, 4 * MIB, NULL, 0, 7);
            driver_start(&driver, image, disk, extra);
            driver_introduce(&driver);
            assert_true(driver_flash(&driver, (enum flash_mode)mode, 0));
            assert_int_equal(driver.tally.blocks_repaired, 1);
            assert_int_equal(driver_stop(&driver), 0);
            assert_true(disk_file_holds(disk, image));

            snprintf(word, sizeof word, "corrupt-always=%d", block);
            disk_file_make(disk, 4 * MIB, NULL, 0, 7);
            driver_start(&driver, image, disk, extra);
            driver_introduce(&driver);
            assert_false(driver_flash(&driver, (enum flash_mode)mode, 0));
            assert_int_equal(driver.fail.code, FAILCODE_IO);
            assert_int_equal(driver.fail.state, FAIL_INCOMPLETE);
            kill(driver.pid, SIGKILL);
            driver_stop(&driver);
            image_free(image);
        }
    }
}

/* A table that the image does not cover must not come back from the disk's end. */
static void test_backup_table(void **state)
{
    struct driver driver;
    uint8_t end[33 * 512];
    (void)state;
    struct image *image = image_new(3 * MIB, 1);
    disk_file_make(disk, 4 * MIB, NULL, 0, 7);
    int fd = open(disk, O_RDWR);
    assert_int_equal(pwrite(fd, "EFI PART", 8, 4 * MIB - 512), 8);
    close(fd);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    assert_true(driver_flash(&driver, MODE_STREAM, 0));
    assert_int_equal(driver_stop(&driver), 0);
    assert_true(disk_file_holds(disk, image));
    fd = open(disk, O_RDONLY);
    assert_int_equal(pread(fd, end, sizeof end, 4 * MIB - sizeof end), sizeof end);
    close(fd);
    assert_true(sodium_is_zero(end, sizeof end));
    image_free(image);
}

static bool is_zero_at(uint64_t offset, size_t size)
{
    uint8_t *data = malloc(size);
    int fd = open(disk, O_RDONLY);
    assert_int_equal(pread(fd, data, size, (off_t)offset), size);
    close(fd);
    bool zero = sodium_is_zero(data, size) != 0;
    free(data);
    return zero;
}

/* An image as large as the disk has a backup table of its own: neither that nor the old one may be
 * found while the disk is incomplete. */
static void test_covered_backup_table(void **state)
{
    const size_t table = 33 * 512;
    struct driver driver;
    (void)state;
    for (unsigned shorter = 0; shorter <= 512; shorter += 512) {
        struct image *image = image_new(4 * MIB - shorter, 1);
        memcpy(image->data + 4 * MIB - 512 - shorter, "EFI PART", 8);
        image_seal(image);
        disk_file_make(disk, 4 * MIB, NULL, 0, 7);
        int fd = open(disk, O_RDWR);
        assert_int_equal(pwrite(fd, "EFI PART", 8, 4 * MIB - 512), 8);
        close(fd);
        driver_start(&driver, image, disk, NULL);
        driver_introduce(&driver);
        driver_begin(&driver, MODE_STREAM, BEGIN_FLAG_FORCE);
        assert_true(driver_until(&driver, FRAME_MODE));
        driver_request(&driver, FRAME_FENCE);
        assert_true(driver_until(&driver, FRAME_FENCED));
        driver_request(&driver, FRAME_WRITE);
        while (driver.phase != PHASE_WRITING)
            assert_true(driver_until(&driver, FRAME_PHASE));
        /* No block of the body was sent yet. */
        assert_true(is_zero_at(0, MIB));
        assert_true(is_zero_at(4 * MIB - table, table));
        assert_true(driver_until(&driver, FRAME_WRITTEN));
        assert_int_equal(driver.want_count[63], 1);
        assert_int_equal(driver_stop(&driver), 0);
        assert_true(disk_file_holds(disk, image));
        assert_true(shorter == 0 || is_zero_at(4 * MIB - 512, 512));

        /* The end is right already: it is kept, erased and written again, not sent. */
        image->data[40 * DRIVER_BLOCK] ^= 1;
        image_seal(image);
        for (int mode = MODE_STAGE; mode <= MODE_STREAM; mode++) {
            driver_start(&driver, image, disk, NULL);
            driver_introduce(&driver);
            assert_true(driver_flash(&driver, (enum flash_mode)mode, 0));
            assert_int_equal(driver.wants, 1);
            assert_true(driver.tally.bytes_written >= MIB + table - 512);
            assert_int_equal(driver_stop(&driver), 0);
            assert_true(disk_file_holds(disk, image));
            image->data[40 * DRIVER_BLOCK] ^= 1;
            image_seal(image);
        }
        image_free(image);
    }
}

/* Before the first written byte a target can be given up. */
static void test_abort(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(3 * MIB, 1), *old = image_new(4 * MIB, 2);
    disk_file_make(disk, 4 * MIB, old->data, old->size, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, 0);
    assert_true(driver_until(&driver, FRAME_STAGED));
    driver_request(&driver, FRAME_FENCE);
    assert_true(driver_until(&driver, FRAME_FENCED));
    driver_request(&driver, FRAME_ABORT);
    assert_false(driver_until(&driver, FRAME_WRITTEN));
    assert_int_equal(driver.fail.code, FAILCODE_ABORTED);
    assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
    assert_int_equal(driver_stop(&driver), 0);
    assert_true(disk_file_holds(disk, old));
    image_free(image);
    image_free(old);
}

/* --- links that die ----------------------------------------------------------------------- */

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
        second.stop_after = 20;
        driver_request(&second, FRAME_WRITE);
        while (second.sent < 20)
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

/* Stage mode needs nobody once it may write. */
static void test_finishes_alone(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(12 * MIB, 1);
    disk_file_make(disk, 16 * MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, 0);
    assert_true(driver_until(&driver, FRAME_STAGED));
    driver_request(&driver, FRAME_FENCE);
    assert_true(driver_until(&driver, FRAME_FENCED));
    driver_request(&driver, FRAME_WRITE);
    assert_true(driver_until(&driver, FRAME_PHASE)); /* erasing-head */
    assert_int_equal(driver_stop(&driver), 0);
    assert_true(disk_file_holds(disk, image));
    image_free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stage),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_odd_tail),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_delta),
        cmocka_unit_test(test_force),
        cmocka_unit_test(test_corrupt_block),
        cmocka_unit_test(test_wrong_hello),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_repair),
        cmocka_unit_test(test_backup_table),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_second_way_in),
        cmocka_unit_test(test_finishes_alone),
        cmocka_unit_test(test_covered_backup_table),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_silent_when_stuck),
    };
    const char *program = getenv("AGENT_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0 || sodium_init() < 0) {
        fprintf(stderr, "no agent program to test\n");
        return 77;
    }
    const char *runner = getenv("AGENT_RUNNER");
    if (runner != NULL && access(runner, X_OK) != 0) {
        fprintf(stderr, "no %s to run it with\n", runner);
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(disk, sizeof disk, "/tmp/agent-disk-%d", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(disk);
    return failed;
}
