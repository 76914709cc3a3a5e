/* SPDX-License-Identifier: Apache-2.0 */
#include "units.h"

#include <stdlib.h>
#include <string.h>

struct unit *units_find(const struct units *units, const char *name)
{
    for (size_t i = 0; i < units->count; i++) {
        if (strcmp(units->items[i].name, name) == 0)
            return &units->items[i];
    }
    return NULL;
}

struct unit *units_add(struct units *units, const char *name, size_t length, size_t cause)
{
    char copy[UNIT_NAME_MAX];
    if (length >= sizeof copy || units->count >= UNITS_MAX)
        return NULL;
    memcpy(copy, name, length);
    copy[length] = '\0';
    struct unit *unit = units_find(units, copy);
    if (unit != NULL)
        return unit;
    struct unit *items = realloc(units->items, (units->count + 1) * sizeof *items);
    if (items == NULL)
        return NULL;
    units->items = items;
    unit = &items[units->count];
    *unit = (struct unit){.name = strdup(copy), .cause = cause, .state = UNIT_NEW};
    if (unit->name == NULL)
        return NULL;
    units->count++;
    return unit;
}

void units_free(struct units *units)
{
    for (size_t i = 0; i < units->count; i++)
        free(units->items[i].name);
    free(units->items);
    units->items = NULL;
    units->count = 0;
}

bool unit_is_trigger(const struct unit *unit)
{
    const char *type = strrchr(unit->name, '.');
    return type != NULL && (strcmp(type, ".socket") == 0 || strcmp(type, ".timer") == 0 ||
                            strcmp(type, ".path") == 0);
}

size_t units_count(const struct units *units, enum unit_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < units->count; i++)
        count += units->items[i].state == state;
    return count;
}

const struct unit *units_origin(const struct units *units, const struct unit *unit)
{
    /* A cause always stands before what it caused. */
    while (&units->items[unit->cause] != unit)
        unit = &units->items[unit->cause];
    return unit;
}

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words != NULL && strcmp(*words, word) != 0)
        words++;
    return *words != NULL;
}

/* The states of systemctl(1), UNIT STATES. */
static void facts_set_state(struct unit_facts *facts, const char *state)
{
    static const char *const up[] = {"active", "reloading", "refreshing", NULL};
    facts->up = is_one_of(state, up);
    facts->starting = strcmp(state, "activating") == 0;
    facts->running = facts->up || facts->starting || strcmp(state, "deactivating") == 0;
}

static void facts_set(struct unit_facts *facts, const char *key, const char *value)
{
    if (strcmp(key, "Id") == 0)
        snprintf(facts->name, sizeof facts->name, "%s", value);
    else if (strcmp(key, "ActiveState") == 0)
        facts_set_state(facts, value);
    else if (strcmp(key, "SubState") == 0)
        facts->exited = strcmp(value, "exited") == 0;
    else if (strcmp(key, "ExecStop") == 0 || strcmp(key, "ExecStopPost") == 0)
        facts->stop_acts = facts->stop_acts || value[0] != '\0';
    else if (strcmp(key, "CanStop") == 0)
        facts->can_stop = strcmp(value, "no") != 0;
    else if (strcmp(key, "RequiredBy") == 0)
        facts->taken_along[0] = value;
    else if (strcmp(key, "BoundBy") == 0)
        facts->taken_along[1] = value;
    else if (strcmp(key, "ConsistsOf") == 0)
        facts->taken_along[2] = value;
    else if (strcmp(key, "TriggeredBy") == 0)
        facts->triggered_by = value;
    else if (strcmp(key, "Triggers") == 0)
        facts->triggers = value;
    else if (strcmp(key, "Job") == 0)
        facts->has_job = strcmp(value, "0") != 0;
}

bool unit_facts_read(char **cursor, struct unit_facts *facts)
{
    *facts = (struct unit_facts){
        .can_stop = true, .taken_along = {"", "", ""}, .triggered_by = "", .triggers = ""};
    char *at = *cursor + strspn(*cursor, "\n");
    while (*at != '\0' && *at != '\n') {
        char *line = at;
        at += strcspn(at, "\n");
        if (*at == '\n')
            *at++ = '\0';
        char *equals = strchr(line, '=');
        if (equals != NULL) {
            *equals = '\0';
            facts_set(facts, line, equals + 1);
        }
    }
    *cursor = at;
    return facts->name[0] != '\0';
}

size_t word_next(const char **cursor)
{
    *cursor += strspn(*cursor, " \t");
    return strcspn(*cursor, " \t\n");
}
