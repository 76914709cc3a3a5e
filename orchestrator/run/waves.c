/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: waves one after the other, in each at most `parallel` targets at once, and a
 * halt as soon as a wave's failures are more than it allows. */
#include "run/run_internal.h"
#include "run/window.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PARALLEL_DEFAULT 32u

unsigned waves_parallel(const struct run *run, unsigned wave)
{
    const struct inventory *inventory = run->config.inventory;
    if (run->config.parallel != 0)
        return run->config.parallel;
    if (wave < inventory->wave_count && inventory->waves[wave].parallel != 0)
        return inventory->waves[wave].parallel;
    return PARALLEL_DEFAULT;
}

struct wave_tally {
    size_t targets, going, failed, open; /* open: no outcome yet */
};

static struct wave_tally wave_count(const struct run *run)
{
    struct wave_tally tally = {0};
    for (size_t i = 0; i < run->count; i++) {
        const struct target_status *status = run->statuses[i];
        if (status->wave != run->wave)
            continue;
        tally.targets++;
        tally.open += status->outcome == OUTCOME_NONE;
        tally.going += status->outcome == OUTCOME_NONE && target_is_going(run->targets[i]);
        tally.failed += status->outcome == OUTCOME_FAILED;
    }
    return tally;
}

/* --- jump hosts go last ---------------------------------------------------------------- */

enum turn {
    TURN_NOW,
    TURN_LATER, /* another is reached through it and not done yet */
    TURN_NEVER, /* another is reached through it and may need it again */
};

static bool goes_through(const struct run *run, size_t target, size_t gate)
{
    const size_t *gates;
    size_t count = jumps_gates(run->jumps, target, &gates);
    for (size_t i = 0; i < count; i++)
        if (gates[i] == gate)
            return true;
    return false;
}

/* One that is half-written or did not come back is looked after through the same jump host, which
 * would be another system after its own flash. */
static enum turn wave_turn(const struct run *run, size_t gate, const char **other)
{
    enum turn turn = TURN_NOW;
    if (jumps_behind(run->jumps, gate) == 0)
        return TURN_NOW;
    for (size_t i = 0; i < run->count; i++) {
        const struct target_status *status = run->statuses[i];
        if (!goes_through(run, i, gate))
            continue;
        *other = status->spec->name;
        if (status->outcome == OUTCOME_FAILED &&
            (status->damage == DAMAGE_INCOMPLETE || status->damage == DAMAGE_LOST ||
             status->damage == DAMAGE_DIED))
            return TURN_NEVER;
        if (status->outcome == OUTCOME_NONE)
            turn = TURN_LATER;
    }
    return turn;
}

void waves_announce_jumps(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        size_t behind = jumps_behind(run->jumps, i);
        if (behind > 0)
            run_message(run, LOG_INFO, "%s goes last: %zu other target%s reached through it",
                        run->statuses[i]->spec->name, behind, behind == 1 ? " is" : "s are");
    }
}

static void wave_start(struct run *run, size_t i)
{
    const char *other = "";
    char reason[300];
    switch (wave_turn(run, i, &other)) {
    case TURN_NOW:
        target_go(run->targets[i]);
        break;
    case TURN_LATER:
        break;
    case TURN_NEVER:
        snprintf(reason, sizeof reason,
                 "%.100s is reached through it and did not get through: this device stays as it is "
                 "until that one is looked after",
                 other);
        target_decline(run->targets[i], reason);
        break;
    }
}

/* --- the waves ------------------------------------------------------------------------- */

/* Starts what may start. */
static void wave_fill(struct run *run)
{
    size_t going = wave_count(run).going;
    unsigned parallel = waves_parallel(run, run->wave);
    for (size_t i = 0; i < run->count && going < parallel; i++) {
        const struct target_status *status = run->statuses[i];
        if (status->wave == run->wave && status->outcome == OUTCOME_NONE &&
            !target_is_going(run->targets[i]) && !target_is_absent(run->targets[i])) {
            wave_start(run, i);
            going += target_is_going(run->targets[i]);
        }
    }
}

/* All that has not begun stays as it is. Declining one may end the run, which frees nothing yet. */
static void waves_decline_rest(struct run *run, const char *reason)
{
    for (size_t i = 0; i < run->count; i++) {
        if (run->statuses[i]->outcome == OUTCOME_NONE && !target_is_going(run->targets[i]))
            target_decline(run->targets[i], reason);
    }
}

void waves_halt(struct run *run, const char *reason)
{
    snprintf(run->halt_reason, sizeof run->halt_reason, "%s", reason);
    run->view.halted = run->halt_reason;
    run_message(run, LOG_ERROR, "rollout halted: %s; devices in flight finish", run->halt_reason);
    waves_decline_rest(run, "the rollout was halted before its turn came");
}

/* How many targets the wave has in all: some may have been done before the run was resumed. */
static size_t wave_size(const struct run *run, size_t here)
{
    const struct inventory *inventory = run->config.inventory;
    size_t all = 0;
    for (size_t k = 0; k < run->config.resume_count; k++) {
        for (size_t i = 0; i < inventory->target_count; i++) {
            if (strcmp(inventory->targets[i].name, run->config.resume_targets[k].name) == 0)
                all += inventory_wave_of(inventory, i) == (int)run->wave;
        }
    }
    return all > here ? all : here;
}

/* "2 unreachable, 1 after-commit" */
static void failures_text(const struct run *run, char *out, size_t size)
{
    size_t counts[FAILURE_COUNT] = {0}, used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < run->count; i++) {
        const struct target_status *status = run->statuses[i];
        if (status->wave == run->wave && status->outcome == OUTCOME_FAILED)
            counts[target_failure(status)]++;
    }
    for (int i = FAILURE_NONE + 1; i < FAILURE_COUNT && used < size; i++) {
        if (counts[i] > 0)
            used += (size_t)snprintf(out + used, size - used, "%s%zu %s", used > 0 ? ", " : "",
                                     counts[i], target_failure_name((enum target_failure)i));
    }
}

/* A failure is never taken back, so a limit that is exceeded can no longer be kept, however many
 * are still to come. */
bool waves_judge(struct run *run)
{
    const struct inventory *inventory = run->config.inventory;
    if (run->view.halted != NULL) /* several at once are one halt */
        return true;
    if (run->wave >= inventory->wave_count)
        return false;
    struct wave_tally tally = wave_count(run);
    const struct failure_limit *limit = &inventory->waves[run->wave].max_failures;
    size_t allowed = failure_limit_allows(limit, wave_size(run, tally.targets));
    if (tally.failed <= allowed)
        return false;
    char classes[120], reason[200];
    failures_text(run, classes, sizeof classes);
    snprintf(reason, sizeof reason, "in wave %u %zu device%s failed (%s), %zu %s allowed",
             run->wave + 1, tally.failed, tally.failed == 1 ? "" : "s", classes, allowed,
             allowed == 1 ? "is" : "are");
    waves_halt(run, reason);
    return true;
}

/* --- the window ------------------------------------------------------------------------ */

static void waves_step(struct run *run);

static void window_callback(uv_timer_t *timer)
{
    waves_step(timer->data);
}

/* Looks at the clock again each minute: it may be set, or the machine may sleep. */
static void window_wait(struct run *run, const struct wave_spec *wave, int minutes)
{
    if (!run->window_waits)
        run_message(run, LOG_INFO,
                    "wave %u waits for its window, which opens at %02d:%02d (in %d min)",
                    run->wave + 1, wave->window_from / 60, wave->window_from % 60, minutes);
    run->window_waits = true;
    uv_timer_start(&run->window, window_callback, 60000, 0);
}

/* Whether new devices may be started now; what that means otherwise is done here. */
static bool wave_may_start(struct run *run)
{
    const struct inventory *inventory = run->config.inventory;
    int minutes;
    if (run->wave >= inventory->wave_count)
        return true;
    const struct wave_spec *wave = &inventory->waves[run->wave];
    enum window_state state = window_now(wave, time(NULL), &minutes);
    run->window_was_open |= state == WINDOW_OPEN;
    if (state == WINDOW_OPEN)
        return true;
    /* A device that was found dead before does not count: the others wait all the same. */
    if (state == WINDOW_OPENS_LATER && !run->window_was_open) {
        window_wait(run, wave, minutes);
        return false;
    }
    if (run->window_closed)
        return false;
    run->window_closed = true;
    run_message(run, LOG_WARNING,
                "the window of wave %u, %02d:%02d-%02d:%02d, is closed: nothing new is started",
                run->wave + 1, wave->window_from / 60, wave->window_from % 60, wave->window_to / 60,
                wave->window_to % 60);
    waves_decline_rest(run, "the window of its wave closed before its turn came");
    return false;
}

/* Halts, fills the wave up, or goes on with the next wave that has targets. Starting a target can
 * end it at once and come back here, so the last call to get through decides. */
static void waves_step(struct run *run)
{
    while (run->view.halted == NULL && run->interrupts == 0 && run->wave < run->view.wave_count) {
        struct wave_tally tally = wave_count(run);
        if (waves_judge(run))
            return;
        if (tally.open > 0) {
            if (tally.open > tally.going && !run->view.paused && wave_may_start(run))
                wave_fill(run);
            return;
        }
        if (!passage_try(run))
            return;
        run->wave++; /* all of its targets have an outcome, also when its window has closed */
        run->window_waits = run->window_was_open = false;
        if (run->wave < run->view.wave_count && wave_count(run).open > 0)
            RUN_TELL(run, wave_started, run->wave, (*o_)->arg);
    }
}

void waves_go_on(struct run *run)
{
    waves_step(run);
}

void waves_begin(struct run *run)
{
    run->view.phase = RUN_FLASHING;
    RUN_TELL(run, wave_started, run->wave, (*o_)->arg);
    waves_step(run);
    /* Probed for the plan, but not its turn for a while: let go of it. */
    for (size_t i = 0; i < run->count; i++) {
        if (run->statuses[i]->outcome == OUTCOME_NONE && !target_is_going(run->targets[i]))
            target_release(run->targets[i]);
    }
}

void waves_target_done(struct run *run)
{
    if (run->view.phase == RUN_FLASHING)
        waves_step(run);
}
