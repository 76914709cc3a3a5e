/* SPDX-License-Identifier: Apache-2.0 */
#include "report/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool target_is_active(const struct target_status *target)
{
    return target->started && target->outcome == OUTCOME_NONE;
}

void fleet_count(const struct run_view *run, struct fleet *fleet)
{
    memset(fleet, 0, sizeof *fleet);
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[i];
        fleet->outcomes[target->outcome]++;
        fleet->bytes_sent += target->bytes_sent;
        fleet->bytes_written += target->bytes_written;
        fleet->bytes_skipped += target->bytes_skipped;
        if (target_is_active(target)) {
            fleet->active++;
            fleet->states[target->state]++;
            if (target->blocks_done < target->blocks_total)
                fleet->rate += target->rate;
        } else if (target->outcome == OUTCOME_NONE) {
            fleet->waiting++;
        }
    }
}

/* What flashed targets took on average, 0: there are none. */
static uint64_t mean_duration(const struct run_view *run)
{
    uint64_t sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < run->target_count; i++) {
        if (run->targets[i]->outcome == OUTCOME_FLASHED) {
            sum += target_duration(run->targets[i]);
            count++;
        }
    }
    return count > 0 ? sum / count : 0;
}

/* What a target that is being flashed says is left of its present part; 0: nothing. */
static uint64_t said_to_be_left(const struct target_status *target)
{
    bool says = target_is_active(target) && target->remaining_ms != UINT64_MAX &&
                target->blocks_done < target->blocks_total;
    return says ? target->remaining_ms : 0;
}

static uint64_t age_of(const struct target_status *target, uint64_t now_ms)
{
    return now_ms > target->started_ms ? now_ms - target->started_ms : 0;
}

/* While none has been flashed: what those under way take at least; 0: nobody knows. */
static uint64_t least_duration(const struct run_view *run, uint64_t now_ms)
{
    uint64_t sum = 0, count = 0;
    for (size_t i = 0; i < run->target_count; i++) {
        uint64_t left = said_to_be_left(run->targets[i]);
        sum += left > 0 ? age_of(run->targets[i], now_ms) + left : 0;
        count += left > 0;
    }
    return count > 0 ? sum / count : 0;
}

uint64_t fleet_remaining(const struct run_view *run, uint64_t now_ms, bool *rough)
{
    uint64_t mean = mean_duration(run);
    uint64_t longest = 0, sum = 0;
    size_t active = 0, waiting = 0;
    *rough = mean == 0;
    if (*rough)
        mean = least_duration(run, now_ms);
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[i];
        uint64_t left = said_to_be_left(target), age = age_of(target, now_ms);
        waiting += target->outcome == OUTCOME_NONE && !target->started;
        if (!target_is_active(target))
            continue;
        active++;
        if (mean > age && mean - age > left)
            left = mean - age;
        sum += left;
        longest = left > longest ? left : longest;
    }
    if (active + waiting == 0 || mean == 0)
        return UINT64_MAX;
    uint64_t shared = (sum + waiting * mean) / (active > 0 ? active : 1);
    return shared > longest ? shared : longest;
}

char *target_address(const struct target_spec *spec, char *out, size_t out_size)
{
    const char *host = spec->host != NULL ? spec->host : spec->name;
    bool bracket = spec->port != 0 && strchr(host, ':') != NULL;
    int length = snprintf(out, out_size, "%s%s%s", bracket ? "[" : "", host, bracket ? "]" : "");
    if (spec->port != 0 && length > 0 && (size_t)length < out_size)
        snprintf(out + length, out_size - (size_t)length, ":%u", spec->port);
    return out;
}

static uint64_t span(uint64_t from, uint64_t to)
{
    if (from != 0 && to == 0)
        to = clock_unix();
    return from != 0 && to > from ? to - from : 0;
}

uint64_t run_duration(const struct run_view *run)
{
    return span(run->started_ms, run->ended_ms);
}

uint64_t target_duration(const struct target_status *target)
{
    return span(target->started_ms, target->ended_ms);
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {[LOG_DEBUG] = "debug",
                                        [LOG_INFO] = "info",
                                        [LOG_WARNING] = "warning",
                                        [LOG_ERROR] = "error"};
    return names[level];
}

void *slots_at(struct slots *slots, unsigned index)
{
    if (index >= slots->count) {
        size_t count = (size_t)index + 16;
        char *data = realloc(slots->data, count * slots->item);
        if (data == NULL)
            return NULL;
        memset(data + slots->count * slots->item, 0, (count - slots->count) * slots->item);
        slots->data = data;
        slots->count = count;
    }
    return slots->data + (size_t)index * slots->item;
}

void slots_free(struct slots *slots)
{
    free(slots->data);
    slots->data = NULL;
    slots->count = 0;
}

static uint64_t clock_read(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_monotonic(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_unix(void)
{
    return clock_read(CLOCK_REALTIME);
}
