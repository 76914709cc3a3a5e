/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "suggest.h"

#include <stdio.h>
#include <string.h>

/* Everything that is the same for all values of one mapping. */
struct reading {
    const struct context *context;
    enum key_level level;
    const struct numbering *numbering;
    bool only_numbered; /* the second and further hosts of a ranged body */
    struct settings *out;
};

static void read_map(const struct reading *reading, const struct yaml_node *map);

/* --- unknown keys ------------------------------------------------------------------------- */

/* Where a key that is unknown here would be right, or NULL. */
static const char *other_levels(const char *name, char *out, size_t out_size)
{
    size_t count, used = 0;
    const struct key *keys = keys_all(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        for (unsigned level = 1; level <= LEVEL_NOTIFY && used < out_size; level <<= 1) {
            if ((keys[i].levels & level) != 0)
                used += (size_t)snprintf(out + used, out_size - used, "%s%s",
                                         used == 0 ? "" : " or ", keys_level_words(level));
        }
    }
    return used == 0 ? NULL : out;
}

void settings_unknown_key(const struct context *context, const struct yaml_entry *entry,
                          enum key_level level)
{
    char text[200];
    struct suggestion suggestion = {.word = entry->key};
    if (other_levels(entry->key, text, sizeof text) != NULL) {
        mistakes_add(context->mistakes, entry->at, "'%s' cannot stand in %s, only in %s",
                     entry->key, keys_level_words(level), text);
        return;
    }
    size_t count;
    const struct key *keys = keys_all(&count);
    for (size_t i = 0; i < count; i++) {
        if ((keys[i].levels & level) != 0)
            suggest_consider(&suggestion, keys[i].name);
    }
    mistakes_add(context->mistakes, entry->at, "unknown key '%s'%s", entry->key,
                 suggest_text(&suggestion, text, sizeof text));
}

/* --- reading ------------------------------------------------------------------------------ */

static void set_state(const struct reading *reading, const struct key *key,
                      enum setting_state state, struct position at)
{
    reading->out->states[keys_index(key)] = state;
    reading->out->at[keys_index(key)] = at;
}

/* Puts the host's number into a value like 10.0.0.[12:34]. */
static int number_value(const struct reading *reading, const struct key *key,
                        const struct yaml_node *node, char *out, size_t out_size)
{
    struct mistakes *mistakes = reading->context->mistakes;
    struct range_pattern value;
    char why[200];
    if (key->type == TYPE_ADDRESS && strncmp(node->text, "[", 1) == 0 &&
        strspn(node->text, "[]0123456789abcdefABCDEF:.") == strlen(node->text))
        return mistakes_add(mistakes, node->at, "%s: write '%s' without brackets", key->name,
                            node->text);
    if (range_parse(node->text, &value, why, sizeof why) != 0)
        return mistakes_add(mistakes, node->at, "%s: %s", key->name, why);
    const struct range_pattern *names = reading->numbering->names;
    if (names == NULL || names->count == 0)
        return mistakes_add(mistakes, node->at,
                            "%s has a range, which only a host whose name has one can use",
                            key->name);
    if (!range_goes_along(names, &value))
        return mistakes_add(mistakes, node->at,
                            "%s: '%s' stands for %zu values, but the name for %zu hosts%s",
                            key->name, node->text, value.total, names->total,
                            value.total == names->total ? " in other ranges" : "");
    if (range_expand(&value, reading->numbering->index, out, out_size) != 0)
        return mistakes_add(mistakes, node->at, "%s is too long", key->name);
    return 0;
}

static void read_value(const struct reading *reading, const struct key *key,
                       const struct yaml_node *node)
{
    char numbered[300];
    const char *text = node->text;
    bool has_range = key->is_numbered && strchr(text, '[') != NULL;
    if (reading->only_numbered && !has_range)
        return;
    set_state(reading, key, SETTING_WRONG, node->at);
    if (has_range) {
        if (number_value(reading, key, node, numbered, sizeof numbered) != 0)
            return;
        text = numbered;
    }
    if (value_read(reading->context, key, text, node->at, &reading->out->spec) == 0)
        set_state(reading, key, SETTING_SET, node->at);
}

static bool has_key(const struct settings *settings, const char *name)
{
    return settings_state(settings, LEVEL_RESET, name) != SETTING_UNSET;
}

/* `after`, `reset` and `netboot`: their keys are settings like all others. */
static void read_submap(const struct reading *reading, const struct key *key,
                        const struct yaml_node *node)
{
    struct reading inner = *reading;
    inner.level = strcmp(key->name, "after") == 0   ? LEVEL_AFTER
                  : strcmp(key->name, "reset") == 0 ? LEVEL_RESET
                                                    : LEVEL_NETBOOT;
    read_map(&inner, node);
    if (inner.level == LEVEL_RESET && !reading->only_numbered && has_key(reading->out, "command") &&
        (has_key(reading->out, "chip") || has_key(reading->out, "line")))
        mistakes_add(reading->context->mistakes, node->at,
                     "reset is either chip and line, or command, not both");
}

static void read_mapping(const struct reading *reading, const struct key *key,
                         const struct yaml_node *node)
{
    if (strcmp(key->name, "services") == 0) {
        if (reading->only_numbered)
            return;
        int result = services_read(reading->context, node, &reading->out->spec.services);
        set_state(reading, key, result == 0 ? SETTING_SET : SETTING_WRONG, node->at);
        return;
    }
    if (node->kind != YAML_MAP) {
        mistakes_add(reading->context->mistakes, node->at, "%s must be a mapping, not %s",
                     key->name, yaml_node_words(node));
        set_state(reading, key, SETTING_WRONG, node->at);
        return;
    }
    set_state(reading, key, SETTING_SET, node->at);
    read_submap(reading, key, node);
}

static void read_map(const struct reading *reading, const struct yaml_node *map)
{
    for (const struct yaml_entry *entry = map->first; entry != NULL; entry = entry->next) {
        const struct key *key = keys_find(reading->level, entry->key);
        const struct yaml_node *node = entry->value;
        if (key == NULL) {
            if (!reading->only_numbered)
                settings_unknown_key(reading->context, entry, reading->level);
        } else if (node->is_null) {
            set_state(reading, key, SETTING_CLEARED, entry->at);
        } else if (key->type == TYPE_MAP) {
            read_mapping(reading, key, node);
        } else if (node->kind == YAML_TEXT) {
            read_value(reading, key, node);
        } else if (!reading->only_numbered) {
            mistakes_add(reading->context->mistakes, node->at, "%s must be one value, not %s",
                         key->name, yaml_node_words(node));
            set_state(reading, key, SETTING_WRONG, node->at);
        }
    }
}

void settings_read(const struct context *context, const struct yaml_node *map, enum key_level level,
                   const struct numbering *numbering, struct settings *out)
{
    *out = (struct settings){0};
    read_map(&(struct reading){context, level, numbering, false, out}, map);
}

void settings_renumber(const struct context *context, const struct yaml_node *map,
                       const struct numbering *numbering, struct settings *out)
{
    read_map(&(struct reading){context, LEVEL_HOST, numbering, true, out}, map);
}

/* --- layers ------------------------------------------------------------------------------- */

static bool is_target_key(const struct key *key)
{
    return key->size > 0 &&
           (key->levels & (LEVEL_ANY | LEVEL_AFTER | LEVEL_RESET | LEVEL_NETBOOT)) != 0;
}

void settings_builtin(const struct context *context, struct settings *out)
{
    *out = (struct settings){0};
    size_t count;
    const struct key *keys = keys_all(&count);
    for (size_t i = 0; i < count; i++) {
        if (is_target_key(&keys[i]) && keys[i].value != NULL)
            value_read(context, &keys[i], keys[i].value, (struct position){0}, &out->spec);
    }
}

static void copy_member(struct settings *to, const struct settings *from, const struct key *key)
{
    memcpy((char *)&to->spec + key->offset, (const char *)&from->spec + key->offset, key->size);
}

/* The mapping that a key of `after`, `reset` or `netboot` stands in, or NULL. */
static const struct key *parent(const struct key *key)
{
    if ((key->levels & LEVEL_AFTER) != 0)
        return keys_find(LEVEL_HOST, "after");
    if ((key->levels & LEVEL_RESET) != 0)
        return keys_find(LEVEL_HOST, "reset");
    if ((key->levels & LEVEL_NETBOOT) != 0)
        return keys_find(LEVEL_HOST, "netboot");
    return NULL;
}

static void lay_key(const struct context *context, struct settings *below,
                    const struct settings *layer, const struct settings *builtin,
                    const struct key *key)
{
    size_t i = keys_index(key);
    const struct key *outer = parent(key);
    enum setting_state state = layer->states[i];
    if (outer != NULL && layer->states[keys_index(outer)] == SETTING_CLEARED)
        state = SETTING_CLEARED;
    if (state == SETTING_UNSET)
        return;
    below->states[i] = state;
    below->at[i] = layer->at[i];
    if (state == SETTING_CLEARED)
        copy_member(below, builtin, key);
    else if (state == SETTING_SET && key->type == TYPE_MAP)
        services_lay_over(context, &below->spec.services, &layer->spec.services);
    else if (state == SETTING_SET)
        copy_member(below, layer, key);
}

void settings_lay_over(const struct context *context, struct settings *below,
                       const struct settings *layer, const struct settings *builtin)
{
    size_t count;
    const struct key *keys = keys_all(&count);
    for (size_t i = 0; i < count; i++) {
        if (is_target_key(&keys[i]))
            lay_key(context, below, layer, builtin, &keys[i]);
    }
    /* The nearer one of the two ways to reset holds. */
    struct reset_spec *reset = &below->spec.reset;
    if (settings_state(layer, LEVEL_RESET, "command") == SETTING_SET)
        reset->chip = reset->line = NULL;
    else if (has_key(layer, "chip") || has_key(layer, "line"))
        reset->command = NULL;
    const struct key *key = keys_find(LEVEL_HOST, "reset");
    if (layer->states[keys_index(key)] != SETTING_UNSET) {
        below->states[keys_index(key)] = layer->states[keys_index(key)];
        below->at[keys_index(key)] = reset->at = layer->at[keys_index(key)];
    }
    reset->present = reset->command != NULL || (reset->chip != NULL && reset->line != NULL);
}

enum setting_state settings_state(const struct settings *settings, enum key_level level,
                                  const char *name)
{
    return settings->states[keys_index(keys_find(level, name))];
}

struct position settings_place(const struct settings *settings, enum key_level level,
                               const char *name)
{
    return settings->at[keys_index(keys_find(level, name))];
}
