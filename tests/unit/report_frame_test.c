/* SPDX-License-Identifier: Apache-2.0 */
/* The picture of a run as text: what is in it, and what gives way where there is no room. */
#include "report/frame.h"
#include "report_fake.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *compose(struct fake *fake, unsigned columns, unsigned rows, bool utf8)
{
    struct slots glimpses = {.item = sizeof(struct glimpse)};
    for (size_t i = 0; i < fake->count; i++) {
        struct glimpse *glimpse = slots_at(&glimpses, (unsigned)i);
        glimpse_update(glimpse, &fake->targets[i]);
    }
    struct frame_options options = {
        .columns = columns, .rows = rows, .paint = {.utf8 = utf8}, .elapsed = 62000};
    char *picture = frame_compose(&fake->run, &glimpses, &options);
    slots_free(&glimpses);
    return picture;
}

static struct fake *small_fleet(void)
{
    struct fake *fake = fake_new(4);
    fake_image(fake);
    fake->run.phase = RUN_FLASHING;
    fake_flashed(fake, 0);
    fake_failed(fake, 1, "no answer on port 22 — for five minutes at the very least", NULL);
    struct target_status *target = &fake->targets[2];
    target->started = true;
    target->state = STATE_TRANSFER;
    strcpy(target->activity, "staging");
    target->blocks_done = 50;
    target->blocks_total = 100;
    target->rate = 10 << 20;
    target->remaining_ms = 65000;
    return fake;
}

static void test_picture(void **state)
{
    (void)state;
    struct fake *fake = small_fleet();
    char *picture = compose(fake, 72, 20, true);
    assert_string_equal(picture,
                        "golden.img.xz  4 targets  1m02s\n"
                        "1 failed  1 flashed  1 active  1 waiting  10.0 MiB/s  about 3m left\n"
                        "✓ pi-01  flashed       1m12s, 100 MiB sent\n"
                        "✗ pi-02  failed        no answer on port 22 — for five minutes at the v…\n"
                        "• pi-03  transfer      ━━━━━━━━━━━━─────────────  50%  10.0 MiB/s  1m05s\n"
                        "· pi-04  waiting       ");
    free(picture);
    picture = compose(fake, 72, 20, false);
    assert_non_null(strstr(picture, "* pi-03  transfer      ############.............  50%"));
    for (const char *c = picture; *c != '\0'; c++)
        assert_true((unsigned char)*c < 0x80);
    free(picture);
    fake_free(fake);
}

/* What has no room is counted; failed and active ones stay. */
static void test_picture_too_small(void **state)
{
    (void)state;
    struct fake *fake = fake_new(60);
    fake_image(fake);
    fake->run.phase = RUN_FLASHING;
    for (size_t i = 0; i < 40; i++)
        fake_flashed(fake, i);
    fake_failed(fake, 33, "pi-34: no", NULL);
    fake->run.halted = "1 device failed in wave 1, its limit is 0";
    for (size_t i = 50; i < 53; i++) {
        fake->targets[i].started = true;
        fake->targets[i].state = STATE_COMMIT;
    }
    char *picture = compose(fake, 80, 10, true);
    unsigned lines = 1;
    for (const char *c = picture; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 10);
    assert_non_null(strstr(picture, "  60 targets, halted  "));
    assert_non_null(strstr(picture, "✗ pi-34  failed        no\n"));
    assert_non_null(strstr(picture, "• pi-51  commit"));
    assert_non_null(strstr(picture, "• pi-53  commit"));
    assert_non_null(strstr(picture, "\nand 53 more:  39 flashed  14 waiting"));
    free(picture);
    fake_free(fake);
}

/* The line with a text in it, 0 the first; fails when there is none. */
static unsigned line_of(const char *picture, const char *text)
{
    const char *at = strstr(picture, text);
    unsigned line = 0;
    if (at == NULL)
        fail_msg("'%s' is not in\n%s", text, picture);
    for (const char *c = picture; c < at; c++)
        line += *c == '\n';
    return line;
}

/* A big fleet on a small screen: waves, states, the failed and then the slowest first. */
static void test_picture_of_a_fleet(void **state)
{
    (void)state;
    struct fake *fake = fake_new(60);
    fake_image(fake);
    fake->run.phase = RUN_FLASHING;
    fake->run.wave_count = 3;
    for (size_t i = 0; i < 60; i++) {
        struct target_status *target = &fake->targets[i];
        target->wave = i < 4 ? 0 : i < 40 ? 1 : 2;
        if (i < 10) {
            fake_flashed(fake, i);
        } else if (i < 30) {
            target->started = true;
            target->started_ms = FAKE_STARTED + 40000;
            target->state = STATE_COMMIT;
        }
    }
    fake->targets[20].started_ms = FAKE_STARTED + 2000; /* the slowest one */
    fake->targets[25].state = STATE_TRANSFER;           /* behind the others */
    fake_failed(fake, 12, "no", NULL);
    char *picture = compose(fake, 80, 23, true);
    line_of(picture, "1 failed  10 flashed  19 active  30 waiting");
    assert_int_equal(line_of(picture, "wave 1  4/4    wave 2  7/36 1 failed    wave 3  0/20"), 2);
    assert_int_equal(line_of(picture, "under way: 1 transfer  18 commit"), 3);
    assert_int_equal(line_of(picture, "pi-13"), 4);
    assert_int_equal(line_of(picture, "pi-21"), 5);
    assert_int_equal(line_of(picture, "pi-26"), 6);
    assert_int_equal(line_of(picture, "pi-11"), 7);
    assert_int_equal(line_of(picture, "and 42 more:"), 22);
    free(picture);
    fake_free(fake);
}

static void test_remaining(void **state)
{
    (void)state;
    struct fake *fake = fake_new(5);
    uint64_t now_ms = FAKE_STARTED + 100000;
    bool rough;
    assert_true(fleet_remaining(&fake->run, now_ms, &rough) == UINT64_MAX);
    fake->targets[1].started = true;
    fake->targets[1].started_ms = FAKE_STARTED + 88000;
    fake->targets[1].blocks_total = 10;
    fake->targets[1].remaining_ms = 20000;
    /* 12 s old and 20 s left; the other four will take as long at least, one after the other */
    assert_int_equal(fleet_remaining(&fake->run, now_ms, &rough), 20000 + 4 * 32000);
    assert_true(rough);
    fake_flashed(fake, 0); /* took 72 s; so 60 s are left of this one, and three wait for it */
    assert_int_equal(fleet_remaining(&fake->run, now_ms, &rough), 60000 + 3 * 72000);
    assert_false(rough);
    for (size_t i = 1; i < 5; i++)
        fake_flashed(fake, i);
    assert_true(fleet_remaining(&fake->run, now_ms, &rough) == UINT64_MAX);
    fake_free(fake);
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_picture_too_small),
        cmocka_unit_test(test_picture_of_a_fleet),
        cmocka_unit_test(test_remaining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
