/* SPDX-License-Identifier: Apache-2.0 */
/* The real agent program on a file-backed disk, from HELLO to "would reboot". */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
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
        cmocka_unit_test(test_stage),    cmocka_unit_test(test_stream),
        cmocka_unit_test(test_odd_tail), cmocka_unit_test(test_delta),
        cmocka_unit_test(test_force),    cmocka_unit_test(test_finishes_alone),
    };
    int status = agent_tests_begin(disk, sizeof disk);
    return status != 0 ? status : agent_tests_end(disk, cmocka_run_group_tests(tests, NULL, NULL));
}
