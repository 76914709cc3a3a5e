/* SPDX-License-Identifier: Apache-2.0 */
/* Partition tables and superblocks, made by their own tools. */
#include "image/facts.h"
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1024ull * 1024)

struct memory {
    uint8_t *data;
    size_t size;
};

static int memory_read(void *arg, uint64_t offset, void *out, size_t size)
{
    struct memory *memory = arg;
    assert_true(offset <= memory->size && size <= memory->size - offset);
    memcpy(out, memory->data + offset, size);
    return 0;
}

static int collect(const char *path, struct image_facts *facts, struct error *err)
{
    struct memory memory;
    memory.data = file_read(path, &memory.size);
    struct image_reader reader = {memory_read, &memory, memory.size};
    memset(facts, 0, sizeof *facts);
    memset(err, 0, sizeof *err);
    int result = image_facts_collect(&reader, path, facts, err);
    free(memory.data);
    return result;
}

static struct image_facts collect_good(const char *path)
{
    struct image_facts facts;
    struct error err;
    if (collect(path, &facts, &err) < 0)
        fail_msg("%s: %s", path, err.text);
    return facts;
}

/* An empty image with a table as sfdisk makes it of a script. */
static void make_table(const char *path, unsigned mib, const char *script)
{
    shell("rm -f %s; truncate -s %uM %s; printf '%s' | sfdisk -q %s", path, mib, path, script,
          path);
}

/* What sfdisk says of partition number, lower case. */
static void assert_partuuid(const char *path, unsigned number, const char *expected)
{
    shell("test \"$(sfdisk --part-uuid %s %u | tr A-Z a-z)\" = %s", path, number, expected);
}

static int enter(void **state)
{
    (void)state;
    scratch_enter();
    return 0;
}

static int leave(void **state)
{
    (void)state;
    scratch_leave();
    return 0;
}

static void mbr_with_logical_partitions(void **state)
{
    (void)state;
    make_table("disk", 64,
               "label: dos\\nlabel-id: 0xcafe1234\\n"
               "1: start=2048,size=8192,type=c\\n3: start=10240,size=8192,type=82\\n"
               "4: start=20480,size=100000,type=5\\n5: start=22528,size=4096,type=83\\n"
               "6: start=30720,size=4096,type=83\\n");
    struct image_facts facts = collect_good("disk");
    assert_string_equal(facts.table, "mbr");
    assert_int_equal(facts.mbr_signature, 0xcafe1234);
    assert_int_equal(facts.partition_count, 4);
    const uint64_t starts[] = {2048, 10240, 22528, 30720};
    const char *uuids[] = {"cafe1234-01", "cafe1234-03", "cafe1234-05", "cafe1234-06"};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(facts.partitions[i].start, starts[i] * 512);
        assert_string_equal(facts.partitions[i].partuuid, uuids[i]);
    }
    assert_int_equal(facts.partitions[3].size, 4096 * 512);
    assert_int_equal(facts.root_partition, -1);
}

static void gpt_and_its_backup(void **state)
{
    (void)state;
    make_table("disk", 32,
               "label: gpt\\nlabel-id: 11223344-5566-7788-99AA-BBCCDDEEFF00\\n"
               "1: start=2048,size=8192,type=U,uuid=01020304-0506-0708-090A-0B0C0D0E0F10\\n"
               "3: start=16384,size=8192,type=L\\n");
    for (unsigned round = 0; round < 3; round++) {
        struct image_facts facts = collect_good("disk");
        assert_string_equal(facts.table, "gpt");
        assert_string_equal(facts.gpt_guid, "11223344-5566-7788-99aa-bbccddeeff00");
        assert_int_equal(facts.partition_count, 2);
        assert_string_equal(facts.partitions[0].partuuid, "01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_int_equal(facts.partitions[1].start, 16384 * 512);
        assert_int_equal(facts.partitions[1].size, 8192 * 512);
        assert_partuuid("disk", 3, facts.partitions[1].partuuid);
        /* The backup serves when the header, then when the entries are damaged. */
        if (round == 0)
            file_flip("disk", 1024 + 40);
        if (round == 1)
            file_flip("disk", 512 + 60);
    }
    file_flip("disk", 32 * MIB - 512 + 60);
    assert_int_equal(collect_good("disk").partition_count, 0);
}

static void gpt_of_large_sectors(void **state)
{
    (void)state;
    make_table("disk", 32, "label: gpt\\n1: start=2048,size=2048,type=L\\n");
    /* sfdisk takes the sector size of the device, so 512 here; shifted by hand it is of 4096. */
    size_t size;
    uint8_t *small = file_read("disk", &size), *large = calloc(1, size);
    assert_memory_equal(small + 512, "EFI PART", 8);
    memcpy(large, small, 512);
    memcpy(large + 4096, small + 512, 512);
    memcpy(large + 2 * 4096, small + 1024, 128 * 128);
    file_write("large", large, size);
    struct image_facts facts = collect_good("large");
    assert_string_equal(facts.table, "gpt");
    assert_int_equal(facts.partition_count, 1);
    assert_int_equal(facts.gpt_sector, 4096);
    assert_int_equal(facts.partitions[0].start, 2048 * 4096);
    assert_int_equal(facts.partitions[0].size, 2048 * 4096);
    free(small);
    free(large);
}

static void images_that_end_too_soon(void **state)
{
    (void)state;
    struct image_facts facts;
    struct error err;
    const char *scripts[] = {"label: dos\\n1: start=2048,size=2048\\n2: start=8192,size=40960\\n",
                             "label: gpt\\n1: start=2048,size=2048\\n2: start=8192,size=40960\\n",
                             ("label: dos\\n4: start=2048,size=60000,type=5\\n"
                              "5: start=8192,size=40960,type=83\\n")};
    for (unsigned i = 0; i < 3; i++) {
        char number[32];
        make_table("disk", 32, scripts[i]);
        assert_int_equal(truncate("disk", (8192 + 40960) * 512), 0);
        collect_good("disk");
        assert_int_equal(truncate("disk", (8192 + 40960 - 1) * 512), 0);
        assert_int_equal(collect("disk", &facts, &err), -1);
        assert_int_equal(err.cls, ERROR_USAGE);
        snprintf(number, sizeof number, "partition %u ends", i < 2 ? 2 : 5);
        assert_non_null(strstr(err.text, number));
        assert_non_null(strstr(err.text, "byte 25165824, the image has 25165312"));
    }
}

/* A chain of logical partitions that leads back into itself, and places that overflow. */
static void hostile_tables_end(void **state)
{
    (void)state;
    struct image_facts facts;
    struct error err;
    uint8_t disk[8192] = {0};
    disk[446 + 4] = 5;
    disk[446 + 8] = 1;
    disk[446 + 12] = 8;
    disk[512 + 446 + 4] = 0x83;
    disk[512 + 446 + 8] = 1;
    disk[512 + 446 + 12] = 1;
    disk[512 + 462 + 4] = 5;
    disk[512 + 462 + 12] = 1; /* the next one is this one */
    disk[510] = disk[512 + 510] = 0x55;
    disk[511] = disk[512 + 511] = 0xaa;
    file_write("disk", disk, sizeof disk);
    facts = collect_good("disk");
    assert_true(facts.partition_count <= 32);
    memset(disk + 446 + 8, 0xff, 8);
    file_write("disk", disk, sizeof disk);
    collect_good("disk"); /* the extended one lies nowhere: no logical ones */
    disk[446 + 4] = 0x83;
    file_write("disk", disk, sizeof disk);
    assert_int_equal(collect("disk", &facts, &err), -1);
}

/* mkfs commands; what they should be seen as. A file system at the very beginning of the image. */
static void file_systems_are_recognised(void **state)
{
    (void)state;
    static const struct {
        const char *tool, *command, *name, *label, *uuid;
    } made[] = {
        {"mke2fs", "mke2fs -q -t ext4 -L four -U 12345678-1234-5678-9abc-def012345678", "ext4",
         "four", "12345678-1234-5678-9abc-def012345678"},
        {"mke2fs", "mke2fs -q -t ext3 -L three", "ext3", "three", NULL},
        {"mke2fs", "mke2fs -q -t ext2 -L two", "ext2", "two", NULL},
        {"mkfs.vfat", "mkfs.vfat -F 32 -n BOOT -i 1234ABCD", "vfat", "BOOT", "1234-ABCD"},
        {"mkfs.vfat", "mkfs.vfat -F 16 -i 1234ABCD", "vfat", "", "1234-ABCD"},
        {"mkswap", "mkswap -q -L memory -U 12345678-1234-5678-9abc-def012345678", "swap", "memory",
         "12345678-1234-5678-9abc-def012345678"},
        {"mkfs.btrfs", "mkfs.btrfs -q -L butter -U 12345678-1234-5678-9abc-def012345678", "btrfs",
         "butter", "12345678-1234-5678-9abc-def012345678"},
        {"mkfs.xfs", "mkfs.xfs -q -L large -m uuid=12345678-1234-5678-9abc-def012345678", "xfs",
         "large", "12345678-1234-5678-9abc-def012345678"},
        {"mkfs.f2fs", "mkfs.f2fs -q -U 12345678-1234-5678-9abc-def012345678", "f2fs", "",
         "12345678-1234-5678-9abc-def012345678"},
    };
    unsigned tried = 0;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char command[256];
        snprintf(command, sizeof command, "command -v %s >/dev/null", made[i].tool);
        if (system(command) != 0)
            continue;
        shell("rm -f disk; truncate -s 320M disk; %s disk >/dev/null 2>&1", made[i].command);
        struct image_facts facts = collect_good("disk");
        assert_string_equal(facts.table, "");
        assert_int_equal(facts.partition_count, 1);
        assert_string_equal(facts.partitions[0].filesystem, made[i].name);
        assert_string_equal(facts.partitions[0].label, made[i].label);
        if (made[i].uuid != NULL)
            assert_string_equal(facts.partitions[0].uuid, made[i].uuid);
        bool rooted = strcmp(made[i].name, "vfat") != 0 && strcmp(made[i].name, "swap") != 0;
        assert_int_equal(facts.root_partition, rooted ? 0 : -1);
        tried++;
    }
    assert_true(tried >= 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    need_tools("sfdisk", "mke2fs", NULL);
    const struct CMUnitTest tests[] = {
        TEST(mbr_with_logical_partitions), TEST(gpt_and_its_backup),
        TEST(gpt_of_large_sectors),        TEST(images_that_end_too_soon),
        TEST(hostile_tables_end),          TEST(file_systems_are_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
