/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <string.h>

/* One or several texts. Returns NULL after noting a mistake. */
static const char *const *read_values(const struct context *context, const struct yaml_entry *entry)
{
    const struct yaml_node *node = entry->value;
    if (node->kind == YAML_MAP || node->is_null) {
        mistakes_add(context->mistakes, node->at,
                     "the parameter '%s' must be a text or a list of texts, not %s", entry->key,
                     yaml_node_words(node));
        return NULL;
    }
    size_t count = node->kind == YAML_TEXT ? 1 : node->count;
    const char **values = arena_alloc(context->arena, (count + 1) * sizeof *values);
    if (node->kind == YAML_TEXT) {
        values[0] = node->text;
        return values;
    }
    size_t n = 0;
    bool is_wrong = false;
    for (const struct yaml_entry *item = node->first; item != NULL; item = item->next) {
        if (item->value->kind != YAML_TEXT || item->value->is_null) {
            mistakes_add(context->mistakes, item->value->at,
                         "the list '%s' holds texts only, not %s", entry->key,
                         yaml_node_words(item->value));
            is_wrong = true;
            continue;
        }
        values[n++] = item->value->text;
    }
    return is_wrong ? NULL : values;
}

static int read_policy(const struct context *context, const struct yaml_node *node,
                       struct services_spec *out)
{
    char why[400];
    if (node->kind != YAML_TEXT || node->is_null)
        return mistakes_add(context->mistakes, node->at, "policy must be a name, not %s",
                            yaml_node_words(node));
    if (value_check_name(node->text, why, sizeof why) != 0)
        return mistakes_add(context->mistakes, node->at, "policy %s", why);
    out->policy = node->text;
    return 0;
}

int services_read(const struct context *context, const struct yaml_node *map,
                  struct services_spec *out)
{
    *out = (struct services_spec){.at = map->at};
    if (map->kind != YAML_MAP)
        return mistakes_add(context->mistakes, map->at,
                            "services must be a mapping like {policy: systemd}, not %s",
                            yaml_node_words(map));
    int result = 0;
    struct policy_parameter *parameters =
        arena_alloc(context->arena, (map->count + 1) * sizeof *parameters);
    for (const struct yaml_entry *entry = map->first; entry != NULL; entry = entry->next) {
        if (keys_find(LEVEL_SERVICES, entry->key) != NULL) {
            if (read_policy(context, entry->value, out) != 0)
                result = -1;
            continue;
        }
        const char *const *values = read_values(context, entry);
        if (values == NULL) {
            result = -1;
            continue;
        }
        parameters[out->parameter_count++] =
            (struct policy_parameter){.key = entry->key, .values = values, .at = entry->at};
    }
    out->parameters = parameters;
    return result;
}

static struct policy_parameter *find(struct policy_parameter *parameters, size_t count,
                                     const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(parameters[i].key, key) == 0)
            return &parameters[i];
    }
    return NULL;
}

void services_lay_over(const struct context *context, struct services_spec *below,
                       const struct services_spec *above)
{
    bool is_other = above->policy != NULL &&
                    (below->policy == NULL || strcmp(above->policy, below->policy) != 0);
    if (is_other) {
        *below = *above;
        return;
    }
    size_t count = below->parameter_count;
    struct policy_parameter *parameters =
        arena_alloc(context->arena, (count + above->parameter_count + 1) * sizeof *parameters);
    if (count > 0)
        memcpy(parameters, below->parameters, count * sizeof *parameters);
    for (size_t i = 0; i < above->parameter_count; i++) {
        struct policy_parameter *same = find(parameters, count, above->parameters[i].key);
        if (same == NULL)
            same = &parameters[count++];
        *same = above->parameters[i];
    }
    below->parameters = parameters;
    below->parameter_count = count;
    below->at = above->at;
}
