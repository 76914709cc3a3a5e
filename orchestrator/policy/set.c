/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/set.h"
#include "policy/elf.h"
#include "policy/search.h"
#include "suggest.h"

#include <stdlib.h>
#include <string.h>

#define PROBE_TIMEOUT_MS 5000

struct policy_set *policy_set_new(uv_loop_t *loop)
{
    struct policy_set *set = calloc(1, sizeof *set);
    if (set == NULL)
        return NULL;
    set->loop = loop;
    LIST_INIT(&set->entries);
    set->path = policy_search_path();
    if (set->path == NULL) {
        free(set);
        return NULL;
    }
    return set;
}

void policy_set_free(struct policy_set *set)
{
    if (set == NULL)
        return;
    for (struct policy_entry *one; (one = LIST_FIRST(&set->entries)) != NULL;) {
        LIST_REMOVE(one, entry);
        if (one->file.handle != NULL)
            policy_file_close(&one->file);
        free(one->path);
        free(one);
    }
    free(set->path);
    free(set);
}

/* Everything that can be wrong with a file is found here, the dangerous part in a child. */
static void entry_load(struct policy_entry *one)
{
    char why[300];
    if (policy_elf_check(one->path, why, sizeof why) == 0 &&
        policy_file_probe(one->path, PROBE_TIMEOUT_MS, why, sizeof why) == 0 &&
        policy_file_open(&one->file, one->path, -1, why, sizeof why) == 0)
        return;
    error_set(&one->err, ERROR_USAGE, "policy %s is refused: %s", one->path, why);
    error_remedy(&one->err, "rebuild it against fleetflash/policy.h (API version %d), or remove it",
                 FF_POLICY_API_VERSION);
}

/* Takes the path over. */
static const struct ff_policy *set_load(struct policy_set *set, char *path, struct error *err)
{
    struct policy_entry *one;
    LIST_FOREACH(one, &set->entries, entry)
    {
        if (strcmp(one->path, path) == 0)
            break;
    }
    if (one != NULL) {
        free(path);
    } else if ((one = calloc(1, sizeof *one)) == NULL) {
        free(path);
        error_set(err, ERROR_IO, "no memory to load a policy");
        return NULL;
    } else {
        one->path = path;
        LIST_INSERT_HEAD(&set->entries, one, entry);
        entry_load(one);
    }
    if (one->file.handle != NULL)
        return &one->file.table.policy;
    if (err != NULL)
        *err = one->err;
    return NULL;
}

const struct ff_policy *policy_set_load(struct policy_set *set, const char *file, struct error *err)
{
    char *path = policy_search_absolute(file);
    if (path == NULL) {
        error_set(err, ERROR_IO, "no memory to load a policy");
        return NULL;
    }
    return set_load(set, path, err);
}

/* Why there is no such policy, and which ones there are. */
static void error_not_found(const struct policy_set *set, const char *name, struct error *err)
{
    size_t count = 0;
    char **names = policy_search_names(set->path, &count);
    struct suggestion similar = {.word = name};
    for (size_t i = 0; names != NULL && i < count; i++)
        suggest_consider(&similar, names[i]);
    char did_you_mean[80];
    suggest_text(&similar, did_you_mean, sizeof did_you_mean);
    error_set(err, ERROR_USAGE, "there is no policy '%.60s'%s", name, did_you_mean);
    error_remedy(err, "`fleetflash policy list` shows the policies in %.120s", set->path);
    policy_search_names_free(names, count);
}

const struct ff_policy *policy_set_find(struct policy_set *set, const char *name, struct error *err)
{
    /* A name is no path: it comes from an inventory. */
    char *path = strchr(name, '/') != NULL ? NULL : policy_search_file(set->path, name);
    if (path != NULL)
        return set_load(set, path, err);
    error_not_found(set, name, err);
    return NULL;
}
