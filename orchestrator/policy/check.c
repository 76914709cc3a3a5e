/* SPDX-License-Identifier: Apache-2.0 */
/* The `services` of every target against what their policies know. */
#include "policy/run.h"
#include "policy/set.h"
#include "policy/value.h"
#include "suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A mistake inherited by many targets is one mistake. */
struct seen {
    struct seen *next;
    struct position at;
    char text[];
};

struct checker {
    struct run_mistakes mistakes; /* for the policy's own check */
    struct policy_set *set;
    const char *file;
    struct diagnostics *list;
    struct seen *seen;
    size_t count;       /* different mistakes */
    bool target_is_bad; /* the target at hand has one, new or not */
    const struct ff_policy *policy;
    const struct services_spec *services;
};

static void checker_add(struct checker *checker, struct position at, const char *text)
{
    checker->target_is_bad = true;
    for (struct seen *seen = checker->seen; seen != NULL; seen = seen->next) {
        if (seen->at.line == at.line && seen->at.column == at.column &&
            strcmp(seen->text, text) == 0)
            return;
    }
    struct seen *seen = malloc(sizeof *seen + strlen(text) + 1);
    if (seen != NULL) {
        seen->next = checker->seen;
        seen->at = at;
        memcpy(seen->text, text, strlen(text) + 1);
        checker->seen = seen;
    }
    diagnostics_add(checker->list, checker->file, at, "%s", text);
    checker->count++;
}

static void checker_free(struct checker *checker)
{
    while (checker->seen != NULL) {
        struct seen *seen = checker->seen;
        checker->seen = seen->next;
        free(seen);
    }
}

static const struct policy_parameter *find_written(const struct services_spec *services,
                                                   const char *key)
{
    for (size_t i = 0; i < services->parameter_count; i++) {
        if (strcmp(services->parameters[i].key, key) == 0)
            return &services->parameters[i];
    }
    return NULL;
}

static const struct ff_parameter *find_known(const struct ff_policy *policy, const char *key)
{
    for (const struct ff_parameter *known = policy->parameters; known->key != NULL; known++) {
        if (strcmp(known->key, key) == 0)
            return known;
    }
    return NULL;
}

static void check_unknown(struct checker *checker, const struct policy_parameter *written)
{
    struct suggestion similar = {.word = written->key};
    char text[300], did_you_mean[80];
    for (const struct ff_parameter *known = checker->policy->parameters; known->key != NULL;
         known++)
        suggest_consider(&similar, known->key);
    snprintf(text, sizeof text, "policy '%.60s' has no parameter '%.60s'%s", checker->policy->name,
             written->key, suggest_text(&similar, did_you_mean, sizeof did_you_mean));
    checker_add(checker, written->at, text);
}

static void check_values(struct checker *checker, const struct policy_parameter *written,
                         const struct ff_parameter *known)
{
    char text[300];
    size_t count = 0;
    const char *expected = policy_value_expected(known->type);
    for (; written->values[count] != NULL; count++) {
        uint64_t number;
        if (expected == NULL ||
            policy_value_parse(known->type, written->values[count], &number) == 0)
            continue;
        snprintf(text, sizeof text, "'%.60s' must be %s, not '%.60s'", written->key, expected,
                 written->values[count]);
        checker_add(checker, written->at, text);
    }
    if (count > 1 && !known->list) {
        snprintf(text, sizeof text, "'%.60s' takes one value, not a list of %zu", written->key,
                 count);
        checker_add(checker, written->at, text);
    } else if (count == 0 && known->required) {
        snprintf(text, sizeof text, "'%.60s' needs a value", written->key);
        checker_add(checker, written->at, text);
    }
}

static void check_required(struct checker *checker)
{
    char text[300];
    for (const struct ff_parameter *known = checker->policy->parameters; known->key != NULL;
         known++) {
        if (!known->required || find_written(checker->services, known->key) != NULL)
            continue;
        snprintf(text, sizeof text, "policy '%.60s' needs the parameter '%.60s'%s%.120s",
                 checker->policy->name, known->key, known->help == NULL ? "" : ": ",
                 known->help == NULL ? "" : known->help);
        checker_add(checker, checker->services->at, text);
    }
}

/* What the policy's own check finds (ff_host.mistake). */
static void own_mistake(struct run_mistakes *mistakes, const char *key, const char *text)
{
    struct checker *checker = (struct checker *)mistakes;
    const struct policy_parameter *written =
        key == NULL ? NULL : find_written(checker->services, key);
    checker_add(checker, written == NULL ? checker->services->at : written->at, text);
}

static void check_own(struct checker *checker, const struct target_spec *spec)
{
    struct policy_run run = {.phase = RUN_CHECKING, .mistakes = &checker->mistakes};
    const struct policy_target target = {.spec = spec};
    policy_run_init(&run, checker->set, checker->policy, &target);
    checker->policy->check(&policy_host, &run.target);
    policy_run_memory_free(&run);
}

static void check_target(struct checker *checker, const struct target_spec *spec)
{
    struct error err;
    checker->target_is_bad = false;
    checker->services = &spec->services;
    checker->policy = policy_set_find(checker->set, spec->services.policy, &err);
    if (checker->policy == NULL) {
        checker_add(checker, spec->services.at, err.text);
        return;
    }
    for (size_t i = 0; i < spec->services.parameter_count; i++) {
        const struct policy_parameter *written = &spec->services.parameters[i];
        const struct ff_parameter *known = find_known(checker->policy, written->key);
        if (known == NULL)
            check_unknown(checker, written);
        else
            check_values(checker, written, known);
    }
    check_required(checker);
    /* The policy's own check may rely on its table. */
    if (!checker->target_is_bad && checker->policy->check != NULL)
        check_own(checker, spec);
}

size_t policy_set_check(struct policy_set *set, const struct inventory *inventory,
                        const bool *selected, struct diagnostics *mistakes)
{
    struct checker checker = {
        .mistakes = {own_mistake}, .set = set, .file = inventory->file, .list = mistakes};
    for (size_t i = 0; i < inventory->target_count; i++) {
        if ((selected == NULL || selected[i]) && inventory->targets[i].services.policy != NULL)
            check_target(&checker, &inventory->targets[i]);
    }
    checker_free(&checker);
    return checker.count;
}
