/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is, when a rollout is halted, and what a soak does to it: the run's own waves,
 * passage and soak, with targets that do nothing but what the test says. */
#include "run/run_internal.h"
#include "run/soak.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- targets that do nothing by themselves ---------------------------------------------- */

struct target {
    struct target_status status;
    bool go, absent, soaking;
    unsigned gone; /* how often it was told to go */
};

#define TARGETS_MAX 64

static struct scene {
    struct run run;
    struct inventory inventory;
    struct wave_spec waves[3];
    struct target_spec specs[TARGETS_MAX];
    char names[TARGETS_MAX][16];
    struct target targets[TARGETS_MAX], *pointers[TARGETS_MAX];
    const struct target_status *statuses[TARGETS_MAX];
    const struct run_observer *nobody[1];
    uv_loop_t loop;
    unsigned halts, settled;
    bool dies[TARGETS_MAX]; /* of the soak */
} scene;

static void target_ends(struct target *target, enum target_outcome outcome)
{
    target->status.outcome = outcome;
    waves_target_done(&scene.run);
}

void target_go(struct target *target)
{
    target->go = true;
    target->absent = false;
    target->gone++;
}

bool target_is_going(const struct target *target)
{
    return target->go && target->status.outcome == OUTCOME_NONE;
}

bool target_is_absent(const struct target *target)
{
    return target->absent;
}

void target_release(struct target *target)
{
    (void)target;
}

void target_decline(struct target *target, const char *reason)
{
    error_set(&target->status.error, ERROR_CANCELLED, "%s", reason);
    target_ends(target, OUTCOME_NOT_STARTED); /* at once, as the real one does */
}

void target_soak_begin(struct target *target, uint64_t until)
{
    (void)until;
    target->soaking = true;
    soak_target_recorded(&scene.run);
}

bool target_is_soaking(const struct target *target, uint64_t *until)
{
    *until = 0;
    return target->soaking;
}

/* All answers come in the same instant, before the call returns. */
void target_soak_check(struct target *target)
{
    target->soaking = false;
    if (scene.dies[target->status.index]) {
        target->status.outcome = OUTCOME_FAILED;
        target->status.damage = DAMAGE_DIED;
    }
    waves_judge(&scene.run);
    soak_target_checked(&scene.run);
}

void target_soak_cancel(struct target *target)
{
    (void)target;
}

enum target_failure target_failure(const struct target_status *status)
{
    return status->damage == DAMAGE_NONE ? FAILURE_UNREACHABLE : FAILURE_AFTER_COMMIT;
}

const char *target_failure_name(enum target_failure failure)
{
    return failure == FAILURE_UNREACHABLE ? "unreachable" : "after-commit";
}

/* --- what the run has beside its waves ---------------------------------------------------- */

void run_message(struct run *run, enum log_level level, const char *format, ...)
{
    char text[700];
    va_list args;
    (void)run;
    (void)level;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    scene.halts += strstr(text, "rollout halted") != NULL;
}

void run_settle(struct run *run)
{
    (void)run;
    scene.settled++;
}

size_t jumps_behind(const struct jumps *jumps, size_t target)
{
    (void)jumps;
    (void)target;
    return 0;
}

size_t jumps_gates(const struct jumps *jumps, size_t target, const size_t **gates)
{
    (void)jumps;
    (void)target;
    *gates = NULL;
    return 0;
}

bool ask_line(struct run *run, const char *question,
              void (*answered)(struct run *run, const char *line))
{
    (void)run;
    (void)question;
    (void)answered;
    return false;
}

void ask_cancel(struct run *run)
{
    (void)run;
}

char *report_wave_text(const struct run_view *run, unsigned wave)
{
    (void)run;
    (void)wave;
    return NULL;
}

struct local_process *local_start(uv_loop_t *loop, const char *const *argv, const char *input,
                                  uint64_t timeout, local_done done, void *arg)
{
    (void)loop;
    (void)argv;
    (void)input;
    (void)timeout;
    (void)done;
    (void)arg;
    return NULL;
}

void local_cancel(struct local_process *process)
{
    (void)process;
}

/* --- scenes --------------------------------------------------------------------------------- */

/* first targets in wave 1, the others in wave 2. */
static void scene_begin(size_t count, size_t first, struct failure_limit limit, unsigned parallel)
{
    static const char *const groups[2][2] = {{"a", NULL}, {"b", NULL}};
    memset(&scene, 0, sizeof scene);
    uv_loop_init(&scene.loop);
    for (size_t i = 0; i < count; i++) {
        struct target *target = &scene.targets[i];
        snprintf(scene.names[i], sizeof scene.names[i], "pi-%02u", (unsigned)i);
        scene.specs[i] = (struct target_spec){.name = scene.names[i], .groups = groups[i >= first]};
        target->status = (struct target_status){.spec = &scene.specs[i],
                                                .index = (unsigned)i,
                                                .wave = i >= first,
                                                .damage = DAMAGE_NONE};
        scene.pointers[i] = target;
        scene.statuses[i] = &target->status;
    }
    for (int i = 0; i < 2; i++)
        scene.waves[i] = (struct wave_spec){.groups = groups[i],
                                            .parallel = parallel,
                                            .max_failures = limit,
                                            .window_from = -1,
                                            .window_to = -1};
    scene.inventory = (struct inventory){
        .target_count = count, .targets = scene.specs, .wave_count = 2, .waves = scene.waves};
    scene.run = (struct run){
        .count = count,
        .targets = scene.pointers,
        .statuses = scene.statuses,
        .config = {.inventory = &scene.inventory, .observers = scene.nobody, .loop = &scene.loop},
        .view = {.wave_count = 2}};
    uv_timer_init(&scene.loop, &scene.run.soak);
    uv_timer_init(&scene.loop, &scene.run.window);
    scene.run.soak.data = scene.run.window.data = &scene.run;
}

static void scene_end(void)
{
    uv_close((uv_handle_t *)&scene.run.soak, NULL);
    uv_close((uv_handle_t *)&scene.run.window, NULL);
    uv_run(&scene.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&scene.loop), 0);
}

static size_t count_going(void)
{
    size_t going = 0;
    for (size_t i = 0; i < scene.run.count; i++)
        going += target_is_going(&scene.targets[i]);
    return going;
}

static size_t count_outcome(enum target_outcome outcome)
{
    size_t count = 0;
    for (size_t i = 0; i < scene.run.count; i++)
        count += scene.statuses[i]->outcome == outcome;
    return count;
}

/* The next target that is going ends. */
static void one_ends(enum target_outcome outcome)
{
    for (size_t i = 0; i < scene.run.count; i++) {
        if (target_is_going(&scene.targets[i])) {
            target_ends(&scene.targets[i], outcome);
            return;
        }
    }
    fail_msg("nobody is under way");
}

static const struct failure_limit none = {.present = true};
static const struct failure_limit tenth = {.present = true, .is_percent = true, .value = 10};

/* --- tests ---------------------------------------------------------------------------------- */

static void a_percentage_is_judged_when_it_can_no_longer_be_kept(void **state)
{
    (void)state;
    scene_begin(40, 39, tenth, 8); /* a tenth of 39 is 3 */
    waves_begin(&scene.run);
    for (int i = 0; i < 3; i++)
        one_ends(OUTCOME_FAILED);
    assert_null(scene.run.view.halted);
    assert_int_equal(count_going(), 8);
    one_ends(OUTCOME_FAILED);
    assert_string_equal(scene.run.view.halted,
                        "in wave 1 4 devices failed (4 unreachable), 3 are allowed");
    assert_int_equal(count_going(), 7); /* those in flight finish */
    assert_int_equal(count_outcome(OUTCOME_NOT_STARTED), 40 - 4 - 7);
    while (count_going() > 0)
        one_ends(OUTCOME_FAILED); /* more of them change nothing */
    assert_int_equal(scene.halts, 1);
    scene_end();
}

static void classes_of_failures_are_told_apart(void **state)
{
    (void)state;
    scene_begin(4, 3, none, 3);
    scene.waves[0].max_failures.value = 1;
    waves_begin(&scene.run);
    one_ends(OUTCOME_SKIPPED); /* refused by a policy: does not count */
    one_ends(OUTCOME_FAILED);
    assert_null(scene.run.view.halted);
    scene.targets[2].status.damage = DAMAGE_LOST;
    one_ends(OUTCOME_FAILED);
    assert_string_equal(scene.run.view.halted,
                        "in wave 1 2 devices failed (1 unreachable, 1 after-commit), 1 is allowed");
    scene_end();
}

static void an_absent_device_takes_no_place(void **state)
{
    (void)state;
    scene_begin(4, 3, none, 1);
    scene.waves[0].max_failures.value = 1;
    waves_begin(&scene.run);
    assert_true(target_is_going(&scene.targets[0]) && count_going() == 1);
    scene.targets[0].go = false; /* does not answer */
    scene.targets[0].absent = true;
    waves_go_on(&scene.run);
    assert_true(target_is_going(&scene.targets[1]) && count_going() == 1);
    scene.targets[0].absent = false; /* answers, and waits for its turn */
    waves_go_on(&scene.run);
    assert_int_equal(count_going(), 1);
    target_ends(&scene.targets[1], OUTCOME_FLASHED);
    assert_true(target_is_going(&scene.targets[0]) && count_going() == 1);
    target_ends(&scene.targets[0], OUTCOME_FLASHED);
    target_ends(&scene.targets[2], OUTCOME_FLASHED);
    assert_true(target_is_going(&scene.targets[3])); /* the next wave */
    assert_int_equal(scene.targets[0].gone, 2);
    scene_end();
}

/* The soak's answers come together: two waves' worth of reasons, one halt. */
static void several_that_die_of_a_soak_are_one_halt(void **state)
{
    (void)state;
    scene_begin(6, 4, none, 4);
    scene.waves[0].soak = 1;
    scene.dies[1] = scene.dies[2] = true;
    waves_begin(&scene.run);
    for (int i = 0; i < 4; i++)
        one_ends(i == 3 ? OUTCOME_UNCHANGED : OUTCOME_FLASHED);
    assert_true(passage_is_busy(&scene.run));
    assert_int_equal(count_going(), 0);
    uv_run(&scene.loop, UV_RUN_DEFAULT);
    assert_false(passage_is_busy(&scene.run));
    assert_int_equal(scene.run.soak_checked, 4); /* also after the halt */
    assert_int_equal(scene.halts, 1);
    assert_int_equal(count_outcome(OUTCOME_NOT_STARTED), 2);
    assert_true(scene.settled > 0);
    scene_end();
}

static void a_wave_that_comes_through_its_soak_is_followed_by_the_next(void **state)
{
    (void)state;
    scene_begin(4, 2, none, 4);
    scene.waves[0].soak = scene.waves[1].soak = 1;
    waves_begin(&scene.run);
    one_ends(OUTCOME_FLASHED);
    one_ends(OUTCOME_FLASHED);
    assert_int_equal(count_going(), 0);
    uv_run(&scene.loop, UV_RUN_DEFAULT);
    assert_int_equal(count_going(), 2);
    one_ends(OUTCOME_UNCHANGED); /* nothing was flashed: nothing to soak */
    one_ends(OUTCOME_UNCHANGED);
    assert_false(passage_is_busy(&scene.run));
    assert_int_equal(scene.run.wave, 2);
    assert_int_equal(scene.halts, 0);
    scene_end();
}

static void a_failure_that_breaks_the_wave_leaves_its_soak_out(void **state)
{
    (void)state;
    scene_begin(4, 2, none, 4);
    scene.waves[0].soak = 1;
    waves_begin(&scene.run);
    one_ends(OUTCOME_FLASHED);
    one_ends(OUTCOME_FAILED);
    assert_false(passage_is_busy(&scene.run));
    assert_int_equal(scene.halts, 1);
    scene_end();
}

/* Of twenty, ten are left after a halt: a tenth of the wave is still two. */
static void a_resumed_run_has_the_share_of_the_whole_wave(void **state)
{
    (void)state;
    static struct journal_target recorded[20];
    scene_begin(20, 20, tenth, 20);
    for (size_t i = 0; i < 20; i++)
        snprintf(recorded[i].name, sizeof recorded[i].name, "%s", scene.names[i]);
    scene.run.count = 10;
    scene.run.config.resume_targets = recorded;
    scene.run.config.resume_count = 20;
    waves_begin(&scene.run);
    one_ends(OUTCOME_FAILED);
    one_ends(OUTCOME_FAILED);
    assert_null(scene.run.view.halted);
    one_ends(OUTCOME_FAILED);
    assert_non_null(scene.run.view.halted);
    scene_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_percentage_is_judged_when_it_can_no_longer_be_kept),
        cmocka_unit_test(classes_of_failures_are_told_apart),
        cmocka_unit_test(an_absent_device_takes_no_place),
        cmocka_unit_test(several_that_die_of_a_soak_are_one_halt),
        cmocka_unit_test(a_wave_that_comes_through_its_soak_is_followed_by_the_next),
        cmocka_unit_test(a_failure_that_breaks_the_wave_leaves_its_soak_out),
        cmocka_unit_test(a_resumed_run_has_the_share_of_the_whole_wave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
