/* SPDX-License-Identifier: Apache-2.0 */
/* Stops the chosen units and waits until all of them are down at once. */
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_MS 500u
#define NOT_LOADED                                                                                 \
    5 /* systemctl's exit status for a unit that went away meanwhile (LSB: not installed) */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void poll_units(const struct ff_host *host, struct ff_target *target, void *data);

static void poll_later(const struct ff_host *host, struct ff_target *target)
{
    if (host->after(target, POLL_MS, poll_units, NULL) != 0)
        work_finish_no_memory(host, target);
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
        work->deadline = now_ms() + KILL_WAIT_MS;
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

static void polled_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    struct unit_facts facts;
    size_t running = 0;
    (void)data;
    char *text = strdup(result->out), *cursor = text;
    if (text == NULL || result->exit_status != 0 || result->truncated) {
        free(text);
        work_finish_failed(host, target, "systemctl show", result);
        return;
    }
    while (unit_facts_read(&cursor, &facts)) {
        struct unit *unit = units_find(&work->units, facts.name);
        if (unit != NULL)
            unit->running = facts.running;
    }
    free(text);
    for (size_t i = 0; i < work->units.count; i++)
        running += work->units.items[i].state == UNIT_TO_STOP && work->units.items[i].running;
    if (running == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else if (now_ms() >= work->deadline)
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
        work_finish_failed(host, target, "systemctl stop", result);
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
    work->stop_asked = true;
    work->deadline = now_ms() + work->timeout_ms;
    work_run(host, target, "stop --no-block", UNIT_TO_STOP, false, COMMAND_TIMEOUT_MS,
             stopped_callback);
}
