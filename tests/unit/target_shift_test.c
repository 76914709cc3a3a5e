/* SPDX-License-Identifier: Apache-2.0 */
/* Where the image goes behind a boot loader, and what is refused before anything is touched. */
#include "target/shift.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1ull << 20)

/* A board with a boot loader in 4…132 MiB, the image's two partitions and one more behind it; and
 * an image as Raspberry Pi OS is. */
struct scene {
    struct target_spec spec;
    struct target_status status;
    struct store_info info;
};

static struct fact_partition *add_partition(struct scene *scene, unsigned number, uint64_t start,
                                            uint64_t size)
{
    struct target_facts *facts = &scene->status.facts;
    struct fact_partition *partition = &facts->partitions[facts->partition_count++];
    partition->number = number;
    partition->start = start * MIB;
    partition->size = size * MIB;
    strcpy(partition->path, "/dev/mmcblk0p0");
    partition->path[13] = (char)('0' + number);
    return partition;
}

static struct scene *scene_new(void)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct target_facts *facts = &scene->status.facts;
    scene->spec =
        (struct target_spec){.recovery = RECOVERY_NETBOOT, .netboot = {.layout = NETBOOT_SHIFTED}};
    scene->status.spec = &scene->spec;
    facts->known = true;
    facts->disk_size = 16384 * MIB;
    facts->disk_sector = 512;
    strcpy(facts->disk, "/dev/mmcblk0");
    strcpy(facts->table, "mbr");
    strcpy(add_partition(scene, 1, 4, 128)->boot_loader, "boot.scr");
    add_partition(scene, 2, 132, 512);
    add_partition(scene, 3, 644, 8000); /* it has been grown */
    add_partition(scene, 4, 9000, 100);
    struct image_facts *image = &scene->info.facts;
    scene->info.image_size = 2564 * MIB;
    scene->info.block_size = 128 * 1024;
    scene->info.block_count = 2564 * 8;
    strcpy(image->table, "mbr");
    image->partition_count = 2;
    image->partitions[0] =
        (struct image_partition){.start = 4 * MIB, .size = 512 * MIB, .partuuid = "deadbeef-01"};
    image->partitions[1] =
        (struct image_partition){.start = 516 * MIB, .size = 2048 * MIB, .partuuid = "deadbeef-02"};
    return scene;
}

/* Refused, with these words, and with what can be done; frees. */
static void assert_refused(struct scene *scene, const char *words)
{
    struct shift shift;
    struct error err = {0};
    assert_int_equal(shift_find(&scene->status, &scene->info, &shift, &err), -1);
    assert_int_equal(err.cls, ERROR_REFUSED);
    if (strstr(err.text, words) == NULL)
        fail_msg("not told: %s: %s", words, err.text);
    assert_int_not_equal(err.remedy[0], '\0');
    free(scene);
}

static void all_is_further_on_by_the_same(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    struct shift shift;
    struct error err;
    assert_int_equal(shift_find(&scene->status, &scene->info, &shift, &err), 0);
    assert_int_equal(shift.first_block, 32);
    assert_int_equal(shift.bytes, 128 * MIB);
    assert_int_equal(shift_first_block(&scene->spec, &scene->info), 32);
    assert_int_equal(shift_kept(&scene->status, &scene->info), 1u | 8u);
    assert_int_equal(shift_kept(&scene->status, NULL), 1);
    /* The loader in the gap in front of the image's first partition: nothing moves at all. */
    scene->info.facts.partitions[0].start = 132 * MIB;
    scene->info.facts.partitions[1].start = 644 * MIB;
    scene->info.image_size = 2692 * MIB;
    assert_int_equal(shift_find(&scene->status, &scene->info, &shift, &err), 0);
    assert_int_equal(shift.first_block, 132 * 8);
    assert_int_equal(shift.bytes, 0);
    free(scene);
}

static void others_are_not_shifted(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    struct shift shift = {1, 1};
    struct error err;
    memset(&scene->status.facts, 0, sizeof scene->status.facts);
    scene->spec.netboot.layout = NETBOOT_DISK;
    assert_int_equal(shift_find(&scene->status, &scene->info, &shift, &err), 0);
    assert_true(shift.first_block == 0 && shift.bytes == 0);
    assert_int_equal(shift_kept(&scene->status, &scene->info), 0);
    assert_int_equal(shift_first_block(&scene->spec, &scene->info), 0);
    scene->spec = (struct target_spec){.netboot = {.layout = NETBOOT_SHIFTED}};
    assert_int_equal(shift_find(&scene->status, &scene->info, &shift, &err), 0);
    assert_false(shift_is_wanted(&scene->spec));
    free(scene);
}

static void a_loader_that_should_be_elsewhere_is_told(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    assert_null(shift_doubt(&scene->status)); /* it is kept */
    scene->spec.netboot.layout = NETBOOT_DISK;
    assert_ptr_equal(shift_doubt(&scene->status), &scene->status.facts.partitions[0]);
    scene->status.facts.partitions[0].boot_loader[0] = '\0';
    assert_null(shift_doubt(&scene->status));
    strcpy(scene->status.facts.partitions[0].boot_loader, "boot.scr");
    scene->spec.recovery = RECOVERY_NONE;
    assert_null(shift_doubt(&scene->status));
    free(scene);
}

static void without_a_loader_it_is_refused(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    struct shift shift;
    struct error err;
    scene->status.facts.partitions[0].boot_loader[0] = '\0';
    assert_int_equal(shift_find(&scene->status, NULL, &shift, &err), -1); /* --check, no image */
    assert_non_null(strstr(err.remedy, "layout: disk"));
    assert_refused(scene, "no FAT file system with boot.scr");
    scene = scene_new();
    scene->status.facts.partitions[0].number = 5;
    assert_refused(scene, "no FAT file system with boot.scr");
    scene = scene_new();
    strcpy(scene->status.facts.table, "gpt");
    assert_refused(scene, "it has no MBR");
    scene = scene_new();
    scene->status.facts.disk_sector = 4096;
    assert_refused(scene, "512 bytes");
    scene = scene_new();
    scene->status.facts.partition_count = 1;
    assert_refused(scene, "no second partition");
    scene = scene_new();
    scene->status.facts.partitions[0].size += 512;
    assert_refused(scene, "no second partition behind");
    scene = scene_new();
    scene->status.facts.stale_table = true;
    assert_refused(scene, "still goes by the old one");
}

static void an_image_that_cannot_be_shifted_is_refused(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    strcpy(scene->info.facts.table, "gpt");
    assert_refused(scene, "no MBR");
    scene = scene_new();
    scene->info.facts.partition_count = 4;
    assert_refused(scene, "one to three partitions");
    scene = scene_new();
    scene->info.facts.partitions[0].start += 512;
    assert_refused(scene, "no whole number of 128 KiB");
    scene = scene_new();
    scene->info.facts.partitions[0].start = 133 * MIB; /* it would have to move to the front */
    scene->info.facts.partitions[1].start = 645 * MIB;
    assert_refused(scene, "in front of the image's first partition");
}

static void partitions_must_be_where_the_table_says(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    scene->status.facts.partitions[1].size -= 512;
    assert_refused(scene, "/dev/mmcblk0p2 has 536870400 bytes");
    scene = scene_new();
    scene->status.facts.partitions[2].start += 512;
    assert_refused(scene, "/dev/mmcblk0p3 begins at byte");
    scene = scene_new();
    scene->status.facts.partitions[2].number = 7;
    assert_refused(scene, "no partition 3 for the image's partition 2");
    scene = scene_new(); /* what the image has behind its last one */
    scene->info.image_size = (9000 - 128) * MIB + 512;
    assert_refused(scene, "/dev/mmcblk0p4 lies where the image goes");
    scene = scene_new();
    scene->info.image_size = (9000 - 128) * MIB;
    struct shift shift;
    struct error err;
    assert_int_equal(shift_find(&scene->status, &scene->info, &shift, &err), 0);
    scene->status.facts.disk_size = 9000 * MIB - 512;
    assert_refused(scene, "is larger than what /dev/mmcblk0 has");
    scene = scene_new(); /* no sum wraps */
    scene->status.facts.partitions[1].start = INT64_MAX - 511;
    scene->status.facts.partitions[1].size = INT64_MAX;
    assert_refused(scene, "is larger than what");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_further_on_by_the_same),
        cmocka_unit_test(others_are_not_shifted),
        cmocka_unit_test(a_loader_that_should_be_elsewhere_is_told),
        cmocka_unit_test(without_a_loader_it_is_refused),
        cmocka_unit_test(an_image_that_cannot_be_shifted_is_refused),
        cmocka_unit_test(partitions_must_be_where_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
