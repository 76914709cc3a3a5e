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

static bool is_running(const char *active_state)
{
    static const char *const running[] = {"active", "activating", "reloading", "deactivating",
                                          "refreshing"};
    for (size_t i = 0; i < sizeof running / sizeof *running; i++) {
        if (strcmp(active_state, running[i]) == 0)
            return true;
    }
    return false;
}

static void facts_set(struct unit_facts *facts, const char *key, const char *value)
{
    if (strcmp(key, "Id") == 0)
        snprintf(facts->name, sizeof facts->name, "%s", value);
    else if (strcmp(key, "ActiveState") == 0)
        facts->running = is_running(value);
    else if (strcmp(key, "CanStop") == 0)
        facts->can_stop = strcmp(value, "no") != 0;
    else if (strcmp(key, "RequiredBy") == 0)
        facts->taken_along[0] = value;
    else if (strcmp(key, "BoundBy") == 0)
        facts->taken_along[1] = value;
    else if (strcmp(key, "ConsistsOf") == 0)
        facts->taken_along[2] = value;
    else if (strcmp(key, "TriggeredBy") == 0)
        facts->triggers = value;
}

bool unit_facts_read(char **cursor, struct unit_facts *facts)
{
    *facts = (struct unit_facts){.can_stop = true, .taken_along = {"", "", ""}, .triggers = ""};
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
