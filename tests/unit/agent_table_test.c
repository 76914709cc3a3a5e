/* SPDX-License-Identifier: Apache-2.0 */
/* Head and end of the disk, where partition tables are, and what the disk spoils. */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

static char disk[64];

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

#define LOADER_END  (1u * MIB + 4096u) /* where the boot loader's partition ends */
#define FIRST_BLOCK 4u                 /* of the image: 256 KiB are left out */
#define DISK_SIZE   (6u * MIB)

static void put_entry(uint8_t *entry, uint32_t start, uint32_t size)
{
    entry[4] = 0x0c;
    for (unsigned k = 0; k < 4; k++) {
        entry[8 + k] = (uint8_t)(start / 512 >> 8 * k);
        entry[12 + k] = (uint8_t)(size / 512 >> 8 * k);
    }
}

/* A disk with noise, a boot loader's partition in front and another one behind it. */
static uint8_t *loader_disk(void)
{
    uint8_t *content = malloc(DISK_SIZE);
    disk_file_make(disk, DISK_SIZE, NULL, 0, 7);
    int fd = open(disk, O_RDWR);
    assert_int_equal(pread(fd, content, DISK_SIZE, 0), DISK_SIZE);
    memset(content, 0, 512);
    put_entry(content + 446, 512, LOADER_END - 512);
    put_entry(content + 462, LOADER_END, 4 * MIB);
    content[510] = 0x55;
    content[511] = 0xaa;
    memcpy(content + DISK_SIZE - 512, "EFI PART", 8); /* means nothing to an MBR disk */
    assert_int_equal(pwrite(fd, content, DISK_SIZE, 0), DISK_SIZE);
    close(fd);
    return content;
}

static void assert_begins_with(const uint8_t *before, uint32_t size)
{
    uint8_t *now = malloc(size);
    int fd = open(disk, O_RDONLY);
    assert_int_equal(pread(fd, now, size, 0), size);
    close(fd);
    assert_memory_equal(now, before, size);
    free(now);
}

/* Does the disk hold what it held, but between from and to what is given? */
static void assert_changed_only(const uint8_t *before, uint32_t from, uint32_t to,
                                const uint8_t *given)
{
    uint8_t *now = malloc(DISK_SIZE);
    int fd = open(disk, O_RDONLY);
    assert_int_equal(pread(fd, now, DISK_SIZE, 0), DISK_SIZE);
    close(fd);
    assert_memory_equal(now, before, from);
    assert_memory_equal(now + from, given, to - from);
    assert_memory_equal(now + to, before + to, DISK_SIZE - to);
    free(now);
}

/* The table and the boot loader's partition keep every byte, and the head that is erased first is
 * where the image begins on the disk. */
static void test_behind_a_loader(void **state)
{
    const size_t size = 3 * MIB + 12345;
    const uint32_t end = LOADER_END + (uint32_t)size - FIRST_BLOCK * DRIVER_BLOCK;
    struct driver driver;
    (void)state;
    for (int mode = MODE_STAGE; mode <= MODE_STREAM; mode++) {
        uint8_t *before = loader_disk();
        struct image *image = image_new(size, 1);
        image->manifest.first_block = FIRST_BLOCK;
        image->manifest.shift = LOADER_END - FIRST_BLOCK * DRIVER_BLOCK;
        driver_start(&driver, image, disk, NULL);
        driver_introduce(&driver);
        driver_begin(&driver, (enum flash_mode)mode, BEGIN_FLAG_FORCE);
        assert_true(driver_until(&driver, mode == MODE_STAGE ? FRAME_STAGED : FRAME_MODE));
        driver_request(&driver, FRAME_FENCE);
        assert_true(driver_until(&driver, FRAME_FENCED));
        assert_changed_only(before, LOADER_END, LOADER_END, before);
        driver_request(&driver, FRAME_WRITE);
        while (mode == MODE_STREAM && driver.phase != PHASE_WRITING)
            assert_true(driver_until(&driver, FRAME_PHASE));
        if (mode == MODE_STREAM) { /* no block was sent yet; zeros may have been made */
            assert_true(is_zero_at(LOADER_END, MIB));
            assert_begins_with(before, LOADER_END);
        }
        assert_true(driver_until(&driver, FRAME_WRITTEN));
        for (unsigned i = 0; i < FIRST_BLOCK; i++)
            assert_int_equal(driver.want_count[i], 0);
        assert_int_equal(driver_stop(&driver), 0);
        assert_changed_only(before, LOADER_END, end, image->data + FIRST_BLOCK * DRIVER_BLOCK);

        driver_start(&driver, image, disk, NULL);
        driver_introduce(&driver);
        driver_begin(&driver, MODE_AUTO, 0);
        assert_true(driver_until(&driver, FRAME_MODE));
        assert_int_equal(driver.mode.mode, MODE_UNCHANGED);
        driver_stop(&driver);
        image_free(image);
        free(before);
    }
}

/* Whoever asks: a disk whose table does not fit is not written. */
static void test_no_loader(void **state)
{
    struct driver driver;
    (void)state;
    uint8_t *before = loader_disk();
    static const uint64_t shifts[] = {LOADER_END - 5 * DRIVER_BLOCK, LOADER_END, 4 * MIB};
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
        struct image *image = image_new(3 * MIB, 1);
        image->manifest.first_block = FIRST_BLOCK;
        image->manifest.shift = shifts[i];
        driver_start(&driver, image, disk, NULL);
        driver_introduce(&driver);
        driver_begin(&driver, MODE_STREAM, 0);
        assert_false(driver_until(&driver, FRAME_MODE));
        assert_int_equal(driver.fail.code, FAILCODE_DISK);
        assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
        kill(driver.pid, SIGKILL);
        driver_stop(&driver);
        assert_changed_only(before, 0, 0, before);
        image_free(image);
    }
    free(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repair),
        cmocka_unit_test(test_backup_table),
        cmocka_unit_test(test_covered_backup_table),
        cmocka_unit_test(test_behind_a_loader),
        cmocka_unit_test(test_no_loader),
    };
    int status = agent_tests_begin(disk, sizeof disk);
    return status != 0 ? status : agent_tests_end(disk, cmocka_run_group_tests(tests, NULL, NULL));
}
