/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent does not take from a controller: sizes, frames, blocks, tokens. */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

#define MIB (1024u * 1024u)

static char disk[64];

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_large),   cmocka_unit_test(test_corrupt_block),
        cmocka_unit_test(test_wrong_hello), cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_abort),
    };
    int status = agent_tests_begin(disk, sizeof disk);
    return status != 0 ? status : agent_tests_end(disk, cmocka_run_group_tests(tests, NULL, NULL));
}
