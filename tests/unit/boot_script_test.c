/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused of the scripts that boards run, and their form: compared with what U-Boot's own
 * mkimage makes of the same text. That they do what they should is for real U-Boots to say
 * (tests/lab/test_netboot.py). */
#include "netboot/boot_script.h"
#include "netboot/flash_script.h"
#include "netboot/uboot_image.h"
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct target_spec board(const char *name, const char *mac)
{
    struct target_spec spec = {.name = name, .mac = mac, .host = "10.0.0.7", .retries = 2};
    spec.netboot.disk = "mmc 0";
    spec.netboot.port = 69;
    return spec;
}

static char *make(const struct target_spec *specs, size_t count, struct error *err)
{
    struct boot_script_board boards[4];
    for (size_t i = 0; i < count; i++)
        boards[i] = (struct boot_script_board){&specs[i], "10.0.0.1"};
    memset(err, 0, sizeof *err);
    return boot_script_make(boards, count, err);
}

static void assert_refused(const struct target_spec *specs, size_t count, const char *why)
{
    struct error err;
    char *text = make(specs, count, &err);
    if (text != NULL)
        fail_msg("made, though %s", why);
    assert_int_equal(err.cls, ERROR_USAGE);
    if (strstr(err.text, why) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void test_refused(void **state)
{
    (void)state;
    struct target_spec specs[2] = {board("a", "02:00:00:00:00:01"),
                                   board("b", "02:00:00:00:00:01")};
    assert_refused(specs, 2, "the same MAC");
    specs[0].mac = NULL;
    assert_refused(specs, 1, "no 'mac'");
    specs[0] = board("a", "02:00:00:00:00:01");
    specs[0].host = "pi-01.lab";
    assert_refused(specs, 1, "no IPv4 address");
    specs[0].netboot.is_dhcp = true;
    specs[0].netboot.disk = "mmc 0; reset";
    assert_refused(specs, 1, "no disk of U-Boot");
    specs[0].netboot.disk = "mmc0"; /* nothing is behind its end to be taken for the number */
    assert_refused(specs, 1, "no disk of U-Boot");
    specs[0].netboot.disk = "mmc 0";
    specs[0].netboot.boot = "echo 'x'; reset";
    assert_refused(specs, 1, "neither '");
}

/* The words that hang on what the inventory says. */
static void test_words(void **state)
{
    (void)state;
    struct error err;
    struct target_spec specs[2] = {board("a", "02:00:00:00:00:01"),
                                   board("b", "02:00:00:00:00:02")};
    specs[1].netboot.is_dhcp = true;
    specs[1].netboot.port = 6969;
    specs[1].netboot.layout = NETBOOT_DISK;
    specs[1].retries = 4;
    struct target_spec patient = board("c", "02:00:00:00:00:03");
    patient.retries = 100;
    char *one = make(&specs[0], 1, &err), *two = make(specs, 2, &err);
    assert_non_null(one);
    assert_non_null(two);
    assert_null(strstr(one, "if test \"${ethaddr}\" ="));
    assert_non_null(strstr(one, "setenv ff_ip 10.0.0.7\n"));
    assert_non_null(strstr(one, "setenv ff_port\n"));
    assert_non_null(strstr(one, "setenv ff_bootpart 2\n"));
    assert_non_null(strstr(one, "for ff_try in 1 2 3; do"));
    assert_non_null(strstr(two, "if test \"${ethaddr}\" = 02:00:00:00:00:02"));
    assert_non_null(strstr(two, "setenv ff_mac 02-00-00-00-00-02\nsetenv ff_ip\n"));
    assert_non_null(strstr(two, "setenv ff_port 6969\n"));
    assert_non_null(strstr(two, "setenv ff_bootpart 1\n"));
    assert_non_null(strstr(two, "for ff_try in 1 2 3 4 5; do")); /* the most that one wants */
    char *ten = make(&patient, 1, &err);
    assert_non_null(strstr(ten, "for ff_try in 1 2 3 4 5 6 7 8 9 10; do"));
    free(ten);
    free(one);
    free(two);
}

static void test_routes(void **state)
{
    (void)state;
    struct target_spec spec = board("a", "02:00:00:00:00:01"); /* 10.0.0.7 */
    struct boot_script_board asking = {&spec, "10.0.0.1"};
    assert_true(boot_script_has_route(&asking));
    asking.server = "10.0.1.1";
    assert_false(boot_script_has_route(&asking));
    spec.netboot.netmask = "255.255.0.0";
    assert_true(boot_script_has_route(&asking));
    asking.server = "192.0.2.1";
    assert_false(boot_script_has_route(&asking));
    spec.netboot.gateway = "10.0.0.1";
    assert_true(boot_script_has_route(&asking));
    spec.netboot.gateway = NULL;
    spec.netboot.is_dhcp = true;
    assert_true(boot_script_has_route(&asking));
}

/* Everything but the time and the sums that cover it is as mkimage has it. */
static void test_form(void **state)
{
    (void)state;
    static const char text[] = "echo hello\nreset\n";
    need_tools("mkimage", "dumpimage", NULL);
    scratch_enter();
    file_write("text", text, strlen(text));
    shell("SOURCE_DATE_EPOCH=0 mkimage -A arm -O linux -T script -C none -n name -d text theirs "
          ">/dev/null");
    struct buffer *ours = uboot_image_script(text, "name");
    size_t size;
    uint8_t *theirs = file_read("theirs", &size);
    assert_int_equal(ours->size, size);
    assert_memory_equal(ours->data, theirs, size);
    file_write("ours", ours->data, ours->size);
    shell("dumpimage -l ours | grep -q 'Image Name: *name'");
    file_flip("ours", size - 2);
    shell("! dumpimage -l ours 2>&1 | grep -q 'Image Name'");
    buffer_unref(ours);
    free(theirs);
    scratch_leave();
}

static struct store_info image(const char *table, unsigned count, uint64_t size)
{
    struct store_info info = {.image_size = size};
    strcpy(info.facts.table, table);
    info.facts.partition_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct image_partition *partition = &info.facts.partitions[i];
        partition->start = (4 + 16 * (uint64_t)i) << 20;
        partition->size = 16 << 20;
        snprintf(partition->partuuid, sizeof partition->partuuid, "12345678-%02x", i + 1);
    }
    return info;
}

static void assert_range(const struct store_info *info, enum netboot_layout layout, int64_t start,
                         const char *why)
{
    struct error err = {0};
    struct part_layout range = {0};
    int result = flash_script_range(layout, info, &range, &err);
    assert_int_equal(result, start < 0 ? -1 : 0);
    if (start >= 0)
        assert_int_equal(range.start, start);
    else if (strstr(err.text, why) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void test_range(void **state)
{
    (void)state;
    struct store_info info = image("mbr", 2, 64 << 20);
    assert_range(&info, NETBOOT_SHIFTED, 4 << 20, NULL);
    assert_range(&info, NETBOOT_DISK, 0, NULL);
    info = image("mbr", 4, 80 << 20);
    assert_range(&info, NETBOOT_SHIFTED, -1, "one to three partitions");
    info = image("gpt", 2, 64 << 20);
    assert_range(&info, NETBOOT_SHIFTED, -1, "no MBR");
    assert_range(&info, NETBOOT_DISK, 0, NULL);
    info = image("mbr", 2, 64 << 20);
    strcpy(info.facts.partitions[1].partuuid, "12345678-05");
    assert_range(&info, NETBOOT_SHIFTED, -1, "not numbered");
    info = image("mbr", 2, (64 << 20) + 100);
    assert_range(&info, NETBOOT_DISK, -1, "no whole sectors");
    info = image("mbr", 2, (uint64_t)4 << 30);
    struct part_layout small = {.size = 1 << 20};
    struct error err;
    assert_int_equal(flash_script_range(NETBOOT_DISK, &info, &small, &err), -1);
    assert_non_null(strstr(err.text, "more than 2048"));
    small.size <<= 1;
    assert_int_equal(flash_script_range(NETBOOT_DISK, &info, &small, &err), 0);
    info = image("mbr", 2, 64 << 20);
    struct part_layout odd = {.size = (1 << 20) + 1};
    assert_int_equal(flash_script_range(NETBOOT_DISK, &info, &odd, &err), -1);
}

/* How often a text has a word in it. */
static size_t count(const char *text, const char *word)
{
    size_t found = 0;
    while ((text = strstr(text, word)) != NULL) {
        found++;
        text += strlen(word);
    }
    return found;
}

/* What is written so far is a number in the script, not one that the board adds up: with 32 bits it
 * could not tell of 4 GiB. */
static void test_sums(void **state)
{
    (void)state;
    scratch_enter();
    image_make("disk.img", (5 << 20) + 512);
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct store_options options = {.image = "disk.img", .cache_dir = "cache"};
    struct prepared prepared = {0};
    prepare_wait(&loop, &options, &prepared);
    assert_non_null(prepared.store);
    struct part_layout layout = {.size = 2 << 20};
    struct error err = {0};
    struct parts *parts = parts_open(&loop, prepared.store, &layout, &err);
    struct flash_script script = {.mac = "02:00:00:00:00:01",
                                  .disk = "mmc 0",
                                  .layout = NETBOOT_DISK,
                                  .facts = &store_info(prepared.store)->facts,
                                  .parts = parts,
                                  .tries = 3};
    char *text = flash_script_make(&script, &err);
    assert_non_null(text);
    assert_int_equal(count(text, "ff_bytes ${ff_bytes}"), 0);
    const char *second = strstr(text, "setenv ff_bytes 200000;");
    const char *third = strstr(text, "setenv ff_bytes 300200;");
    const char *first = strstr(text, "setenv ff_bytes 500200;");
    assert_true(second != NULL && third != NULL && first != NULL);
    assert_true(second < third && third < first);
    assert_int_equal(count(text, "setenv ff_bytes "), 4); /* one of them in the beginning */
    assert_int_equal(count(text, "run ff_do"), script.tries);
    free(text);
    parts_close(parts);
    store_finish(&loop, prepared.store);
    scratch_leave();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_words), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_form),    cmocka_unit_test(test_range), cmocka_unit_test(test_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
