/* SPDX-License-Identifier: Apache-2.0 */
/* What is found in the root file system of an image, and what happens when that is damaged. */
#include "image/facts.h"
#include "image/hostkeys.h"
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOT_AT (1024 * 1024)

static struct prepared prepare(uv_loop_t *loop, const char *image)
{
    struct prepared prepared;
    struct store_options options = {.image = image, .cache_dir = "cache"};
    uv_loop_init(loop);
    prepare_wait(loop, &options, &prepared);
    return prepared;
}

static struct image_facts facts_of(const char *image)
{
    uv_loop_t loop;
    struct prepared prepared = prepare(&loop, image);
    if (prepared.store == NULL)
        fail_msg("%s: %s", image, prepared.err.text);
    struct image_facts facts = store_info(prepared.store)->facts;
    store_finish(&loop, prepared.store);
    return facts;
}

/* An image with a swap partition and one whose content is the folder tree. */
static void make_image(const char *name)
{
    shell("rm -f %s && truncate -s 24M %s && "
          "printf 'label: dos\\nstart=2048,size=36864\\nstart=38912,size=8192,type=82\\n' | sfdisk "
          "-q %s && "
          "mke2fs -q -t ext4 -L rootfs -E offset=%d -d tree %s 18M",
          name, name, name, ROOT_AT, name);
}

static int enter(void **state)
{
    (void)state;
    scratch_enter();
    shell("mkdir -p tree/etc/ssh tree/etc/dropbear tree/usr/bin tree/usr/sbin tree/usr/lib "
          "tree/root/.ssh tree/home/pi/.ssh tree/home/eve");
    return 0;
}

static int leave(void **state)
{
    (void)state;
    scratch_leave();
    return 0;
}

static void find_fingerprint(const struct image_facts *facts, const char *expected)
{
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(facts->host_fingerprints[i], expected) == 0)
            return;
    }
    fail_msg("%s is not among the fingerprints", expected);
}

/* First line of what a command prints. */
static void output_of(const char *command, char *line, size_t size)
{
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, (int)size, pipe));
    line[strcspn(line, "\n")] = '\0';
    pclose(pipe);
}

static void make_system(void)
{
    shell("cp /bin/true tree/usr/bin/dash; ln -s /usr/bin tree/bin; ln -s usr/sbin tree/sbin; "
          "ln -s dash tree/usr/bin/sh; ln -s ../lib/../bin/dash tree/usr/sbin/init");
    shell("printf 'NAME=x\\nPRETTY_NAME=\"Board OS 12 (bookworm)\"\\n' > tree/usr/lib/os-release; "
          "ln -s ../usr/lib/os-release tree/etc/os-release");
    shell("printf 'root:x:0:0:root:/root:/bin/bash\\ndaemon:x:1:1:d:/:/bin/sh\\n"
          "pi:x:1000:1000:,,,:/home/pi:/bin/bash\\neve:x:1001:1001::/home/eve:/bin/sh\\n"
          "bot:x:1002:1002::/home/bot:/usr/sbin/nologin\\nbroken line\\n"
          "nobody:x:65534:65534:nobody:/:/bin/sh\\n' > tree/etc/passwd");
    shell("echo ssh-ed25519 AAAA > tree/home/pi/.ssh/authorized_keys; : > "
          "tree/root/.ssh/authorized_keys; touch tree/usr/sbin/sshd");
    shell("for t in ed25519 rsa ecdsa; do ssh-keygen -q -N '' -t $t -f "
          "tree/etc/ssh/ssh_host_${t}_key; "
          "done");
}

static void a_whole_system_is_described(void **state)
{
    (void)state;
    char machine[32];
    make_system();
    shell("printf '# /dev/sda1\\nLABEL=a /a ext4\\n/dev/mapper/b1 /b ext4\\n"
          "\\tPARTUUID=12345678-02\\t/ ext4\\n' > tree/etc/fstab");
    make_image("disk");
    for (unsigned round = 0; round < 2; round++) { /* built, and from the cache */
        struct image_facts facts = facts_of("disk");
        assert_int_equal(facts.partition_count, 2);
        assert_string_equal(facts.partitions[0].filesystem, "ext4");
        assert_string_equal(facts.partitions[0].label, "rootfs");
        assert_int_equal(facts.root_partition, 0);
        assert_true(facts.looked_inside);
        output_of("uname -m", machine, sizeof machine);
        assert_string_equal(facts.machine, machine);
        assert_string_equal(facts.os_name, "Board OS 12 (bookworm)");
        assert_true(facts.has_ssh_server);
        assert_int_equal(facts.user_count, 3);
        assert_string_equal(facts.users[0].name, "root");
        assert_false(facts.users[0].has_keys); /* the file is empty */
        assert_string_equal(facts.users[1].name, "pi");
        assert_true(facts.users[1].has_keys);
        assert_string_equal(facts.users[2].name, "eve");
        assert_false(facts.users[2].has_keys);
        assert_true(facts.has_host_keys);
        assert_false(facts.has_first_boot);
        assert_string_equal(facts.fstab_partition, "PARTUUID=12345678-02");
        for (unsigned i = 0; i < 3; i++) {
            const char *types[] = {"ed25519", "rsa", "ecdsa"};
            char command[128], line[128];
            snprintf(command, sizeof command,
                     "ssh-keygen -lf tree/etc/ssh/ssh_host_%s_key.pub | cut -d' ' -f2", types[i]);
            output_of(command, line, sizeof line);
            find_fingerprint(&facts, line);
        }
        assert_string_equal(facts.host_fingerprints[3], "");
    }
}

static void dropbear_systems_too(void **state)
{
    (void)state;
    if (system("command -v dropbearkey >/dev/null") != 0)
        skip();
    shell("touch tree/usr/sbin/dropbear; echo x > tree/etc/dropbear/authorized_keys; "
          "printf 'root::0:0:root:/root:\\n' > tree/etc/passwd; cp /bin/true tree/usr/bin/sh; "
          "echo uninitialized > tree/etc/machine-id");
    const char *types[] = {"ed25519", "rsa", "ecdsa"};
    for (unsigned i = 0; i < 3; i++)
        shell("dropbearkey -t %s -f tree/etc/dropbear/dropbear_%s_host_key >/dev/null 2>&1",
              types[i], types[i]);
    make_image("disk");
    struct image_facts facts = facts_of("disk");
    assert_true(facts.has_ssh_server);
    assert_true(facts.has_host_keys);
    assert_true(facts.has_first_boot);
    assert_string_equal(facts.fstab_partition, "");
    assert_int_equal(facts.user_count, 1);
    assert_true(facts.users[0].has_keys);
    for (unsigned i = 0; i < 3; i++) {
        char command[256], line[128];
        snprintf(command, sizeof command,
                 "dropbearkey -y -f tree/etc/dropbear/dropbear_%s_host_key | grep "
                 "^ecdsa-\\\\\\|^ssh- > p; "
                 "ssh-keygen -lf p | cut -d' ' -f2",
                 types[i]);
        output_of(command, line, sizeof line);
        find_fingerprint(&facts, line);
    }
}

/* Programs of other machines, from the cross compilers where they are installed. */
static void machines_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *compiler, *flags, *machine;
    } made[] = {
        {"aarch64-linux-gnu-gcc", "", "aarch64"},
        {"arm-linux-gnueabihf-gcc", "", "armv7"},
        {"arm-linux-gnueabihf-gcc", "-march=armv6+fp -marm", "arm"}, /* as Raspberry Pi OS */
        {"arm-linux-gnueabi-gcc", "", "arm"},
    };
    unsigned tried = 0;
    shell("echo 'int main(void) { return 0; }' > main.c; echo 'void _start(void) {}' > start.c");
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char command[256];
        /* Without start files: those carry attributes of their own. */
        snprintf(
            command, sizeof command,
            "command -v %s >/dev/null && %s %s -nostdlib -o tree/usr/bin/sh start.c 2>/dev/null",
            made[i].compiler, made[i].compiler, made[i].flags);
        if (system(command) != 0)
            continue;
        make_image("disk");
        assert_string_equal(facts_of("disk").machine, made[i].machine);
        tried++;
    }
    if (tried == 0)
        skip();
}

/* The root is where a system is, not what comes first. */
static void data_partitions_are_no_root(void **state)
{
    (void)state;
    make_system();
    shell("truncate -s 48M disk && printf 'label: "
          "gpt\\nstart=2048,size=36864\\nstart=38912,size=36864\\n' "
          "| sfdisk -q disk");
    shell("mkdir data && echo hello > data/file && mke2fs -q -t ext4 -E offset=%d -d data disk 18M",
          ROOT_AT);
    shell("mke2fs -q -t ext4 -E offset=%d -d tree disk 18M", 38912 * 512);
    struct image_facts facts = facts_of("disk");
    assert_int_equal(facts.root_partition, 1);
    assert_string_equal(facts.os_name, "Board OS 12 (bookworm)");
}

/* Whatever is broken inside: an answer comes, and the image can still be flashed. */
static void damaged_file_systems_do_no_harm(void **state)
{
    (void)state;
    make_system();
    make_image("good");
    size_t size;
    uint8_t *image = file_read("good", &size);
    uint8_t *noise = malloc(size);
    uint64_t seed = 42;
    for (unsigned round = 0; round < 60; round++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, image, size);
        noise_fill(noise, 65536, ++seed);
        /* Superblock, group descriptors, then ever larger parts of the inode tables and
         * directories. */
        size_t from = ROOT_AT + (round % 3 == 0 ? 1024 : round % 3 == 1 ? 2048 : 4096);
        size_t span = round % 3 == 0 ? 1024 : round % 3 == 1 ? 2048 : 1u << 20;
        for (unsigned i = 0; i < 200; i++) {
            size_t at =
                (size_t)noise[4 * i] << 16 | (size_t)noise[4 * i + 1] << 8 | noise[4 * i + 2];
            if (round % 3 == 0 && at % span >= 56 && at % span < 58)
                continue; /* the magic stays, or nothing is looked at */
            copy[from + at % span] = noise[4 * i + 3];
            if (round % 3 == 0 && i > round / 3)
                break;
        }
        file_write("bad", copy, size);
        free(copy);
        struct image_facts facts = facts_of("bad");
        assert_int_equal(facts.partition_count, 2);
    }
    free(noise);
    free(image);
}

static void keys_that_are_none(void **state)
{
    (void)state;
    char fingerprint[64];
    const uint8_t cut[] = {0,   0,   0,   11,  's', 's', 'h', '-', 'e', 'd',
                           '2', '5', '5', '1', '9', 0,   0,   0,   64,  1};
    assert_false(hostkeys_from_public("", fingerprint));
    assert_false(hostkeys_from_public("ssh-rsa", fingerprint));
    assert_false(hostkeys_from_public("ssh-rsa !!!! x", fingerprint));
    for (size_t size = 0; size <= sizeof cut; size++)
        assert_false(hostkeys_from_dropbear(cut, size, fingerprint));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    need_tools("mke2fs", "sfdisk", "ssh-keygen", NULL);
    const struct CMUnitTest tests[] = {
        TEST(a_whole_system_is_described),     TEST(dropbear_systems_too),
        TEST(machines_are_told_apart),         TEST(data_partitions_are_no_root),
        TEST(damaged_file_systems_do_no_harm), TEST(keys_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
