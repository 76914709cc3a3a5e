/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"
#include "target/status.h"
#include "target/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static const char good[] =
    "{\"machine\":\"aarch64\",\"kernel\":\"6.1\",\"model\":\"Pi \\u001b[2J "
    "4\",\"memory_total\":1000,"
    "\"disk\":{\"path\":\"/dev/mmcblk0\",\"size\":4096000,\"serial\":\"0x1\",\"table\":\"mbr\","
    "\"signature\":\"1234abcd\"},\"root\":{\"fstype\":\"ext4\",\"kind\":\"plain\"},"
    "\"partitions\":[{\"path\":\"/dev/"
    "mmcblk0p2\",\"size\":100,\"filesystem\":\"ext4\",\"label\":\"root\","
    "\"mountpoints\":[\"/\"],\"is_data\":false},{\"path\":\"/dev/"
    "mmcblk0p3\",\"size\":5,\"is_data\":true,"
    "\"mountpoints\":[]}],\"refusals\":[],\"warnings\":[\"slow\"]}";

static void facts_are_read(void **state)
{
    (void)state;
    struct target_facts facts;
    struct error err = {0};
    assert_int_equal(target_facts_read(&facts, good, strlen(good), &err), 0);
    assert_true(facts.known);
    assert_string_equal(facts.machine, "aarch64");
    assert_string_equal(facts.model, "Pi  [2J 4"); /* no escape sequence gets through */
    assert_string_equal(facts.disk, "/dev/mmcblk0");
    assert_int_equal(facts.disk_size, 4096000);
    assert_string_equal(facts.signature, "1234abcd");
    assert_int_equal(facts.partition_count, 2);
    assert_string_equal(facts.partitions[0].mountpoint, "/");
    assert_true(facts.partitions[1].is_data);
    assert_int_equal(facts.warning_count, 1);
}

static void a_refusal_is_an_error_with_its_remedy(void **state)
{
    (void)state;
    static const char json[] =
        "{\"refusals\":[{\"rule\":\"network-root\",\"text\":\"root is on NFS\","
        "\"remedy\":\"flash the server\"}]}";
    struct target_facts facts;
    struct error err = {0};
    assert_int_equal(target_facts_read(&facts, json, strlen(json), &err), -1);
    assert_int_equal(err.cls, ERROR_REFUSED);
    assert_string_equal(err.text, "root is on NFS");
    assert_string_equal(err.remedy, "flash the server");
}

static void nonsense_is_a_protocol_error(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "no json", "{\"a\":1}}", "\"text\"\xff"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct target_facts facts;
        struct error err = {0};
        assert_int_equal(target_facts_read(&facts, texts[i], strlen(texts[i]), &err), -1);
        assert_int_equal(err.cls, ERROR_PROTOCOL);
    }
}

static void wrong_types_are_survived(void **state)
{
    (void)state;
    static const char json[] =
        "{\"disk\":7,\"partitions\":{\"a\":1},\"warnings\":[1,{}],\"refusals\":9,"
        "\"memory_total\":-5,\"model\":[]}";
    struct target_facts facts;
    struct error err = {0};
    assert_int_equal(target_facts_read(&facts, json, strlen(json), &err), 0);
    assert_int_equal(facts.memory_total, 0);
    assert_int_equal(facts.partition_count, 0);
}

static int fits(const char *image_machine, const char *device_machine, uint64_t image_size,
                uint64_t disk_size)
{
    struct store_info info = {.image_size = image_size};
    struct target_status status = {.facts = {.known = true, .disk_size = disk_size}};
    strcpy(info.facts.machine, image_machine);
    strcpy(status.facts.machine, device_machine);
    struct error err;
    return target_image_fits(&status, &info, &err);
}

static void an_image_must_fit_disk_and_machine(void **state)
{
    (void)state;
    assert_int_equal(fits("", "x86_64", 100, 100), 0);
    assert_int_equal(fits("", "x86_64", 101, 100), -1);
    assert_int_equal(fits("x86_64", "x86_64", 1, 1), 0);
    assert_int_equal(fits("aarch64", "x86_64", 1, 1), -1);
    assert_int_equal(fits("x86_64", "aarch64", 1, 1), -1);
    assert_int_equal(fits("armv7", "armv7l", 1, 1), 0);
    assert_int_equal(fits("armv7", "aarch64", 1, 1), 0); /* a 32-bit system on a 64-bit board */
}

static int fits_sectors(uint32_t disk_sector, uint32_t gpt_sector, uint64_t partition_end)
{
    struct store_info info = {.image_size = 1 << 20};
    struct target_status status = {
        .facts = {.known = true, .disk_size = 1 << 30, .disk_sector = disk_sector}};
    info.facts.gpt_sector = gpt_sector;
    info.facts.partition_count = 1;
    info.facts.partitions[0].start = 4096;
    info.facts.partitions[0].size = partition_end - 4096;
    struct error err;
    return target_image_fits(&status, &info, &err);
}

static void a_table_must_count_in_the_disks_sectors(void **state)
{
    (void)state;
    assert_int_equal(fits_sectors(512, 512, 1 << 20), 0);
    assert_int_equal(fits_sectors(4096, 4096, 1 << 20), 0);
    assert_int_equal(fits_sectors(4096, 512, 1 << 20), -1);
    assert_int_equal(fits_sectors(512, 4096, 1 << 20), -1);
    /* an MBR does not say; in the units of the disk its partition would end behind the image */
    assert_int_equal(fits_sectors(512, 0, 1 << 20), 0);
    assert_int_equal(fits_sectors(4096, 0, 1 << 20), -1);
    assert_int_equal(fits_sectors(4096, 0, (1 << 20) / 8), 0);
    assert_int_equal(fits_sectors(0, 512, 1 << 20), 0); /* an agent that does not tell */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_are_read),
        cmocka_unit_test(a_refusal_is_an_error_with_its_remedy),
        cmocka_unit_test(nonsense_is_a_protocol_error),
        cmocka_unit_test(wrong_types_are_survived),
        cmocka_unit_test(an_image_must_fit_disk_and_machine),
        cmocka_unit_test(a_table_must_count_in_the_disks_sectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
