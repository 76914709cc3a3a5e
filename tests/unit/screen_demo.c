/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up run of some seconds, to look at the screen (or, with stderr in a file, at the plain
 * lines): screen_demo [targets [seconds]] */
#include "report/plain.h"
#include "report/screen.h"
#include "report/terminal.h"
#include "report_fake.h"

#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct demo {
    struct fake *fake;
    struct run_observer see;
    unsigned ticks, tick;
    uint64_t began;
    uv_timer_t timer;
};

static void command(enum screen_command command, void *arg)
{
    struct demo *demo = arg;
    if (command == SCREEN_STOP)
        demo->fake->run.interrupted = true;
    else
        demo->fake->run.paused = command == SCREEN_PAUSE;
}

static uint64_t unix_now(void)
{
    uv_timeval64_t now;
    uv_gettimeofday(&now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_usec / 1000;
}

static void enter(struct demo *demo, struct target_status *target, enum target_state state,
                  const char *activity)
{
    target->state = state;
    snprintf(target->activity, sizeof target->activity, "%s", activity);
    demo->see.target_changed(&demo->fake->run, target, demo->see.arg);
}

/* Where a target is at a thousandth of its own way. */
static void advance(struct demo *demo, size_t index, unsigned per_mille)
{
    static const struct {
        unsigned from;
        enum target_state state;
        const char *activity;
        bool blocks;
    } way[] = {
        {0, STATE_PROBE, "connecting", false},
        {40, STATE_PROBE, "deploying the agent", false},
        {80, STATE_TRANSFER, "comparing disk and image", true},
        {200, STATE_TRANSFER, "staging", true},
        {500, STATE_COMMIT, "fencing the old file systems", false},
        {560, STATE_COMMIT, "writing", true},
        {800, STATE_COMMIT, "reading back", true},
        {900, STATE_REBOOT, "rebooting", false},
        {930, STATE_REACHABILITY, "waiting for the new system", false},
        {1000, STATE_REACHABILITY, "", false},
    };
    struct target_status *target = &demo->fake->targets[index];
    size_t at = 0;
    while (at + 2 < sizeof way / sizeof *way && way[at + 1].from <= per_mille)
        at++;
    if (!target->started) {
        target->started = true;
        target->started_ms = unix_now();
    }
    if (strcmp(target->activity, way[at].activity) != 0) {
        enter(demo, target, way[at].state, way[at].activity);
        return;
    }
    if (way[at].blocks) {
        target->blocks_total = 16384;
        target->blocks_done =
            16384 * (per_mille - way[at].from) / (way[at + 1].from - way[at].from);
        target->rate = (7.0 + (double)(index % 5)) * 1048576;
        target->remaining_ms =
            (uint64_t)((16384 - target->blocks_done) * 131072.0 * 1000 / target->rate);
        target->bytes_sent = target->blocks_done * 30000ull;
        demo->see.target_changed(&demo->fake->run, target, demo->see.arg);
    }
}

static void end(struct demo *demo, size_t index)
{
    struct target_status *target = &demo->fake->targets[index];
    uint64_t started = target->started_ms;
    if (demo->fake->count > 4 && index == 4)
        fake_failed(demo->fake, index,
                    "10.0.0.15 did not come back within 5m after its reboot (no answer on port 22)",
                    "look at its console and power; the disk was written and read back whole"),
            target->damage = DAMAGE_LOST;
    else
        fake_flashed(demo->fake, index);
    target->started_ms = started;
    target->ended_ms = unix_now();
    demo->see.target_done(&demo->fake->run, target, demo->see.arg);
}

static void finish(struct demo *demo)
{
    struct fake *fake = demo->fake;
    fake->run.phase = RUN_ENDED;
    fake->run.ended_ms = unix_now();
    fake->run.exit_code = 1;
    demo->see.run_ended(&fake->run, demo->see.arg);
    uv_close((uv_handle_t *)&demo->timer, NULL);
}

static void tick_callback(uv_timer_t *timer)
{
    struct demo *demo = timer->data;
    struct fake *fake = demo->fake;
    unsigned now = ++demo->tick;
    unsigned image = demo->ticks / 6;
    if (now < image) {
        fake->run.image_bytes_total = 312ull << 20;
        fake->run.image_bytes_done = fake->run.image_bytes_total * now / image;
        demo->see.image_progress(&fake->run, demo->see.arg);
        return;
    }
    if (now == image) {
        fake_image(fake);
        fake->run.phase = RUN_FLASHING;
        demo->see.image_ready(&fake->run, demo->see.arg);
        demo->see.wave_started(&fake->run, 0, demo->see.arg);
    }
    bool active = false;
    for (size_t i = 0; i < fake->count; i++) {
        unsigned start = image + (unsigned)i * demo->ticks / 2 / (unsigned)fake->count;
        unsigned length = demo->ticks / 3;
        if (fake->targets[i].outcome != OUTCOME_NONE)
            continue;
        active = true;
        if (now == start + length / 3 && i % 6 == 3)
            demo->see.target_log(&fake->run, &fake->targets[i], LOG_WARNING,
                                 "the link was reset; try 2 of 4 \x1b[31mfollows", demo->see.arg);
        if (now >= start + length)
            end(demo, i);
        else if (now >= start)
            advance(demo, i, (now - start) * 1000 / length);
    }
    if (!active)
        finish(demo);
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    size_t count = argc > 1 ? (size_t)atoi(argv[1]) : 12;
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 8;
    struct demo demo = {.fake = fake_new(count < FAKE_MAX ? count : FAKE_MAX),
                        .ticks = seconds * 20};
    uv_loop_t *loop = uv_default_loop();
    for (size_t i = 0; i < demo.fake->count; i++)
        demo.fake->targets[i].wave = i < 4 ? 0 : i < demo.fake->count * 2 / 3 ? 1 : 2;
    demo.fake->run.wave_count = demo.fake->count > 12 ? 3 : 1;
    struct screen *screen = NULL;
    struct plain *plain = NULL;
    demo.fake->run.started_ms = unix_now();
    if (terminal_is_possible(2)) {
        struct screen_options options = {.loop = loop,
                                         .fd = 2,
                                         .keys = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC),
                                         .command = command,
                                         .arg = &demo};
        screen = screen_new(&options);
        demo.see = screen_observer(screen);
        demo.see.run_started(&demo.fake->run, demo.see.arg);
        atexit(terminal_restore);
    } else {
        struct plain_options options = {.fd = 2};
        plain = plain_new(&options);
        demo.see = plain_observer(plain);
    }
    uv_timer_init(loop, &demo.timer);
    demo.timer.data = &demo;
    uv_timer_start(&demo.timer, tick_callback, 50, 50);
    uv_run(loop, UV_RUN_DEFAULT);
    screen_free(screen);
    plain_free(plain);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    fake_free(demo.fake);
    return 0;
}
