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

static void read_block(uint32_t index, uint8_t *out)
{
    int fd = open(disk, O_RDONLY);
    assert_int_equal(pread(fd, out, DRIVER_BLOCK, (off_t)index * DRIVER_BLOCK), DRIVER_BLOCK);
    close(fd);
}

/* Unmapped blocks (a .bmap file's) keep what the disk has there: not asked for, not written, not
 * counted, among blocks that are compared and among such that are not. */
static void test_unmapped(void **state)
{
    static const uint32_t holes[] = {24, 40, 41, 62};
    (void)state;
    for (int mode = MODE_STAGE; mode <= MODE_STREAM; mode++) {
        for (uint32_t flags = 0; flags <= BEGIN_FLAG_FORCE; flags++) {
            struct driver driver;
            struct image *image = image_new(4 * MIB, 1);
            disk_file_make(disk, 4 * MIB, image->data, 2 * MIB, 7);
            for (size_t i = 0; i < sizeof holes / sizeof *holes; i++) {
                image_unmap(image, holes[i]);
                int fd = open(disk, O_WRONLY);
                memset(image->data + holes[i] * DRIVER_BLOCK, 0x5a, DRIVER_BLOCK);
                assert_int_equal(pwrite(fd, image->data + holes[i] * DRIVER_BLOCK, DRIVER_BLOCK,
                                        (off_t)holes[i] * DRIVER_BLOCK),
                                 DRIVER_BLOCK);
                close(fd);
            }
            driver_start(&driver, image, disk, NULL);
            driver_introduce(&driver);
            assert_true(driver_flash(&driver, (enum flash_mode)mode, flags));
            for (size_t i = 0; i < sizeof holes / sizeof *holes; i++)
                assert_int_equal(driver.want_count[holes[i]], 0);
            assert_true(driver.tally.blocks_same <= 60);
            assert_true(driver.tally.bytes_written <= 60 * DRIVER_BLOCK);
            assert_int_equal(driver_stop(&driver), 0);
            assert_true(disk_file_holds(disk, image)); /* the holes as they were */
            image_free(image);
        }
    }
}

/* In the head, which is zeroed before all else, a hole's former content is gone: zeros remain. */
static void test_unmapped_head(void **state)
{
    uint8_t block[DRIVER_BLOCK];
    struct driver driver;
    (void)state;
    struct image *image = image_new(4 * MIB, 1);
    disk_file_make(disk, 4 * MIB, NULL, 0, 7);
    image_unmap(image, 3);
    memset(image->data + 3 * DRIVER_BLOCK, 0, DRIVER_BLOCK);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    assert_true(driver_flash(&driver, MODE_STREAM, 0));
    assert_int_equal(driver.want_count[3], 0);
    assert_int_equal(driver_stop(&driver), 0);
    read_block(3, block);
    assert_true(sodium_is_zero(block, sizeof block));
    assert_true(disk_file_holds(disk, image));
    image_free(image);
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
        cmocka_unit_test(test_unmapped), cmocka_unit_test(test_unmapped_head),
        cmocka_unit_test(test_force),    cmocka_unit_test(test_finishes_alone),
    };
    int status = agent_tests_begin(disk, sizeof disk);
    return status != 0 ? status : agent_tests_end(disk, cmocka_run_group_tests(tests, NULL, NULL));
}
