/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent does not take from a controller: sizes, frames, blocks, tokens. */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

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

/* The frame is not what a controller may send: the agent says so, and the disk is as it was. */
static void expect_refusal(struct driver *driver, uint16_t code, const char *what)
{
    assert_false(driver_until(driver, FRAME_MODE));
    if (driver->fail.code != code || driver->fail.state != FAIL_UNTOUCHED)
        fail_msg("%s: %u, %u: %s", what, driver->fail.code, driver->fail.state, driver->fail.text);
    assert_int_equal(driver_stop(driver), 0);
}

static void put(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void hello_and_probe(struct driver *driver)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    driver_hello(driver, PROTOCOL_VERSION);
    assert_true(driver_until(driver, FRAME_HELLO_REPLY));
    driver_send(driver, out, protocol_encode_probe("auto", out, sizeof out));
    assert_true(driver_until(driver, FRAME_FACTS));
}

/* Sizes that cannot be, or not on this disk, are refused before memory is taken for them. */
static void test_absurd_manifests(void **state)
{
    static const struct {
        uint64_t image_size;
        uint32_t block_size, block_count;
        uint16_t code;
        const char *what;
    } rows[] = {
        {0, 65536, 0, FAILCODE_PROTOCOL, "empty"},
        {1048576, 0, 16, FAILCODE_PROTOCOL, "blocks of nothing"},
        {1048576, 4096, 256, FAILCODE_PROTOCOL, "blocks too small"},
        {1048576, 98304, 11, FAILCODE_PROTOCOL, "blocks of no power of two"},
        {1048576, 1073741824, 1, FAILCODE_PROTOCOL, "blocks too large"},
        {1048576, 65536, 15, FAILCODE_PROTOCOL, "too few blocks"},
        {1048576, 65536, 17, FAILCODE_PROTOCOL, "too many blocks"},
        {UINT64_MAX, 65536, UINT32_MAX, FAILCODE_PROTOCOL, "more blocks than can be counted"},
        {1048577, 65536, 17, FAILCODE_DISK, "one byte more than the disk"},
        {1ull << 47, 65536, 1u << 31, FAILCODE_DISK, "more hashes than memory"},
    };
    (void)state;
    struct image *image = image_new(MIB, 1);
    disk_file_make(disk, MIB, NULL, 0, 7);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[PROTOCOL_SMALL_MAX];
        struct driver driver;
        driver_start(&driver, image, disk, NULL);
        hello_and_probe(&driver);
        size_t size = protocol_encode_manifest(&image->manifest, out, sizeof out);
        put(out + PROTOCOL_HEADER_SIZE, rows[i].image_size, 8);
        put(out + PROTOCOL_HEADER_SIZE + 8, rows[i].block_size, 4);
        put(out + PROTOCOL_HEADER_SIZE + 12, rows[i].block_count, 4);
        driver_send(&driver, out, size);
        expect_refusal(&driver, rows[i].code, rows[i].what);
    }
    image_free(image);
}

static void test_absurd_hashes(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(MIB, 1);
    disk_file_make(disk, MIB, NULL, 0, 7);
    driver_start(&driver, image, disk, NULL);
    driver_hello(&driver, PROTOCOL_VERSION);
    assert_true(driver_until(&driver, FRAME_HELLO_REPLY));
    driver_manifest(&driver);
    expect_refusal(&driver, FAILCODE_PROTOCOL, "a manifest before the probe");

    image->entries[3].wire_size = DRIVER_BLOCK + 1;
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    expect_refusal(&driver, FAILCODE_PROTOCOL, "a block that grows on the wire");
    image_seal(image);

    image->count++; /* one hash more than the manifest has blocks */
    image->entries = realloc(image->entries, image->count * sizeof *image->entries);
    image->entries[image->count - 1] = image->entries[0];
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    expect_refusal(&driver, FAILCODE_PROTOCOL, "a hash beyond the image");
    image->count--;
    image_free(image);
}

static void test_absurd_blocks(void **state)
{
    static const struct {
        uint32_t index, size;
        const char *what;
    } rows[] = {{48, 100, "a block beyond the image"}, {3, DRIVER_BLOCK + 1, "a block too long"}};
    static uint8_t data[DRIVER_BLOCK + 1];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct driver driver;
        uint8_t prefix[PROTOCOL_BLOCK_PREFIX];
        struct block_header header = {.index = rows[i].index};
        struct image *image = image_new(3 * MIB, 1);
        disk_file_make(disk, 4 * MIB, NULL, 0, 7);
        driver_start(&driver, image, disk, NULL);
        driver.kept_block = 3;
        driver_introduce(&driver);
        driver_begin(&driver, MODE_STAGE, 0);
        assert_true(driver_until(&driver, FRAME_MODE));
        protocol_encode_block_prefix(&header, rows[i].size, prefix);
        driver_send(&driver, prefix, sizeof prefix);
        driver_send(&driver, data, rows[i].size);
        expect_refusal(&driver, FAILCODE_PROTOCOL, rows[i].what);
        image_free(image);
    }
}

/* Whatever the controller thought: block 0 says which sectors the table counts in. */
static void test_sectors(void **state)
{
    static const struct {
        const char *sector; /* of the disk */
        unsigned gpt;       /* where the image has one; 0: it has none */
        uint8_t type;       /* of the first MBR entry; 0: no MBR */
        uint32_t end;       /* … in sectors */
        bool refused;
        const char *what;
    } rows[] = {
        {"512", 512, 0xee, 100, false, "GPT for 512 on 512"},
        {"4096", 4096, 0xee, 100, false, "GPT for 4096 on 4096"},
        {"4096", 512, 0xee, 100, true, "GPT for 512 on 4096"},
        {"512", 4096, 0xee, 100, true, "GPT for 4096 on 512"},
        {"512", 4096, 0x83, 100, false, "an MBR, and something like a GPT in the gap"},
        {"512", 0, 0x83, 6144, false, "an MBR for 512 on 512"},
        {"4096", 0, 0x83, 6144, true, "an MBR for 512 on 4096"},
        {"4096", 0, 0x83, 768, false, "an MBR for 4096 on 4096"},
        {"4096", 0, 0, 0, false, "no table"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct driver driver;
        const char *extra[] = {"--sector", rows[i].sector, NULL};
        struct image *image = image_new(3 * MIB, 1), *old = image_new(4 * MIB, 2);
        if (rows[i].gpt != 0)
            memcpy(image->data + rows[i].gpt, "EFI PART", 8);
        if (rows[i].type != 0) {
            memset(image->data + 446, 0, 64);
            image->data[450] = rows[i].type;
            put(image->data + 458, rows[i].end, 4);
            put(image->data + 510, 0xaa55, 2);
        }
        image_seal(image);
        disk_file_make(disk, 4 * MIB, old->data, old->size, 7);
        driver_start(&driver, image, disk, extra);
        driver_introduce(&driver);
        bool flashed = driver_flash(&driver, i % 2 == 0 ? MODE_STAGE : MODE_STREAM, 0);
        if (flashed == rows[i].refused)
            fail_msg("%s: %s", rows[i].what, driver.fail.text);
        if (!flashed) {
            assert_int_equal(driver.fail.code, FAILCODE_DISK);
            assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
            assert_non_null(strstr(driver.fail.text, "sectors"));
        }
        assert_int_equal(driver_stop(&driver), 0);
        assert_true(disk_file_holds(disk, flashed ? image : old));
        image_free(image);
        image_free(old);
    }
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

static bool locks(int fd, int how)
{
    return flock(fd, how | LOCK_NB) == 0;
}

/* The disk is locked while it is fenced and written, and not a moment earlier: systemd waits for
 * such locks in every daemon-reload. Who has it locked then keeps it. */
static void test_lock(void **state)
{
    struct driver driver;
    (void)state;
    struct image *image = image_new(MIB, 1);
    disk_file_make(disk, MIB, NULL, 0, 7);
    int fd = open(disk, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, 0);
    assert_true(driver_until(&driver, FRAME_STAGED));
    assert_true(locks(fd, LOCK_SH));
    driver_request(&driver, FRAME_FENCE); /* waits for a while, as for udev */
    assert_false(driver_until(&driver, FRAME_FENCED));
    assert_int_equal(driver.fail.code, FAILCODE_BUSY);
    assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
    assert_int_equal(driver_stop(&driver), 0);
    assert_false(disk_file_holds(disk, image));

    assert_true(locks(fd, LOCK_UN));
    driver_start(&driver, image, disk, NULL);
    driver_introduce(&driver);
    driver_begin(&driver, MODE_STAGE, 0);
    assert_true(driver_until(&driver, FRAME_STAGED));
    driver_request(&driver, FRAME_FENCE);
    assert_true(driver_until(&driver, FRAME_FENCED));
    assert_false(locks(fd, LOCK_SH));
    driver_request(&driver, FRAME_ABORT);
    assert_false(driver_until(&driver, FRAME_WRITTEN));
    assert_int_equal(driver.fail.state, FAIL_UNTOUCHED);
    assert_true(locks(fd, LOCK_EX));
    assert_int_equal(driver_stop(&driver), 0);

    driver_start(&driver, image, disk, NULL);
    uint8_t out[PROTOCOL_SMALL_MAX];
    driver_hello(&driver, PROTOCOL_VERSION);
    assert_true(driver_until(&driver, FRAME_HELLO_REPLY));
    driver_send(&driver, out, protocol_encode_probe("auto", out, sizeof out));
    assert_false(driver_until(&driver, FRAME_FACTS));
    assert_int_equal(driver.fail.code, FAILCODE_BUSY);
    assert_int_equal(driver_stop(&driver), 0);
    close(fd);
    image_free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_large),     cmocka_unit_test(test_absurd_manifests),
        cmocka_unit_test(test_absurd_hashes), cmocka_unit_test(test_absurd_blocks),
        cmocka_unit_test(test_sectors),       cmocka_unit_test(test_corrupt_block),
        cmocka_unit_test(test_wrong_hello),   cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_abort),         cmocka_unit_test(test_lock),
    };
    int status = agent_tests_begin(disk, sizeof disk);
    return status != 0 ? status : agent_tests_end(disk, cmocka_run_group_tests(tests, NULL, NULL));
}
