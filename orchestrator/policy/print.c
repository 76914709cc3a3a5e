/* SPDX-License-Identifier: Apache-2.0 */
/* `fleetflash policy list` and `fleetflash policy check FILE`. */
#include "policy/search.h"
#include "policy/set.h"
#include "policy/value.h"

#include <stdlib.h>

static void print_parameters(const struct ff_policy *policy, FILE *out)
{
    for (const struct ff_parameter *known = policy->parameters; known->key != NULL; known++) {
        const char *expected = policy_value_expected(known->type);
        fprintf(out, "    %-10s %s", known->key, known->help == NULL ? "" : known->help);
        if (known->required || known->list || expected != NULL)
            fprintf(out, " (%s%s%s%s%s)", known->required ? "required" : "",
                    known->required && (known->list || expected != NULL) ? ", " : "",
                    known->list ? "one or several" : "",
                    known->list && expected != NULL ? ", " : "", expected == NULL ? "" : expected);
        fputc('\n', out);
    }
}

static void print_policy(const struct ff_policy *policy, const char *file, FILE *out)
{
    fprintf(out, "%s - %s%s%s\n", policy->name, policy->longname,
            policy->description[0] == '\0' ? "" : ": ", policy->description);
    print_parameters(policy, out);
    fprintf(out, "    file: %s\n", file);
}

static void print_broken(const struct error *err, FILE *out)
{
    fprintf(out, "broken: %s\n", err->text);
    if (err->remedy[0] != '\0')
        fprintf(out, "    remedy: %s\n", err->remedy);
}

size_t policy_list_print(struct policy_set *set, FILE *out)
{
    size_t count = 0, usable = 0;
    char **names = policy_search_names(set->path, &count);
    for (size_t i = 0; names != NULL && i < count; i++) {
        struct error err = {.cls = ERROR_NONE};
        char *file = policy_search_file(set->path, names[i]);
        const struct ff_policy *policy = policy_set_find(set, names[i], &err);
        if (policy == NULL) {
            print_broken(&err, out);
        } else {
            print_policy(policy, file == NULL ? "" : file, out);
            usable++;
        }
        free(file);
    }
    if (count == 0)
        fprintf(out, "no policies in %s\n", set->path);
    policy_search_names_free(names, count);
    return usable;
}

int policy_check_print(struct policy_set *set, const char *file, FILE *out)
{
    struct error err = {.cls = ERROR_NONE};
    const struct ff_policy *policy = policy_set_load(set, file, &err);
    if (policy == NULL) {
        print_broken(&err, out);
        return 2;
    }
    print_policy(policy, file, out);
    fprintf(out, "OK: API version %d, undo: %s, check: %s\n", policy->api_version,
            policy->undo == NULL ? "no" : "yes", policy->check == NULL ? "no" : "yes");
    return 0;
}
