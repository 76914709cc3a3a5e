/* SPDX-License-Identifier: Apache-2.0 */
/* `rollout` and `notify`. */
#include "model.h"
#include "suggest.h"

#include <string.h>

static struct group *find_group(const struct model *model, const char *name)
{
    struct group *group = model->groups;
    while (group != NULL && strcmp(group->name, name) != 0)
        group = group->next;
    return group;
}

static int unknown_group(const struct model *model, const struct yaml_node *node)
{
    char text[300];
    struct suggestion suggestion = {.word = node->text};
    for (const struct group *group = model->groups; group != NULL; group = group->next)
        suggest_consider(&suggestion, group->name);
    return mistakes_add(model->context.mistakes, node->at, "there is no group '%s'%s", node->text,
                        suggest_text(&suggestion, text, sizeof text));
}

/* One name of a wave's `groups`. Returns 0 when it may be kept. */
static int take_group(struct model *model, const struct yaml_node *node, unsigned wave)
{
    struct mistakes *mistakes = model->context.mistakes;
    if (node->kind != YAML_TEXT || node->is_null)
        return mistakes_add(mistakes, node->at, "groups holds names, not %s",
                            yaml_node_words(node));
    struct group *group = find_group(model, node->text);
    if (group == NULL)
        return unknown_group(model, node);
    if (group->wave == wave)
        return mistakes_add(mistakes, node->at, "the group '%s' is twice in this wave",
                            group->name);
    if (group->wave != NO_WAVE)
        return mistakes_add(mistakes, node->at, "the group '%s' is already in wave %u (line %u)",
                            group->name, group->wave + 1, model->waves[group->wave].at.line);
    group->wave = wave;
    group->wave_at = node->at;
    return 0;
}

static void read_wave_groups(struct model *model, const struct yaml_node *node, unsigned wave)
{
    size_t room = node->kind == YAML_LIST ? node->count : 1, n = 0;
    const char **names = arena_alloc(model->context.arena, (room + 1) * sizeof *names);
    model->waves[wave].groups = names;
    if (node->kind == YAML_TEXT && !node->is_null) {
        if (take_group(model, node, wave) == 0)
            names[0] = node->text;
        return;
    }
    if (node->kind != YAML_LIST || node->count == 0) {
        mistakes_add(model->context.mistakes, node->at, "groups must be a list of names, not %s",
                     node->kind == YAML_LIST ? "an empty one" : yaml_node_words(node));
        return;
    }
    for (const struct yaml_entry *item = node->first; item != NULL; item = item->next) {
        if (take_group(model, item->value, wave) == 0)
            names[n++] = item->value->text;
    }
}

static void read_member(const struct context *context, const struct key *key,
                        const struct yaml_node *node, void *base)
{
    if (node->kind == YAML_TEXT && node->is_null && key->value == NULL && key->fallback == NULL)
        mistakes_add(context->mistakes, node->at, "%s is empty", key->name);
    else if (node->kind != YAML_TEXT)
        mistakes_add(context->mistakes, node->at, "%s must be one value, not %s", key->name,
                     yaml_node_words(node));
    else if (!node->is_null)
        value_read(context, key, node->text, node->at, base);
}

/* Fills base with the defaults of a level's keys. */
static void set_defaults(const struct context *context, enum key_level level, void *base)
{
    size_t count;
    const struct key *keys = keys_all(&count);
    for (size_t i = 0; i < count; i++) {
        if ((keys[i].levels & level) != 0 && keys[i].size > 0 && keys[i].value != NULL)
            value_read(context, &keys[i], keys[i].value, (struct position){0}, base);
    }
}

static void read_wave(struct model *model, const struct yaml_node *node, unsigned index)
{
    static const char *const no_groups[] = {NULL};
    struct wave_spec *wave = &model->waves[index];
    *wave =
        (struct wave_spec){.groups = no_groups, .window_from = -1, .window_to = -1, .at = node->at};
    set_defaults(&model->context, LEVEL_WAVE, wave);
    if (node->kind != YAML_MAP) {
        mistakes_add(model->context.mistakes, node->at,
                     "a wave is a mapping like {groups: [canary]}, not %s", yaml_node_words(node));
        return;
    }
    bool has_groups = false;
    for (const struct yaml_entry *entry = node->first; entry != NULL; entry = entry->next) {
        const struct key *key = keys_find(LEVEL_WAVE, entry->key);
        if (key == NULL) {
            settings_unknown_key(&model->context, entry, LEVEL_WAVE);
        } else if (key->type == TYPE_NAMES) {
            has_groups = true;
            read_wave_groups(model, entry->value, index);
        } else {
            read_member(&model->context, key, entry->value, wave);
        }
    }
    if (!has_groups)
        mistakes_add(model->context.mistakes, node->at, "the wave has no 'groups'");
}

static void read_waves(struct model *model, const struct yaml_node *node)
{
    if (node->kind != YAML_LIST || node->count == 0) {
        mistakes_add(model->context.mistakes, node->at, "waves must be a list of waves, not %s",
                     node->kind == YAML_LIST ? "an empty one" : yaml_node_words(node));
        return;
    }
    model->waves = arena_alloc(model->context.arena, node->count * sizeof *model->waves);
    for (const struct yaml_entry *item = node->first; item != NULL; item = item->next) {
        unsigned index = (unsigned)model->wave_count++;
        read_wave(model, item->value, index);
    }
}

void model_read_rollout(struct model *model, const struct yaml_node *rollout)
{
    if (rollout == NULL || rollout->is_null)
        return;
    if (rollout->kind != YAML_MAP) {
        mistakes_add(model->context.mistakes, rollout->at, "rollout must be a mapping, not %s",
                     yaml_node_words(rollout));
        return;
    }
    for (const struct yaml_entry *entry = rollout->first; entry != NULL; entry = entry->next) {
        if (keys_find(LEVEL_ROLLOUT, entry->key) == NULL)
            settings_unknown_key(&model->context, entry, LEVEL_ROLLOUT);
        else
            read_waves(model, entry->value);
    }
}

void model_read_notify(struct model *model, const struct yaml_node *notify)
{
    if (notify == NULL || notify->is_null)
        return;
    struct mistakes *mistakes = model->context.mistakes;
    if (notify->kind != YAML_MAP) {
        mistakes_add(mistakes, notify->at,
                     "notify must be a mapping like {on: failure, command: …}, not %s",
                     yaml_node_words(notify));
        return;
    }
    bool has_command = false;
    set_defaults(&model->context, LEVEL_NOTIFY, &model->notify);
    for (const struct yaml_entry *entry = notify->first; entry != NULL; entry = entry->next) {
        const struct key *key = keys_find(LEVEL_NOTIFY, entry->key);
        if (key == NULL) {
            settings_unknown_key(&model->context, entry, LEVEL_NOTIFY);
            continue;
        }
        has_command = has_command || strcmp(key->name, "command") == 0;
        read_member(&model->context, key, entry->value, &model->notify);
    }
    if (!has_command)
        mistakes_add(mistakes, notify->at, "notify has no 'command'");
}
