/* SPDX-License-Identifier: Apache-2.0 */
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t work_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Nothing in it is special to a shell. */
static bool unit_name_is_plain(const char *name)
{
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "._@:-")] == '\0';
}

void work_names(char *out, size_t out_size, const struct units *units, bool only_awaited)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < units->count; i++) {
        const struct unit *unit = &units->items[i];
        if (unit->state != UNIT_TO_STOP || (only_awaited && !unit->awaited))
            continue;
        if (used + strlen(unit->name) + 8 > out_size) {
            snprintf(out + used, out_size - used, " …");
            return;
        }
        used +=
            (size_t)snprintf(out + used, out_size - used, "%s%s", used > 0 ? " " : "", unit->name);
    }
}

char *work_command(const struct ff_host *host, struct ff_target *target, const char *begin,
                   enum unit_state state, bool only_awaited)
{
    struct work *work = target->policy_data;
    char *command = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&command, &size);
    bool complete = stream != NULL;
    if (complete)
        fprintf(stream, "LC_ALL=C systemctl %s --", begin);
    for (size_t i = 0; complete && i < 2 * work->units.count; i++) {
        struct unit *unit = &work->units.items[i % work->units.count];
        bool in_this_pass = unit_is_trigger(unit) == (i < work->units.count);
        if (!in_this_pass || unit->state != state || (only_awaited && !unit->awaited))
            continue;
        bool plain = unit_name_is_plain(unit->name);
        if (!plain && unit->quoted == NULL)
            unit->quoted = host->quote(target, unit->name);
        complete = plain || unit->quoted != NULL;
        if (complete)
            fprintf(stream, " %s", plain ? unit->name : unit->quoted);
    }
    if (stream != NULL && fclose(stream) != 0)
        complete = false;
    if (complete)
        return command;
    free(command);
    return NULL;
}

void work_run(const struct ff_host *host, struct ff_target *target, const char *begin,
              enum unit_state state, bool only_awaited, unsigned timeout_ms,
              ff_command_callback callback)
{
    char *command = work_command(host, target, begin, state, only_awaited);
    if (command == NULL || host->run(target, command, timeout_ms, callback, NULL) != 0)
        finish_no_memory(host, target);
    free(command);
}

bool work_read_facts(const struct ff_host *host, struct ff_target *target,
                     const struct ff_result *result,
                     void (*each)(struct unit *unit, const struct unit_facts *facts))
{
    struct work *work = target->policy_data;
    struct unit_facts facts;
    char *text = strdup(result->out), *cursor = text;
    if (text == NULL || result->exit_status != 0 || result->truncated) {
        free(text);
        finish_failed(host, target, "systemctl show", result);
        return false;
    }
    while (unit_facts_read(&cursor, &facts)) {
        struct unit *unit = units_find(&work->units, facts.name);
        if (unit != NULL && unit->state == UNIT_TO_STOP)
            each(unit, &facts);
    }
    free(text);
    return true;
}
