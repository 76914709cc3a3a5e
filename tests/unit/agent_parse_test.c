/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent reads from /proc, from its stdin, and from super blocks. */
#include "choose.h"
#include "config.h"
#include "filesystem.h"
#include "json.h"
#include "memory.h"
#include "mounts.h"
#include "process.h"
#include "superblocks.h"
#include "swap.h"
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void test_mounts(void **state)
{
    struct mount_table table;
    char value[64];
    (void)state;
    assert_int_equal(
        mounts_parse(
            &table,
            strdup("22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=remount-ro\n"
                   "23 22 0:5 / /dev rw - devtmpfs udev rw,size=1k\n"
                   "nonsense\n"
                   "40 22 179:1 / /boot\\040firm\\134ware ro,nosuid,noexec - vfat /dev/mmcblk0p1 "
                   "ro,fmask=0022\n"
                   "41 22 0:40 / /x rw - tmpfs  rw\n"
                   "42 22 0:41 / / rw master:1 propagate_from:2 - overlay overlay "
                   "rw,lowerdir=/a:/b,upperdir=/up,workdir=/w\n")),
        0);
    assert_int_equal(table.count, 5);
    const struct mount *boot = mounts_find_device(&table, makedev(179, 1));
    assert_non_null(boot);
    assert_string_equal(boot->point, "/boot firm\\ware");
    assert_string_equal(boot->fstype, "vfat");
    assert_true(mount_has_option(boot->super, "ro"));
    assert_false(
        mount_has_option(table.items[0].super, "ro")); /* errors=remount-ro is another word */
    assert_int_equal(mount_flags(boot->options), MS_NOSUID | MS_NOEXEC | MS_STRICTATIME);
    assert_int_equal(mount_flags(table.items[0].options), MS_RELATIME);
    assert_string_equal(table.items[3].super, "rw");
    assert_string_equal(table.items[3].source, "");
    assert_string_equal(mounts_root(&table)->fstype, "overlay");
    assert_true(mount_option_value(mounts_root(&table)->super, "lowerdir", value, sizeof value));
    assert_string_equal(value, "/a:/b");
    assert_false(mount_option_value(mounts_root(&table)->super, "lower", value, sizeof value));
    assert_false(mount_option_value(mounts_root(&table)->super, "workdir", value, 2));
    mounts_free(&table);
}

static void test_process(void **state)
{
    char comm[32];
    pid_t parent;
    struct process_map map;
    unsigned flags;
    int mount;
    (void)state;
    assert_true(process_parse_stat("12 (a) b) (c) S 7 12 12 0", comm, &parent));
    assert_string_equal(comm, "a) b) (c");
    assert_int_equal(parent, 7);
    assert_false(process_parse_stat("12 nonsense", comm, &parent));
    assert_true(process_parse_map("7f00-7f10 rw-s 00001000 08:02 131 /var/lib/a file", &map));
    assert_true(map.readable && map.writable && map.shared);
    assert_int_equal(map.device, makedev(8, 2));
    assert_int_equal(map.inode, 131);
    assert_string_equal(map.path, "/var/lib/a file");
    assert_true(process_parse_map("7f00-7f10 r-xp 00000000 103:00 9 ", &map));
    assert_true(!map.writable && !map.shared && map.device == makedev(0x103, 0));
    assert_false(process_parse_map("nonsense", &map));
    assert_true(
        process_parse_fdinfo("pos:\t0\nflags:\t0100002\nmnt_id:\t29\nino:\t5\n", &flags, &mount));
    assert_int_equal(flags, 0100002);
    assert_int_equal(mount, 29);
    assert_true(process_parse_fdinfo("pos:\t0\nflags:\t00\n", &flags, &mount));
    assert_int_equal(mount, -1);
    assert_false(process_parse_fdinfo("", &flags, &mount));
    struct pid_set lifeline = {.count = 0};
    process_lifeline(getpid(), 0, &lifeline);
    assert_true(pid_set_has(&lifeline, 1) && pid_set_has(&lifeline, getpid()) &&
                pid_set_has(&lifeline, getppid()));
}

static void test_swaps(void **state)
{
    struct swap_table swaps;
    (void)state;
    swaps_parse(&swaps, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
                        "/dev/sda3                               partition\t1048572\t\t512\t\t-2\n"
                        "/my\\040swap                            file\t\t2048\t\t0\t\t5\n");
    assert_int_equal(swaps.count, 2);
    assert_string_equal(swaps.items[0].path, "/dev/sda3");
    assert_int_equal(swaps.items[0].used, 512 * 1024);
    assert_int_equal(swaps.items[0].priority, -2);
    assert_string_equal(swaps.items[1].path, "/my swap");
    assert_true(swaps.items[1].is_file);
    swaps_parse(&swaps, "Filename Type Size Used Priority\n");
    assert_int_equal(swaps.count, 0);
}

static void test_swap_fits(void **state)
{
    const uint64_t mib = 1024 * 1024;
    struct swap_table swaps = {.items = {{.used = 30 * mib, .on_disk = true},
                                         {.used = 500 * mib, .on_disk = false},
                                         {.used = 10 * mib, .on_disk = true}},
                               .count = 3};
    struct memory_info memory = {.total = 160 * mib, .available = 50 * mib};
    uint64_t used;
    (void)state;
    assert_true(swap_fits(&swaps, &memory, &used));
    assert_int_equal(used, 40 * mib);
    memory.available--;
    assert_false(swap_fits(&swaps, &memory, &used));
    swaps.count = 0; /* nothing comes back: no room is needed */
    memory.available = 0;
    assert_true(swap_fits(&swaps, &memory, &used));
}

static void test_memory(void **state)
{
    struct memory_info info;
    (void)state;
    assert_int_equal(
        memory_parse("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n", &info), 0);
    assert_int_equal(info.total, 1000 * 1024);
    assert_int_equal(info.available, 600 * 1024);
    assert_int_equal(memory_parse("MemFree: 1 kB\n", &info), -1);

    struct arena arena = {0};
    struct fail fail;
    char data[300000];
    memset(data, 'x', sizeof data);
    for (int i = 0; i < 20; i++) {
        struct staged *staged =
            arena_add(&arena, data, sizeof data - (uint32_t)i, ENCODING_RAW, &fail);
        assert_non_null(staged);
        assert_int_equal(staged->size, sizeof data - (uint32_t)i);
    }
    arena.floor = UINT64_MAX / 2; /* nothing may be taken any more */
    while (arena.left > sizeof data + 64)
        assert_non_null(arena_add(&arena, data, sizeof data, ENCODING_RAW, &fail));
    assert_null(arena_add(&arena, data, sizeof data, ENCODING_RAW, &fail));
    assert_int_equal(fail.code, FAILCODE_MEMORY);
    arena_free(&arena);
}

static void test_choose(void **state)
{
    const uint64_t mib = 1024 * 1024;
    struct memory_info memory = {.total = 1000 * mib, .available = 500 * mib};
    struct scan_result found = {.differing = 10, .travelling = 8, .wire_bytes = 300 * mib};
    struct mode_reply reply;
    struct fail fail;
    (void)state;
    uint64_t room = choose_room(&memory, 40 * mib);
    assert_int_equal(room, (500 - 24 - 40 - 100) * mib);
    assert_int_equal(choose_mode(MODE_AUTO, false, &found, room, &reply, &fail), 0);
    assert_int_equal(reply.mode, MODE_STAGE);
    assert_int_equal(choose_mode(MODE_STREAM, false, &found, room, &reply, &fail), 0);
    assert_int_equal(reply.mode, MODE_STREAM);
    found.wire_bytes = room; /* not a byte for the rest */
    assert_int_equal(choose_mode(MODE_AUTO, false, &found, room, &reply, &fail), 0);
    assert_int_equal(reply.mode, MODE_STREAM);
    assert_int_equal(choose_mode(MODE_STAGE, false, &found, room, &reply, &fail), -1);
    assert_int_equal(fail.code, FAILCODE_MEMORY);
    found.whole = true;
    assert_int_equal(choose_mode(MODE_STAGE, false, &found, room, &reply, &fail), -1);
    assert_int_equal(fail.code, FAILCODE_MEMORY);
    assert_non_null(strstr(fail.text, "whole image"));
    assert_null(strstr(fail.remedy, "stream")); /* there is none for who flashes himself */
    found.differing = 0;
    assert_int_equal(choose_mode(MODE_STAGE, false, &found, room, &reply, &fail), 0);
    assert_int_equal(reply.mode, MODE_UNCHANGED);
    memory.available = 10 * mib;
    assert_int_equal(choose_room(&memory, 0), 0);
}

static void test_config(void **state)
{
    char text[512], error[256], key[65];
    struct config config;
    (void)state;
    memset(key, 'a', 64);
    key[64] = '\0';
    text_format(text, sizeof text, "run_id r1\nkey %s\nuid 1000\ncontroller my host\nport 0\n",
                key);
    assert_int_equal(config_parse(&config, text, error, sizeof error), 0);
    assert_string_equal(config.run_id, "r1");
    assert_string_equal(config.controller, "my host");
    assert_int_equal(config.uid, 1000);
    assert_true(config.has_port);
    assert_int_equal(config.key[31], 0xaa);
    text_format(text, sizeof text, "run_id r1\nkey %s\nport none\nswitch no-kill", key);
    assert_int_equal(config_parse(&config, text, error, sizeof error), 0);
    assert_false(config.has_port);
    assert_true(config.switches.on[SWITCH_NO_KILL]);
    static const char *const wrong[] = {
        "run_id r1\n",
        "key %s\n",
        "run_id r\nkey %.63s\n",
        "run_id r\nkey %s\nuid -1\n",
        "run_id r\nkey %s\nport 70000\n",
        "run_id r\nkey %s\nshell sh\n",
        "run_id r\nkey %s\nuid\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
        snprintf(text, sizeof text, wrong[i], key);
#pragma GCC diagnostic pop
        assert_int_equal(config_parse(&config, text, error, sizeof error), -1);
        assert_null(strstr(error, key)); /* the secret is never repeated */
    }
}

static void test_text(void **state)
{
    char out[32];
    (void)state;
    assert_string_equal(text_time(out, 0), "1970-01-01 00:00:00 UTC");
    assert_string_equal(text_time(out, 951782400), "2000-02-29 00:00:00 UTC");
    assert_string_equal(text_time(out, 1795215505), "2026-11-20 22:58:25 UTC");
    struct json json = {0};
    json_open(&json, NULL, '{');
    json_string(&json, "a", "x\"\\\n\x01 \xc3\xa9 \xff\xc3");
    json_number(&json, "b", 1ull << 50);
    json_open(&json, "c", '[');
    json_bool(&json, NULL, true);
    json_null(&json, NULL);
    json_close(&json, '[');
    json_close(&json, '{');
    char *text = json_take(&json);
    assert_string_equal(text,
                        "{\"a\":\"x\\\"\\\\\\u000a\\u0001 \xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\","
                        "\"b\":1125899906842624,\"c\":[true,null]}");
    free(text);
}

/* --- super blocks
 * --------------------------------------------------------------------------------- */

static void check_made(const char *type, const char *uuid, const char *label, unsigned mib,
                       const char *maker)
{
    char path[64], command[400];
    struct filesystem fs;
    text_format(path, sizeof path, "/tmp/agent-fs-%d", (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)mib * 1024 * 1024) == 0);
    assert_false(filesystem_read(fd, &fs));
    text_format(command, sizeof command, "PATH=$PATH:/sbin:/usr/sbin; %s %s >/dev/null 2>&1", maker,
                path);
    int status = system(command);
    bool known = filesystem_read(fd, &fs);
    close(fd);
    unlink(path);
    if (status != 0) {
        print_message("[   NOTE   ] no maker of %s here\n", type);
        return;
    }
    assert_true(known);
    assert_string_equal(fs.type, type);
    assert_string_equal(fs.label, label);
    assert_string_equal(fs.uuid, uuid);
}

#define UUID "01234567-89ab-cdef-0123-456789abcdef"

static void test_filesystems(void **state)
{
    (void)state;
    check_made("ext4", UUID, "four", 8, "mke2fs -q -F -t ext4 -U " UUID " -L four");
    check_made("ext3", UUID, "three", 8, "mke2fs -q -F -t ext3 -U " UUID " -L three");
    check_made("ext2", UUID, "two", 8, "mke2fs -q -F -t ext2 -U " UUID " -L two");
    check_made("vfat", "1234-ABCD", "BOOT", 8, "mkfs.vfat -i 1234abcd -n BOOT");
    check_made("vfat", "1234-ABCD", "BOOT", 64, "mkfs.vfat -F 32 -i 1234abcd -n BOOT");
    check_made("swap", UUID, "sw", 8, "mkswap -U " UUID " -L sw");
    check_made("xfs", UUID, "x", 320, "mkfs.xfs -q -m uuid=" UUID " -L x");
    check_made("btrfs", UUID, "b", 128, "mkfs.btrfs -q -U " UUID " -L b");
    check_made("f2fs", UUID, "f", 64, "mkfs.f2fs -q -U " UUID " -l f");
}

static void test_partition_table(void **state)
{
    char path[64], command[300];
    struct partition_table table;
    (void)state;
    text_format(path, sizeof path, "/tmp/agent-pt-%d", (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, 8 * 1024 * 1024) == 0);
    partition_table_read(fd, 512, &table);
    assert_string_equal(table.kind, "");
    text_format(
        command, sizeof command,
        "printf 'label: dos\\nlabel-id: 0x1234abcd\\n,1M\\n' | /sbin/sfdisk -q %s >/dev/null 2>&1",
        path);
    if (system(command) == 0) {
        partition_table_read(fd, 512, &table);
        assert_string_equal(table.kind, "mbr");
        assert_string_equal(table.signature, "1234abcd");
        text_format(command, sizeof command,
                    "printf 'label: gpt\\nlabel-id: " UUID
                    "\\n,1M\\n' | /sbin/sfdisk -q -w always %s "
                    ">/dev/null 2>&1",
                    path);
        assert_int_equal(system(command), 0);
        partition_table_read(fd, 512, &table);
        assert_string_equal(table.kind, "gpt");
        assert_string_equal(table.guid, UUID);
    }
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mounts),      cmocka_unit_test(test_process),
        cmocka_unit_test(test_swaps),       cmocka_unit_test(test_swap_fits),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_choose),
        cmocka_unit_test(test_config),      cmocka_unit_test(test_text),
        cmocka_unit_test(test_filesystems), cmocka_unit_test(test_partition_table),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
