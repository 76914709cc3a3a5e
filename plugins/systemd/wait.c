/* SPDX-License-Identifier: Apache-2.0 */
/* Stops the chosen units and waits until all of them are down at once. */
#include "work.h"

#include <stdlib.h>
#include <string.h>

/* systemctl's exit status for a unit that went away meanwhile (LSB: not installed). */
#define NOT_LOADED 5

static void poll_units(const struct ff_host *host, struct ff_target *target, void *data);

static void poll_later(const struct ff_host *host, struct ff_target *target)
{
    if (host->after(target, POLL_MS, poll_units, NULL) != 0)
        finish_no_memory(host, target);
}

static void killed_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status != 0)
        host->log(target, "systemctl kill: exit status %d: %s%s", result->exit_status, result->err,
                  result->error);
    poll_later(host, target);
}

/* The time is over and something still runs. */
static void wait_is_over(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    char names[200], reason[300];
    work_names(names, sizeof names, &work->units, true);
    if (!work->killed && host->number(target, "kill", 1) != 0) {
        work->killed = true;
        work->deadline = work_now_ms() + KILL_WAIT_MS;
        host->log(target, "not down after %llu s, killed: %s",
                  (unsigned long long)(work->timeout_ms / 1000), names);
        work_run(host, target, "kill -s KILL", UNIT_TO_STOP, true, COMMAND_TIMEOUT_MS,
                 killed_callback);
        return;
    }
    snprintf(reason, sizeof reason, "still running %llu s after the stop%s: %s",
             (unsigned long long)(work->timeout_ms / 1000), work->killed ? " and a kill" : "",
             names);
    host->finish(target, FF_VERDICT_FAIL, reason);
}

static void note_stopped(struct unit *unit, const struct unit_facts *facts)
{
    unit->awaited = facts->running;
}

static size_t count_awaited(const struct units *units)
{
    size_t count = 0;
    for (size_t i = 0; i < units->count; i++)
        count += units->items[i].state == UNIT_TO_STOP && units->items[i].awaited;
    return count;
}

static void polled_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    (void)data;
    if (!work_read_facts(host, target, result, note_stopped))
        return;
    if (count_awaited(&work->units) == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else if (work_now_ms() >= work->deadline)
        wait_is_over(host, target);
    else
        poll_later(host, target);
}

/* All of them each time: what was down may have been started again by something. */
static void poll_units(const struct ff_host *host, struct ff_target *target, void *data)
{
    (void)data;
    work_run(host, target, "show -p Id -p ActiveState", UNIT_TO_STOP, false, COMMAND_TIMEOUT_MS,
             polled_callback);
}

static void stopped_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    if (result->exit_status == 0 || result->exit_status == NOT_LOADED)
        poll_units(host, target, data);
    else
        finish_failed(host, target, "systemctl stop", result);
}

static void ask_stop(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    work->stop_asked = true;
    work->deadline = work_now_ms() + work->timeout_ms;
    work_run(host, target, "stop --no-block", UNIT_TO_STOP, false, COMMAND_TIMEOUT_MS,
             stopped_callback);
}

static void left_callback(const struct ff_host *host, struct ff_target *target,
                          const struct ff_result *result, void *data)
{
    (void)data;
    undo_left(host, target, result);
    ask_stop(host, target);
}

/* For whoever has to start them again instead of us. */
static bool leave_word(const struct ff_host *host, struct ff_target *target)
{
    char *command = FF_KNOWS(host, leave_undo)
                        ? work_command(host, target, "start --no-block", UNIT_TO_STOP, false)
                        : NULL;
    bool asked = command != NULL && host->leave_undo(target, command, left_callback, NULL) == 0;
    free(command);
    return asked;
}

void work_stop(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    char names[700];
    if (units_count(&work->units, UNIT_TO_STOP) == 0) {
        host->log(target, "nothing to stop");
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    work_names(names, sizeof names, &work->units, false);
    host->log(target, "stopping %s", names);
    if (!leave_word(host, target))
        ask_stop(host, target);
}
