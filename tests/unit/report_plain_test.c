/* SPDX-License-Identifier: Apache-2.0 */
/* A run as plain lines, word for word. */
#include "report/plain.h"
#include "report_fake.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t now;

static uint64_t fake_now(void)
{
    return now;
}

struct scene {
    struct fake *fake;
    int fd;
    struct plain *plain;
    struct run_observer see;
};

static struct scene scene_begin(size_t targets, int verbosity)
{
    struct scene scene = {.fake = fake_new(targets), .fd = fake_file()};
    now = 50000;
    scene.plain =
        plain_new(&(struct plain_options){.fd = scene.fd, .verbosity = verbosity, .now = fake_now});
    scene.see = plain_observer(scene.plain);
    return scene;
}

static void scene_end(struct scene *scene, const char *expected)
{
    plain_free(scene->plain);
    char *text = fake_read(scene->fd);
    assert_string_equal(text, expected);
    free(text);
    close(scene->fd);
    fake_free(scene->fake);
}

static void tell_state(struct scene *scene, size_t index, enum target_state state,
                       const char *activity)
{
    struct target_status *target = &scene->fake->targets[index];
    target->started = true;
    target->attempts = target->attempts == 0 ? 1 : target->attempts;
    target->state = state;
    strcpy(target->activity, activity);
    scene->see.target_changed(&scene->fake->run, target, scene->see.arg);
}

static void tell_log(struct scene *scene, size_t index, enum log_level level, const char *text)
{
    scene->see.target_log(&scene->fake->run, &scene->fake->targets[index], level, text,
                          scene->see.arg);
}

static void tell_done(struct scene *scene, size_t index)
{
    scene->see.target_done(&scene->fake->run, &scene->fake->targets[index], scene->see.arg);
}

/* One device from begin to end, at any verbosity. */
static void play(struct scene *scene)
{
    struct fake *fake = scene->fake;
    fake->run.image_bytes_total = 1000 << 20;
    for (unsigned i = 0; i <= 1000; i += 40) {
        now = 50000 + i;
        fake->run.image_bytes_done = (uint64_t)i << 20;
        if (i % 200 == 0 || i == 40 || i == 240)
            scene->see.image_progress(&fake->run, scene->see.arg);
    }
    fake_image(fake);
    scene->see.image_ready(&fake->run, scene->see.arg);
    scene->see.target_changed(&fake->run, &fake->targets[0], scene->see.arg); /* still waiting */
    tell_state(scene, 0, STATE_PROBE, "connecting");
    now = 52345;
    tell_log(scene, 0, LOG_DEBUG, "connected (OpenSSH_9.2)");
    tell_state(scene, 0, STATE_TRANSFER, "staging");
    tell_state(scene, 0, STATE_TRANSFER, "comparing");
    tell_state(scene, 0, STATE_TRANSFER, "staging"); /* flickers */
    tell_state(scene, 0, STATE_TRANSFER, "comparing");
    fake->targets[0].blocks_done++;
    scene->see.target_changed(&fake->run, &fake->targets[0], scene->see.arg);
    tell_log(scene, 0, LOG_WARNING, "the link was reset; try 2 of 4 follows");
    tell_log(scene, 0, LOG_WARNING, "the link was reset; try 2 of 4 follows");
    tell_log(scene, 0, LOG_INFO, "stage mode: 300 MiB fit into 3.1 GiB");
    tell_state(scene, 0, STATE_REACHABILITY, "waiting");
    now = 124000;
    fake_flashed(fake, 0);
    tell_done(scene, 0);
    fake_ended(fake, 75000, 0);
    scene->see.run_ended(&fake->run, scene->see.arg);
}

static const char summary[] = "The target holds the image: 1 flashed\n"
                              "  image    images/golden.img.xz (2.0 GiB, sha256 3f2a1b0c9d8e…)\n"
                              "  network  100 MiB sent\n"
                              "  disks    600 MiB written, 1.0 GiB already right\n"
                              "  time     1m15s, run 20261120T230105-3f2a\n";

static void assert_play(int verbosity, const char *lines, const char *end)
{
    char expected[4000];
    struct scene scene = scene_begin(1, verbosity);
    play(&scene);
    snprintf(expected, sizeof expected, "%s%s", lines, end);
    scene_end(&scene, expected);
}

static void test_normal(void **state)
{
    (void)state;
    assert_play(0,
                "[  0.2s] image: 20 % read (200 MiB of 1000 MiB)\n"
                "[  0.4s] image: 40 % read (400 MiB of 1000 MiB)\n"
                "[  0.6s] image: 60 % read (600 MiB of 1000 MiB)\n"
                "[  0.8s] image: 80 % read (800 MiB of 1000 MiB)\n"
                "[  1.0s] image: images/golden.img.xz checked: 2.0 GiB, xz, Debian GNU/Linux 12 "
                "(bookworm), sha256 3f2a1b0c9d8e\n"
                "[  1.0s] pi-01: probe\n"
                "[  2.3s] pi-01: transfer\n"
                "[  2.3s] pi-01: warning: the link was reset; try 2 of 4 follows\n"
                "[  2.3s] pi-01: reachability\n"
                "[ 74.0s] pi-01: flashed in 1m12s (stage mode, 100 MiB sent, 600 MiB written, 1.0 "
                "GiB already there)\n",
                summary);
}

static void test_quiet(void **state)
{
    (void)state;
    assert_play(-1,
                "[  2.3s] pi-01: warning: the link was reset; try 2 of 4 follows\n"
                "[ 74.0s] pi-01: flashed in 1m12s (stage mode, 100 MiB sent, 600 MiB written, 1.0 "
                "GiB already there)\n",
                summary);
    assert_play(-2, "", "");
}

static void test_debug(void **state)
{
    (void)state;
    struct scene scene = scene_begin(1, 2);
    tell_state(&scene, 0, STATE_PROBE, "connecting");
    tell_log(&scene, 0, LOG_DEBUG, "connected");
    tell_state(&scene, 0, STATE_TRANSFER, "staging");
    tell_state(&scene, 0, STATE_TRANSFER, "comparing");
    tell_state(&scene, 0, STATE_TRANSFER, "staging");
    tell_log(&scene, 0, LOG_INFO, "stage mode");
    scene.fake->targets[0].attempts = 2; /* another try: told anew */
    tell_state(&scene, 0, STATE_TRANSFER, "staging");
    scene_end(&scene, "[  0.0s] pi-01: probe\n"
                      "[  0.0s] pi-01: probe: connecting\n"
                      "[  0.0s] pi-01: connected\n"
                      "[  0.0s] pi-01: transfer\n"
                      "[  0.0s] pi-01: transfer: staging\n"
                      "[  0.0s] pi-01: transfer: comparing\n"
                      "[  0.0s] pi-01: stage mode\n"
                      "[  0.0s] pi-01: transfer: staging\n");
}

/* Failures have reason and remedy; what a device says cannot draw. */
static void test_failures(void **state)
{
    (void)state;
    struct scene scene = scene_begin(5, -2);
    fake_failed(scene.fake, 0, "no answer \x1b[2J on\nport 22", "check its power");
    tell_done(&scene, 0);
    fake_failed(scene.fake, 1, "half of it", NULL);
    tell_done(&scene, 1);
    fake_flashed(scene.fake, 2);
    tell_done(&scene, 2);
    fake_failed(scene.fake, 3, "busy", NULL);
    scene.fake->targets[3].outcome = OUTCOME_SKIPPED; /* a warning only */
    tell_done(&scene, 3);
    fake_failed(scene.fake, 4, "the rollout was halted", NULL);
    scene.fake->targets[4].outcome = OUTCOME_NOT_STARTED;
    tell_done(&scene, 4);
    scene.see.message(&scene.fake->run, LOG_ERROR, "rollout halted", scene.see.arg);
    scene.see.message(&scene.fake->run, LOG_WARNING, "hm", scene.see.arg);
    scene.see.message(&scene.fake->run, LOG_ERROR, "", scene.see.arg);
    scene.see.run_ended(&scene.fake->run, scene.see.arg);
    scene_end(&scene, "[  0.0s] pi-01: failed: no answer \\x1b[2J on port 22 — check its power\n"
                      "[  0.0s] pi-02: failed: half of it\n"
                      "[  0.0s] pi-05: not-started: the rollout was halted\n"
                      "[  0.0s] error: rollout halted\n");
}

static void test_summary_of_a_bad_run(void **state)
{
    (void)state;
    struct scene scene = scene_begin(6, 0);
    struct fake *fake = scene.fake;
    fake_flashed(fake, 0);
    fake_flashed(fake, 1);
    fake->targets[1].outcome = OUTCOME_UNCHANGED;
    fake_failed(fake, 2, "connection refused", "start sshd");
    fake_failed(fake, 3, "no answer", NULL);
    fake->targets[3].state = STATE_REACHABILITY;
    fake->targets[3].damage = DAMAGE_LOST;
    fake_failed(fake, 4, "connection refused", "start sshd");
    fake_failed(fake, 5, "the policy said no", NULL);
    fake->targets[5].outcome = OUTCOME_SKIPPED;
    fake->run.halted = "3 failures where 1 is allowed";
    fake_ended(fake, 4000, 3);
    scene.see.run_ended(&fake->run, scene.see.arg);
    scene_end(&scene, "2 of 6 targets hold the image: 3 failed, 1 skipped, 1 flashed, 1 unchanged\n"
                      "The rollout was halted: 3 failures where 1 is allowed\n"
                      "  pi-03, pi-05: failed in probe, its old system was left as it was\n"
                      "    connection refused\n"
                      "    → start sshd\n"
                      "  pi-04: failed in reachability, flashed, but the new system was not "
                      "proven\n"
                      "    no answer\n"
                      "  pi-06: skipped\n"
                      "    the policy said no\n"
                      "  network  200 MiB sent\n"
                      "  disks    1.2 GiB written, 2.0 GiB already right\n"
                      "  time     4s, run 20261120T230105-3f2a\n");
}

static void test_waves_and_check(void **state)
{
    (void)state;
    struct scene scene = scene_begin(3, 0);
    struct fake *fake = scene.fake;
    fake->run.wave_count = 2;
    fake->targets[1].wave = fake->targets[2].wave = 1;
    scene.see.wave_started(&fake->run, 0, scene.see.arg);
    scene.see.wave_started(&fake->run, 1, scene.see.arg);
    scene.see.message(&fake->run, LOG_INFO, "soaking for 2m", scene.see.arg);
    fake->run.command = "check";
    fake->run.image = NULL;
    fake_failed(fake, 2, "no answer", "power?");
    fake_ended(fake, 1000, 1);
    scene.see.run_ended(&fake->run, scene.see.arg);
    scene_end(&scene, "[  0.0s] wave 1 of 2: 1 target\n"
                      "[  0.0s] wave 2 of 2: 2 targets\n"
                      "[  0.0s] soaking for 2m\n"
                      "2 of 3 targets can be flashed, 1 would fail\n"
                      "  pi-03: failed in probe, its old system was left as it was\n"
                      "    no answer\n"
                      "    → power?\n"
                      "  time     1s, run 20261120T230105-3f2a\n");
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_debug),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_summary_of_a_bad_run),
        cmocka_unit_test(test_waves_and_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
