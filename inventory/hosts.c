/* SPDX-License-Identifier: Apache-2.0 */
/* Groups and hosts: names with ranges, bodies and references, inheritance. */
#include "model.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTINGS_MAX (16u * RANGE_HOSTS_MAX)

/* One entry of a group's `hosts`. */
struct listing {
    struct group *group;
    const struct yaml_entry *entry;
    struct range_pattern names;
    bool has_body;
    struct listing *next;
};

static int compare_names(const void *a, const void *b)
{
    const struct draft *one = a, *other = b;
    return strcmp(one->name, other->name);
}

static struct draft *find_draft(struct model *model, const char *name)
{
    struct draft wanted = {.name = name};
    struct draft **found = tfind(&wanted, &model->index, compare_names);
    return found == NULL ? NULL : *found;
}

static void join_group(struct model *model, struct draft *draft, struct group *group)
{
    for (size_t i = 0; i < draft->group_count; i++) {
        if (draft->groups[i] == group)
            return;
    }
    struct group **groups =
        arena_alloc(model->context.arena, (draft->group_count + 2) * sizeof *groups);
    if (draft->group_count > 0)
        memcpy(groups, draft->groups, draft->group_count * sizeof *groups);
    groups[draft->group_count++] = group;
    draft->groups = groups;
    group->member_count++;
}

/* --- bodies ------------------------------------------------------------------------------- */

/* Everything that a host inherits, and its own. */
static void settle(struct model *model, struct draft *draft, const struct settings *own)
{
    const struct settings *layers[] = {&model->defaults, draft->group->vars, own};
    draft->settings = model->builtin;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        if (layers[i] != NULL)
            settings_lay_over(&model->context, &draft->settings, layers[i], &model->builtin);
    }
    draft->own_reset = own == NULL ? SETTING_UNSET : settings_state(own, LEVEL_HOST, "reset");
}

static struct draft *draft_new(struct model *model, const struct listing *listing, const char *name)
{
    struct draft *draft = arena_alloc(model->context.arena, sizeof *draft);
    draft->name = arena_copy(model->context.arena, name, strlen(name));
    draft->written = listing->entry->key;
    draft->at = listing->entry->at;
    draft->group = listing->group;
    draft->has_body = listing->has_body;
    draft->is_counted = listing->names.total > 1;
    if (tsearch(draft, &model->index, compare_names) == NULL)
        return NULL;
    draft->sequence = model->draft_count++;
    return draft;
}

/* The name number index of a listing, checked. */
static int listing_name(struct model *model, const struct listing *listing, size_t index, char *out,
                        size_t out_size)
{
    char why[400];
    if (range_expand(&listing->names, index, out, out_size) != 0)
        return mistakes_add(model->context.mistakes, listing->entry->at,
                            "a host's name is longer than 253 characters");
    if (value_check_name(out, why, sizeof why) != 0)
        return mistakes_add(model->context.mistakes, listing->entry->at, "the host's name %s", why);
    return 0;
}

/* Makes the hosts of one listing with a body. tail is the end of the list of drafts. */
static struct draft **add_bodies(struct model *model, const struct listing *listing,
                                 struct draft **tail)
{
    const struct yaml_node *body = listing->entry->value;
    struct numbering numbering = {&listing->names, 0};
    struct settings own;
    settings_read(&model->context, body, LEVEL_HOST, &numbering, &own);
    for (size_t i = 0; i < listing->names.total; i++) {
        char name[300];
        if (listing_name(model, listing, i, name, sizeof name) != 0)
            return tail;
        numbering.index = i;
        if (i > 0)
            settings_renumber(&model->context, body, &numbering, &own);
        const struct draft *before = find_draft(model, name);
        if (before != NULL) {
            mistakes_add(model->context.mistakes, listing->entry->at,
                         "'%s' already has a body at line %u; leave the value empty to list it "
                         "here too",
                         name, before->at.line);
            continue;
        }
        struct draft *draft = draft_new(model, listing, name);
        if (draft == NULL)
            return tail;
        settle(model, draft, &own);
        *tail = draft;
        tail = &draft->next;
    }
    return tail;
}

/* A name with an empty value: a reference where it has a body elsewhere, else a host about which
 * nothing more is to say. */
static struct draft **add_references(struct model *model, const struct listing *listing,
                                     struct draft **tail)
{
    for (size_t i = 0; i < listing->names.total; i++) {
        char name[300];
        if (listing_name(model, listing, i, name, sizeof name) != 0)
            return tail;
        if (find_draft(model, name) != NULL)
            continue;
        if (model->draft_count == RANGE_HOSTS_MAX) {
            mistakes_add(model->context.mistakes, listing->entry->at,
                         "with '%s' there are more than %u hosts", listing->entry->key,
                         RANGE_HOSTS_MAX);
            return tail;
        }
        struct draft *draft = draft_new(model, listing, name);
        if (draft == NULL)
            return tail;
        settle(model, draft, NULL);
        *tail = draft;
        tail = &draft->next;
    }
    return tail;
}

/* --- listings ----------------------------------------------------------------------------- */

/* Returns 0 when the listing makes sense. */
static int read_listing(struct model *model, const struct yaml_entry *entry, struct listing *out)
{
    struct mistakes *mistakes = model->context.mistakes;
    const struct yaml_node *body = entry->value;
    char why[200];
    out->entry = entry;
    out->has_body = !body->is_null;
    if (range_parse(entry->key, &out->names, why, sizeof why) != 0)
        return mistakes_add(mistakes, entry->at, "the host's name '%s': %s", entry->key, why);
    if (out->names.total > RANGE_HOSTS_MAX)
        return mistakes_add(mistakes, entry->at,
                            "'%s' makes %zu hosts; an inventory has at most %u", entry->key,
                            out->names.total, RANGE_HOSTS_MAX);
    if (out->has_body && body->kind != YAML_MAP)
        return mistakes_add(mistakes, body->at,
                            "a host's body is a mapping like {host: 10.0.0.11}, or empty, not %s",
                            yaml_node_words(body));
    return 0;
}

/* All listings of all groups, in file order, up to the limits. */
static struct listing *read_listings(struct model *model)
{
    struct listing *listings = NULL, **tail = &listings;
    size_t bodies = 0, names = 0;
    for (struct group *group = model->groups; group != NULL; group = group->next) {
        const struct yaml_entry *entry = group->hosts == NULL ? NULL : group->hosts->first;
        for (; entry != NULL; entry = entry->next) {
            struct listing *listing = arena_alloc(model->context.arena, sizeof *listing);
            listing->group = group;
            if (read_listing(model, entry, listing) != 0)
                continue;
            names += listing->names.total;
            bodies += listing->has_body ? listing->names.total : 0;
            if (bodies > RANGE_HOSTS_MAX || names > LISTINGS_MAX) {
                mistakes_add(model->context.mistakes, entry->at,
                             "with '%s' there are more than %u hosts", entry->key, RANGE_HOSTS_MAX);
                return listings;
            }
            *tail = listing;
            tail = &listing->next;
        }
    }
    return listings;
}

/* Once all hosts are known. */
static void join_groups(struct model *model, const struct listing *listing)
{
    for (size_t i = 0; i < listing->names.total; i++) {
        char name[300];
        if (range_expand(&listing->names, i, name, sizeof name) != 0)
            return;
        struct draft *draft = find_draft(model, name);
        if (draft != NULL)
            join_group(model, draft, listing->group);
    }
}

static int compare_drafts(const void *a, const void *b)
{
    const struct draft *one = *(struct draft *const *)a, *other = *(struct draft *const *)b;
    if (one->at.line != other->at.line)
        return one->at.line < other->at.line ? -1 : 1;
    if (one->at.column != other->at.column)
        return one->at.column < other->at.column ? -1 : 1;
    return one->sequence < other->sequence ? -1 : 1;
}

/* Hosts with a body were made before those without: puts all into file order. */
static void sort_drafts(struct model *model)
{
    size_t n = 0;
    struct draft **all = calloc(model->draft_count + 1, sizeof *all);
    if (all == NULL)
        return;
    for (struct draft *draft = model->drafts; draft != NULL; draft = draft->next)
        all[n++] = draft;
    qsort(all, n, sizeof *all, compare_drafts);
    for (size_t i = 0; i < n; i++)
        all[i]->next = i + 1 < n ? all[i + 1] : NULL;
    model->drafts = n == 0 ? NULL : all[0];
    free(all);
}

/* --- groups ------------------------------------------------------------------------------- */

static const struct settings *read_vars(struct model *model, const struct yaml_node *vars,
                                        enum key_level level)
{
    if (vars->is_null)
        return NULL;
    if (vars->kind != YAML_MAP) {
        mistakes_add(model->context.mistakes, vars->at, "%s must be a mapping, not %s",
                     level == LEVEL_VARS ? "vars" : "defaults", yaml_node_words(vars));
        return NULL;
    }
    struct settings *settings = arena_alloc(model->context.arena, sizeof *settings);
    settings_read(&model->context, vars, level, &(struct numbering){NULL, 0}, settings);
    return settings;
}

static void read_members(struct model *model, struct group *group, const struct yaml_node *hosts)
{
    struct mistakes *mistakes = model->context.mistakes;
    if (hosts->kind == YAML_LIST)
        mistakes_add(mistakes, hosts->at,
                     "hosts must be a mapping, not a list: write 'pi-01:' instead of '- pi-01'");
    else if (hosts->is_null || (hosts->kind == YAML_MAP && hosts->count == 0))
        mistakes_add(mistakes, group->at, "the group '%s' has no hosts", group->name);
    else if (hosts->kind != YAML_MAP)
        mistakes_add(mistakes, hosts->at, "hosts must be a mapping of names, not text");
    else
        group->hosts = hosts;
}

static void read_group(struct model *model, struct group *group, const struct yaml_node *body)
{
    struct mistakes *mistakes = model->context.mistakes;
    bool has_hosts = false;
    char why[400];
    if (value_check_name(group->name, why, sizeof why) != 0)
        mistakes_add(mistakes, group->at, "the group's name %s", why);
    if (body->kind != YAML_MAP && !body->is_null) {
        mistakes_add(mistakes, body->at, "a group is a mapping with 'hosts' in it, not %s",
                     yaml_node_words(body));
        return;
    }
    for (const struct yaml_entry *entry = body->first; entry != NULL; entry = entry->next) {
        if (keys_find(LEVEL_GROUP, entry->key) == NULL) {
            has_hosts = true; /* perhaps that is what was meant */
            settings_unknown_key(&model->context, entry, LEVEL_GROUP);
        } else if (strcmp(entry->key, "vars") == 0) {
            group->vars = read_vars(model, entry->value, LEVEL_VARS);
        } else {
            has_hosts = true;
            read_members(model, group, entry->value);
        }
    }
    if (!has_hosts)
        mistakes_add(mistakes, group->at, "the group '%s' has no hosts", group->name);
}

static void read_groups(struct model *model, const struct yaml_node *groups)
{
    struct group **tail = &model->groups;
    if (groups->kind != YAML_MAP || groups->count == 0) {
        mistakes_add(model->context.mistakes, groups->at,
                     groups->is_null || groups->kind == YAML_MAP
                         ? "groups is empty: the inventory has no hosts"
                         : "groups must be a mapping of names");
        return;
    }
    for (const struct yaml_entry *entry = groups->first; entry != NULL; entry = entry->next) {
        struct group *group = arena_alloc(model->context.arena, sizeof *group);
        *group = (struct group){.name = entry->key, .at = entry->at, .wave = NO_WAVE};
        read_group(model, group, entry->value);
        *tail = group;
        tail = &group->next;
    }
}

void model_read_hosts(struct model *model, const struct yaml_node *defaults,
                      const struct yaml_node *groups)
{
    settings_builtin(&model->context, &model->builtin);
    const struct settings *read =
        defaults == NULL ? NULL : read_vars(model, defaults, LEVEL_DEFAULTS);
    if (read != NULL)
        model->defaults = *read;
    if (groups == NULL) {
        mistakes_add(model->context.mistakes, (struct position){0},
                     "there is no 'groups': the inventory has no hosts");
        return;
    }
    read_groups(model, groups);
    struct listing *listings = read_listings(model);
    struct draft **tail = &model->drafts;
    for (const struct listing *listing = listings; listing != NULL; listing = listing->next) {
        if (listing->has_body)
            tail = add_bodies(model, listing, tail);
    }
    for (const struct listing *listing = listings; listing != NULL; listing = listing->next) {
        if (!listing->has_body)
            tail = add_references(model, listing, tail);
    }
    sort_drafts(model);
    for (const struct listing *listing = listings; listing != NULL; listing = listing->next)
        join_groups(model, listing);
}
