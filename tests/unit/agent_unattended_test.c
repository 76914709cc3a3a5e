/* SPDX-License-Identifier: Apache-2.0 */
/* A controller on the very disk that is flashed (local mode): from FENCE on nobody says a word, and
 * the image comes out whole all the same. */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

static char disk[64];

/* Like the live system, which writes until the fence is up. */
static void spoil(uint64_t offset)
{
    static const uint8_t noise[4096] = {1, 2, 3};
    int fd = open(disk, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, noise, sizeof noise, (off_t)offset), sizeof noise);
    close(fd);
}

/* Most of the disk is as the image at first, and changes between the comparison and the fence. */
static void test_nobody_is_needed(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(12 * MIB, 1);
    disk_file_make(disk, 16 * MIB, image->data, 12 * MIB, 7);
    spoil(9 * MIB);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, BEGIN_FLAG_UNATTENDED);
    assert_true(driver_until(&driver, FRAME_STAGED));
    assert_int_equal(driver.mode.mode, MODE_STAGE);
    spoil(0);
    spoil(3 * MIB);
    spoil(11 * MIB);
    assert_false(disk_file_holds(disk, image));
    driver_request(&driver, FRAME_FENCE);
    assert_true(driver_until(&driver, FRAME_FENCED));
    assert_int_equal(driver_stop(&driver), 0); /* it quits where it would reboot */
    assert_true(disk_file_holds(disk, image));
    image_free(image);
}

/* A disk that holds the image needs no memory, no fence and no reboot. */
static void test_unchanged(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(12 * MIB, 1);
    disk_file_make(disk, 16 * MIB, image->data, 12 * MIB, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, BEGIN_FLAG_UNATTENDED);
    assert_true(driver_until(&driver, FRAME_MODE));
    assert_int_equal(driver.mode.mode, MODE_UNCHANGED);
    driver_stop(&driver);
    image_free(image);
}

/* A disk that keeps something else than is written: three times more, then it waits for whoever
 * comes. */
static void test_write_begun_anew(void **state)
{
    const char *extra[] = {"--switch", "corrupt-always=30", NULL};
    struct driver driver;
    unsigned count = 0;
    (void)state;
    if (getenv("AGENT_RUNNER") != NULL)
        skip(); /* only the native program has switches */
    struct image *image = image_new(3 * MIB, 1);
    disk_file_make(disk, 4 * MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, extra);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, BEGIN_FLAG_UNATTENDED);
    assert_true(driver_until(&driver, FRAME_STAGED));
    driver_request(&driver, FRAME_FENCE);
    assert_true(driver_until(&driver, FRAME_FENCED));
    assert_false(driver_until(&driver, FRAME_WRITTEN));
    assert_int_equal(driver.fail.code, FAILCODE_IO);
    assert_int_equal(driver.fail.state, FAIL_INCOMPLETE);
    for (const char *at = driver.logs; (at = strstr(at, driver.fail.text)) != NULL; at++)
        count++;
    assert_int_equal(count, 3);
    kill(driver.pid, SIGKILL);
    driver_stop(&driver);
    image_free(image);
}

/* ABORT before the fence leaves the disk as it was. */
static void test_abort(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(12 * MIB, 1);
    disk_file_make(disk, 16 * MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, BEGIN_FLAG_UNATTENDED);
    assert_true(driver_until(&driver, FRAME_STAGED));
    driver_request(&driver, FRAME_ABORT);
    assert_false(driver_until(&driver, FRAME_WRITTEN));
    assert_int_equal(driver.fail.code, FAILCODE_ABORTED);
    assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
    driver_stop(&driver);
    assert_false(disk_file_holds(disk, image));
    image_free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_needed),
        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_write_begun_anew),
        cmocka_unit_test(test_abort),
    };
    int status = agent_tests_begin(disk, sizeof disk);
    return status != 0 ? status : agent_tests_end(disk, cmocka_run_group_tests(tests, NULL, NULL));
}
