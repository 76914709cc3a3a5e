/* SPDX-License-Identifier: Apache-2.0 */
/* Starts again what was stopped. A unit that was still starting then (a oneshot at work, say) need
 * not come up: without --no-block systemctl would wait for its end. */
#include "work.h"

#define START_MARGIN_MS 60000u

static void note_started(struct unit *unit, const struct unit_facts *facts)
{
    bool expected = facts->up || (unit->was_starting && (facts->starting || !facts->has_job));
    unit->awaited = !expected;
    unit->failed = !expected && !facts->running && !facts->has_job;
}

static void poll_units(const struct ff_host *host, struct ff_target *target, void *data);

static void polled_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    size_t missing = 0, failed = 0;
    char names[200], reason[300];
    (void)data;
    if (!work_read_facts(host, target, result, note_started))
        return;
    for (size_t i = 0; i < work->units.count; i++) {
        missing += work->units.items[i].state == UNIT_TO_STOP && work->units.items[i].awaited;
        failed += work->units.items[i].state == UNIT_TO_STOP && work->units.items[i].failed;
    }
    if (missing == 0) {
        host->finish(target, FF_VERDICT_GO, NULL);
    } else if (failed == missing || work_now_ms() >= work->deadline) {
        work_names(names, sizeof names, &work->units, true);
        snprintf(reason, sizeof reason, "started again but not up: %s", names);
        host->finish(target, FF_VERDICT_FAIL, reason);
    } else if (host->after(target, POLL_MS, poll_units, NULL) != 0) {
        finish_no_memory(host, target);
    }
}

static void poll_units(const struct ff_host *host, struct ff_target *target, void *data)
{
    (void)data;
    work_run(host, target, "show -p Id -p ActiveState -p Job", UNIT_TO_STOP, false,
             COMMAND_TIMEOUT_MS, polled_callback);
}

/* Which of the units did not start is what the poll finds out. */
static void started_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    if (result->exit_status != 0)
        host->log(target, "systemctl start: exit status %d: %s%s", result->exit_status, result->err,
                  result->error);
    poll_units(host, target, data);
}

void work_start(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    uint64_t wait_ms = work->timeout_ms + START_MARGIN_MS;
    work->deadline = work_now_ms() + wait_ms;
    host->deadline(target, (unsigned)wait_ms + 2 * COMMAND_TIMEOUT_MS);
    /* Replaces stop jobs that still wait (systemctl's default --job-mode=replace). */
    work_run(host, target, "start --no-block", UNIT_TO_STOP, false, COMMAND_TIMEOUT_MS,
             started_callback);
}
