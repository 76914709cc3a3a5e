/* SPDX-License-Identifier: Apache-2.0 */
/* What the user reads before saying yes. */
#include "report/plan.h"
#include "report_fake.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct scene {
    struct fake *fake;
    struct plan_extra extras[FAKE_MAX];
    char reached[FAKE_MAX][64];
};

static struct scene *scene_new(size_t count)
{
    struct scene *scene = calloc(1, sizeof *scene);
    scene->fake = fake_new(count);
    fake_image(scene->fake);
    for (size_t i = 0; i < count; i++) {
        fake_facts(scene->fake, i);
        snprintf(scene->reached[i], sizeof scene->reached[i], "ssh pi@%s:22",
                 scene->fake->hosts[i]);
        scene->extras[i] =
            (struct plan_extra){.mode = "stage: what differs is held in the device's memory first",
                                .reached_as = scene->reached[i],
                                .trust = "any host key, once (accept-once)",
                                .services = "systemd: container-*, docker.service"};
    }
    return scene;
}

/* The plan, each of its lines within the width. The caller frees. */
static char *scene_print(struct scene *scene)
{
    char *text = NULL;
    size_t size = 0;
    const struct paint paint = {.utf8 = true};
    FILE *out = open_memstream(&text, &size);
    plan_print(&scene->fake->run, scene->extras, &paint, out);
    fclose(out);
    char line[400];
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, at);
        assert_in_range(text_columns(line), 0, PLAN_WIDTH);
        at += length + 1;
    }
    return text;
}

static void scene_free(struct scene *scene)
{
    fake_free(scene->fake);
    free(scene);
}

static size_t occurrences(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

static void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in:\n%s", part, text);
}

static void test_one_device(void **state)
{
    (void)state;
    struct scene *scene = scene_new(1);
    char *text = scene_print(scene);
    assert_string_equal(text,
                        "Image\n"
                        "  file      images/golden.img.xz, 2.0 GiB (312 MiB of xz)\n"
                        "  sha256    3f2a1b0c9d8e7f60…\n"
                        "  system    Debian GNU/Linux 12 (bookworm), aarch64\n"
                        "  table     mbr, 2 partitions, root ext4 on partition 2\n"
                        "  ssh keys  pi\n"
                        "\n"
                        "pi-01: Raspberry Pi 4 Model B Rev 1.4\n"
                        "  disk      /dev/mmcblk0, 29.7 GiB, SC32G\n"
                        "  erases    /dev/mmcblk0p1  512 MiB  vfat  bootfs  on /boot/firmware\n"
                        "            /dev/mmcblk0p2  12.0 GiB  ext4  rootfs  on /\n"
                        "            /dev/mmcblk0p3  12.0 GiB  ext4  on /srv/data  (DATA)\n"
                        "  mode      stage: what differs is held in the device's memory first\n"
                        "  stops     systemd: container-*, docker.service\n"
                        "  serial    0x1a2b3c00\n"
                        "  then      ssh pi@10.0.0.11:22\n"
                        "  trusted   any host key, once (accept-once)\n");
    free(text);
    scene_free(scene);
}

/* What stays is not among what is erased, and who keeps something is not like who does not. */
static void test_kept(void **state)
{
    (void)state;
    struct scene *scene = scene_new(2);
    scene->extras[0].kept = 1 | 4;
    strcpy(scene->fake->targets[0].facts.partitions[0].boot_loader, "boot.scr");
    char *text = scene_print(scene);
    assert_says(text,
                "pi-01: Raspberry Pi 4 Model B Rev 1.4\n"
                "  disk      /dev/mmcblk0, 29.7 GiB, SC32G\n"
                "  erases    /dev/mmcblk0p2  12.0 GiB  ext4  rootfs  on /\n"
                "  keeps     /dev/mmcblk0p1  512 MiB  vfat  bootfs  on /boot/firmware  (boot\n"
                "            loader)\n"
                "            /dev/mmcblk0p3  12.0 GiB  ext4  on /srv/data\n"
                "            the partition table\n");
    assert_int_equal(occurrences(text, "keeps"), 1);
    assert_int_equal(occurrences(text, "erases"), 2);
    free(text);
    scene_free(scene);
}

/* Boards that their boot loaders flash: nobody has looked at their disks. */
static void test_disks_not_known(void **state)
{
    (void)state;
    struct scene *scene = scene_new(3);
    for (unsigned i = 0; i < 3; i++) {
        scene->fake->targets[i].facts.disk_size = 0;
        scene->fake->targets[i].facts.partition_count = 0;
    }
    scene->extras[2].kept = 1;
    char *text = scene_print(scene);
    assert_says(text, "  erases    all of it, whatever there is\n");
    assert_says(text, "  erases    all behind its boot loader's partition, whatever there is\n");
    assert_int_equal(occurrences(text, "erases"), 2);
    free(text);
    scene_free(scene);
}

static void test_alike_ones_together(void **state)
{
    (void)state;
    static const char *const warnings[] = {"its network is Wi-Fi: stage mode only", NULL};
    struct scene *scene = scene_new(12);
    scene->extras[11].warnings = warnings; /* a paragraph of its own */
    strcpy(scene->fake->targets[10].facts.partitions[2].label, "photos"); /* so has this one */
    scene->extras[3].trust = "SHA256:abcdef from the inventory";          /* only a line more */
    char *text = scene_print(scene);
    assert_says(text, "10 devices: Raspberry Pi 4 Model B Rev 1.4\n");
    assert_says(text, "pi-11: Raspberry Pi 4");
    assert_says(text, "ext4  photos  on /srv/data  (DATA)");
    assert_says(text, "pi-12: Raspberry Pi 4");
    assert_says(text, "  warning   its network is Wi-Fi: stage mode only\n");
    assert_says(text, "  devices   pi-01  serial 0x1a2b3c00  then ssh pi@10.0.0.11:22\n"
                      "              then trusted: any host key, once (accept-once)\n"
                      "            pi-02  serial 0x1a2b3c01  then ssh pi@10.0.0.12:22\n");
    assert_says(text, "then trusted: SHA256:abcdef from the inventory");
    assert_int_equal(occurrences(text, "Raspberry Pi 4"), 3);
    free(text);
    scene_free(scene);
}

/* Twelve equal boards fit on one screen. */
static void test_twelve_equal(void **state)
{
    (void)state;
    struct scene *scene = scene_new(12);
    char *text = scene_print(scene);
    assert_int_equal(occurrences(text, "Raspberry"), 1);
    assert_int_equal(occurrences(text, "then ssh pi@"), 12);
    assert_in_range(occurrences(text, "\n"), 12, 30);
    free(text);
    scene_free(scene);
}

static void test_left_alone(void **state)
{
    (void)state;
    struct scene *scene = scene_new(3);
    fake_failed(scene->fake, 1, "\x1b[2Jno answer on port 22", "check its power");
    memset(&scene->fake->targets[1].facts, 0, sizeof scene->fake->targets[1].facts);
    assert_int_equal(plan_count(&scene->fake->run), 2);
    char *text = scene_print(scene);
    assert_says(text, "2 devices: ");
    assert_says(text, "Left alone\n"
                      "  pi-02: failed: \\x1b[2Jno answer on port 22 — check its power\n");
    assert_int_equal(occurrences(text, "\x1b"), 0);
    free(text);
    scene_free(scene);
}

static void test_doubts(void **state)
{
    (void)state;
    struct scene *scene = scene_new(1);
    struct image_facts *facts = &scene->fake->store.facts;
    char *text = scene_print(scene);
    assert_int_equal(occurrences(text, "warning"), 0);
    free(text);
    facts->users[0].has_keys = facts->has_ssh_server = false;
    text = scene_print(scene);
    assert_says(text, "no ssh server was found in it");
    assert_says(text, "no user in it has an ssh key; users without: pi, root");
    free(text);
    facts->looked_inside = false;
    text = scene_print(scene);
    assert_says(text, "could not be looked into");
    free(text);
    scene->fake->specs[0].reach = REACH_NONE; /* nobody wants to */
    text = scene_print(scene);
    assert_int_equal(occurrences(text, "warning"), 0);
    free(text);
    scene_free(scene);
}

static void test_confirm(void **state)
{
    (void)state;
    char out[100];
    assert_string_equal(plan_confirm_text(12, out, sizeof out), "Type 12 to erase 12 disks: ");
    assert_string_equal(plan_confirm_text(1, out, sizeof out), "Type 1 to erase 1 disk: ");
    assert_true(plan_confirm_matches(12, "12\n"));
    assert_true(plan_confirm_matches(12, " 12 \r\n"));
    assert_false(plan_confirm_matches(12, "1\n"));
    assert_false(plan_confirm_matches(12, "123\n"));
    assert_false(plan_confirm_matches(12, "12 yes\n"));
    assert_false(plan_confirm_matches(12, "012\n"));
    assert_false(plan_confirm_matches(12, "\n"));
    assert_false(plan_confirm_matches(12, ""));
    assert_false(plan_confirm_matches(0, "0\n"));
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_device),      cmocka_unit_test(test_kept),
        cmocka_unit_test(test_disks_not_known), cmocka_unit_test(test_alike_ones_together),
        cmocka_unit_test(test_twelve_equal),    cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_doubts),          cmocka_unit_test(test_confirm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
