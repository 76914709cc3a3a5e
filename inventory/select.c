/* SPDX-License-Identifier: Apache-2.0 */
/* Which targets a pattern means, and what follows from that. */
#include "inventory.h"
#include "ranges.h"
#include "suggest.h"

#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One part of a --limit pattern. */
struct part {
    const char *text; /* without '!' */
    bool is_exclusion;
    struct range_pattern range; /* count 0: a name or glob */
};

static bool range_holds(const struct range_pattern *range, const char *name)
{
    char text[300];
    for (size_t i = 0; i < range->total && i < RANGE_HOSTS_MAX; i++) {
        if (range_expand(range, i, text, sizeof text) == 0 && strcmp(text, name) == 0)
            return true;
    }
    return false;
}

static bool matches(const struct part *part, const char *name)
{
    if (part->range.count > 0)
        return range_holds(&part->range, name);
    return fnmatch(part->text, name, 0) == 0;
}

static bool part_means(const struct part *part, const struct target_spec *target)
{
    if (matches(part, target->name))
        return true;
    for (const char *const *group = target->groups; *group != NULL; group++) {
        if (matches(part, *group))
            return true;
    }
    return false;
}

static int tell_no_match(const struct inventory *inventory, const struct part *part, char *message,
                         size_t message_size)
{
    char text[300];
    struct suggestion suggestion = {.word = part->text};
    for (size_t i = 0; i < inventory->target_count; i++) {
        const struct target_spec *target = &inventory->targets[i];
        suggest_consider(&suggestion, target->name);
        for (const char *const *group = target->groups; *group != NULL; group++)
            suggest_consider(&suggestion, *group);
    }
    snprintf(message, message_size, "no host and no group of %s matches '%s'%s", inventory->file,
             part->text, suggest_text(&suggestion, text, sizeof text));
    return -1;
}

/* Marks what a part means in chosen or excluded. */
static int apply_part(const struct inventory *inventory, const struct part *part, bool *chosen,
                      bool *excluded, char *message, size_t message_size)
{
    size_t matched = 0;
    for (size_t i = 0; i < inventory->target_count; i++) {
        if (!part_means(part, &inventory->targets[i]))
            continue;
        matched++;
        *(part->is_exclusion ? &excluded[i] : &chosen[i]) = true;
    }
    return matched > 0 ? 0 : tell_no_match(inventory, part, message, message_size);
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        text[--length] = '\0';
    return text;
}

/* Reads one part; returns -1 when there is nothing in it. */
static int parse_part(char *text, struct part *part, const char *pattern, char *message,
                      size_t message_size)
{
    char why[200];
    text = trim(text);
    part->is_exclusion = *text == '!';
    part->text = trim(text + (part->is_exclusion ? 1 : 0));
    if (*part->text == '\0') {
        snprintf(message, message_size, "the pattern '%s' has an empty part", pattern);
        return -1;
    }
    if (range_parse(part->text, &part->range, why, sizeof why) != 0)
        part->range.count = 0; /* a glob's brackets */
    return 0;
}

int inventory_select(const struct inventory *inventory, const char *pattern, bool *selected,
                     char *message, size_t message_size)
{
    int count = -1;
    bool has_choice = false;
    char *copy = strdup(pattern), *rest = copy, *text;
    bool *excluded = calloc(inventory->target_count + 1, sizeof *excluded);
    if (copy == NULL || excluded == NULL) {
        snprintf(message, message_size, "out of memory");
        goto done;
    }
    memset(selected, 0, inventory->target_count * sizeof *selected);
    while ((text = strsep(&rest, ",")) != NULL) {
        struct part part;
        if (parse_part(text, &part, pattern, message, message_size) != 0 ||
            apply_part(inventory, &part, selected, excluded, message, message_size) != 0)
            goto done;
        has_choice = has_choice || !part.is_exclusion;
    }
    count = 0;
    for (size_t i = 0; i < inventory->target_count; i++) {
        selected[i] = (selected[i] || !has_choice) && !excluded[i];
        count += selected[i] ? 1 : 0;
    }
done:
    free(copy);
    free(excluded);
    return count;
}

size_t failure_limit_allows(const struct failure_limit *limit, size_t targets)
{
    if (!limit->present)
        return SIZE_MAX;
    return limit->is_percent ? targets * limit->value / 100 : limit->value;
}

int inventory_wave_of(const struct inventory *inventory, size_t target)
{
    for (size_t i = 0; i < inventory->wave_count; i++) {
        for (const char *const *wanted = inventory->waves[i].groups; *wanted != NULL; wanted++) {
            const char *const *group = inventory->targets[target].groups;
            for (; *group != NULL; group++) {
                if (strcmp(*group, *wanted) == 0)
                    return (int)i;
            }
        }
    }
    return -1;
}
