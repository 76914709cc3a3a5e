/* SPDX-License-Identifier: Apache-2.0 */
#include "run/soak.h"

#include "base/clock.h"
#include "base/units.h"
#include "run/run_internal.h"

#include <stdio.h>

/* Of the present wave, done and with something to look at. */
static bool soak_concerns(const struct run *run, size_t i)
{
    const struct target_status *status = run->statuses[i];
    return status->wave == run->wave &&
           (status->outcome == OUTCOME_FLASHED || status->outcome == OUTCOME_UNCHANGED);
}

/* --- the end ------------------------------------------------------------------------------- */

static void soak_end(struct run *run, size_t failed)
{
    run->view.soak_until_ms = 0;
    run_message(run, failed > 0 ? LOG_WARNING : LOG_INFO,
                "the soak of wave %u has ended: %zu of %zu device%s did not come through",
                run->wave + 1, failed, run->soak_checked, run->soak_checked == 1 ? "" : "s");
    RUN_TELL(run, soak_ended, run->wave, (*o_)->arg);
    passage_soaked(run);
}

/* Looks at as many at once as may be flashed at once. A check may end at once, and come back here.
 */
static void soak_check_next(struct run *run)
{
    if (run->soak_filling)
        return;
    run->soak_filling = true;
    for (; run->soak_next < run->count && run->soak_under_way < waves_parallel(run, run->wave);
         run->soak_next++) {
        uint64_t until;
        if (run->statuses[run->soak_next]->wave != run->wave ||
            !target_is_soaking(run->targets[run->soak_next], &until))
            continue;
        run->soak_under_way++;
        run->soak_checked++;
        target_soak_check(run->targets[run->soak_next]);
    }
    run->soak_filling = false;
    if (run->soak_under_way > 0)
        return;
    size_t failed = 0;
    for (size_t i = 0; i < run->count; i++)
        failed += run->statuses[i]->wave == run->wave && run->statuses[i]->damage == DAMAGE_DIED;
    soak_end(run, failed);
}

void soak_target_checked(struct run *run)
{
    run->soak_under_way--;
    soak_check_next(run);
}

/* --- the wait ------------------------------------------------------------------------------ */

static void soak_timer_callback(uv_timer_t *timer)
{
    struct run *run = timer->data;
    run_message(run, LOG_INFO, "the soak of wave %u is over: looking at its devices again",
                run->wave + 1);
    run->soak_next = run->soak_under_way = run->soak_checked = 0;
    soak_check_next(run);
}

/* When the soak ends: what is left of the one that the journal knows of, else all of it from now.
 * The wall clock, because the machine may be another boot of itself; but never longer than it
 * is, should the clock have been set. */
static uint64_t soak_end_time(const struct run *run, uint64_t length, uint64_t now)
{
    uint64_t latest = 0;
    for (size_t i = 0; i < run->count; i++) {
        uint64_t until;
        if (run->statuses[i]->wave == run->wave && target_is_soaking(run->targets[i], &until) &&
            until > latest)
            latest = until;
    }
    return latest == 0 || latest > now + length ? now + length : latest;
}

/* The journal knows until when: only then the time counts. */
void soak_target_recorded(struct run *run)
{
    if (--run->soak_unrecorded > 0)
        return;
    char length[32];
    uint64_t now = clock_unix_ms(), until = run->view.soak_until_ms;
    uint64_t left = until > now ? until - now : 0;
    run_message(run, LOG_INFO, "wave %u soaks for %s, then its %zu device%s looked at again",
                run->wave + 1, units_format_duration(left, length, sizeof length),
                run->soak_checked, run->soak_checked == 1 ? " is" : "s are");
    RUN_TELL(run, soak_started, run->wave, until, (*o_)->arg);
    uv_timer_start(&run->soak, soak_timer_callback, left, 0);
}

bool soak_start(struct run *run)
{
    const struct inventory *inventory = run->config.inventory;
    size_t count = 0, flashed = 0;
    if (run->wave >= inventory->wave_count || inventory->waves[run->wave].soak == 0)
        return false;
    for (size_t i = 0; i < run->count; i++) {
        uint64_t until;
        bool concerns = soak_concerns(run, i);
        count += concerns;
        flashed += concerns && (run->statuses[i]->outcome == OUTCOME_FLASHED ||
                                target_is_soaking(run->targets[i], &until));
    }
    if (flashed == 0)
        return false;
    uint64_t now = clock_unix_ms();
    uint64_t until = soak_end_time(run, inventory->waves[run->wave].soak, now);
    run->view.soak_until_ms = until;
    run->view.soak_wave = run->wave;
    run->soak_unrecorded = run->soak_checked = count;
    for (size_t i = 0; i < run->count; i++) {
        if (soak_concerns(run, i))
            target_soak_begin(run->targets[i], until);
    }
    return true;
}

void soak_cancel(struct run *run)
{
    run->view.soak_until_ms = 0;
    uv_timer_stop(&run->soak);
    for (size_t i = 0; i < run->count; i++)
        target_soak_cancel(run->targets[i]);
}
