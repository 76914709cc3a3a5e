/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `docker`: stops the containers that carry one of the given labels, with docker or podman,
 * and starts the very same ones again on undo. The containers' storage is the fence's business.
 *
 * ps, and then stop in one command; ps once more has to be empty: a supervisor may have started
 * others. */
#include "../common/finish.h"

#include <fleetflash/policy.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SURVEY_TIMEOUT_MS 60000u
#define TIMEOUT_MS        30000u
#define TIMEOUT_MAX_MS    600000u /* for each container */
#define CONTAINERS_MAX    64u
#define NO_ENGINE         99 /* exit status of our own command */

struct container {
    char id[72]; /* 64 hex digits */
    char name[80];
};

struct work {
    struct container containers[CONTAINERS_MAX];
    size_t count;
    char engine[16];
    uint64_t timeout_ms;
    bool stop_asked;
};

/* --- what runs -------------------------------------------------------------------------------- */

/* Prints the engine, then "ID NAME" of each container that runs and has one of the labels. */
static void survey_run(const struct ff_host *host, struct ff_target *target,
                       ff_command_callback callback)
{
    const char *engine = host->parameter(target, "engine", 0), *label;
    char *command = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&command, &size);
    if (stream == NULL) {
        finish_no_memory(host, target);
        return;
    }
    fprintf(stream,
            "for e in %s; do command -v $e >/dev/null 2>&1 && break; e=; done\n"
            "[ -n \"$e\" ] || exit %d\necho $e\n",
            engine == NULL || strcmp(engine, "auto") == 0 ? "docker podman" : engine, NO_ENGINE);
    for (size_t i = 0; (label = host->parameter(target, "label", i)) != NULL; i++) {
        const char *quoted = host->quote(target, label);
        fprintf(stream,
                "$e ps --no-trunc --format '{{.ID}} {{.Names}}' --filter label=%s || exit 1\n",
                quoted == NULL ? "''" : quoted);
    }
    if (fclose(stream) != 0 || host->run(target, command, SURVEY_TIMEOUT_MS, callback, NULL) != 0)
        finish_no_memory(host, target);
    free(command);
}

static bool is_id(const char *id)
{
    size_t length = strlen(id);
    return length >= 12 && length <= 64 && strspn(id, "0123456789abcdef") == length;
}

/* Reads the answer into *list; false when it is none, the verdict is given then. */
static bool survey_read(const struct ff_host *host, struct ff_target *target,
                        const struct ff_result *result, struct work *list)
{
    const char *at = result->out;
    int size;
    list->count = 0;
    if (result->exit_status == NO_ENGINE) {
        host->finish(target, FF_VERDICT_FAIL,
                     "the device has neither docker nor podman, or not the one asked for");
        return false;
    }
    if (result->exit_status != 0 || result->truncated ||
        sscanf(at, "%15[a-z]%n", list->engine, &size) != 1) {
        finish_failed(host, target, "asking which containers run", result);
        return false;
    }
    struct container container;
    for (at += size; sscanf(at, " %71s %79s%n", container.id, container.name, &size) == 2;
         at += size) {
        bool known = !is_id(container.id);
        for (size_t i = 0; i < list->count; i++)
            known |= strcmp(list->containers[i].id, container.id) == 0;
        if (known)
            continue;
        if (list->count == CONTAINERS_MAX) {
            host->finish(target, FF_VERDICT_FAIL, "more than 64 containers carry these labels");
            return false;
        }
        list->containers[list->count++] = container;
    }
    return true;
}

/* "ENGINE VERB ID…" over all containers, from the last to the first with backwards; for free().
 * NULL when memory is short. */
static char *containers_command(const struct work *work, const char *verb, bool backwards)
{
    char *command = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&command, &size);
    if (stream == NULL)
        return NULL;
    fprintf(stream, "%s %s", work->engine, verb);
    for (size_t i = 0; i < work->count; i++)
        fprintf(stream, " %s", work->containers[backwards ? work->count - 1 - i : i].id);
    fprintf(stream, " >/dev/null </dev/null");
    if (fclose(stream) == 0)
        return command;
    free(command);
    return NULL;
}

static void containers_run(const struct ff_host *host, struct ff_target *target, const char *verb,
                           bool backwards, ff_command_callback callback)
{
    const struct work *work = target->policy_data;
    char *command = containers_command(work, verb, backwards);
    unsigned timeout = (unsigned)(work->timeout_ms + 10000) * (unsigned)work->count;
    if (command == NULL || host->run(target, command, timeout, callback, NULL) != 0)
        finish_no_memory(host, target);
    free(command);
}

/* --- stop ------------------------------------------------------------------------------------- */

static void checked_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    struct work *now = calloc(1, sizeof *now);
    char reason[200];
    (void)data;
    if (now == NULL) {
        finish_no_memory(host, target);
        return;
    }
    if (survey_read(host, target, result, now)) {
        if (now->count == 0) {
            host->finish(target, FF_VERDICT_GO, NULL);
        } else {
            snprintf(reason, sizeof reason,
                     "container %s still runs after the stop, or was started again",
                     now->containers[0].name);
            host->finish(target, FF_VERDICT_FAIL, reason);
        }
    }
    free(now);
}

/* What counts is what runs afterwards. */
static void stopped_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    char detail[200];
    (void)data;
    if (result->exit_status != 0) {
        result_describe(result, detail, sizeof detail);
        host->log(target, "stop: %s", detail);
    }
    survey_run(host, target, checked_callback);
}

static void stop_them(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    char verb[40];
    snprintf(verb, sizeof verb, "stop -t %u", (unsigned)(work->timeout_ms / 1000));
    work->stop_asked = true;
    containers_run(host, target, verb, false, stopped_callback);
}

static void left_callback(const struct ff_host *host, struct ff_target *target,
                          const struct ff_result *result, void *data)
{
    (void)data;
    undo_left(host, target, result);
    stop_them(host, target);
}

/* For whoever has to start them again instead of us: one that runs stays as it is. */
static bool leave_word(const struct ff_host *host, struct ff_target *target)
{
    char *command =
        FF_KNOWS(host, leave_undo) ? containers_command(target->policy_data, "start", true) : NULL;
    bool asked = command != NULL && host->leave_undo(target, command, left_callback, NULL) == 0;
    free(command);
    return asked;
}

static void surveyed_callback(const struct ff_host *host, struct ff_target *target,
                              const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    (void)data;
    if (!survey_read(host, target, result, work))
        return;
    if (work->count == 0) {
        host->log(target, "no container with these labels runs");
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    for (size_t i = 0; i < work->count; i++)
        host->log(target, "stopping container %s", work->containers[i].name);
    host->deadline(target, (unsigned)(work->timeout_ms + 10000) * (unsigned)work->count +
                               3 * SURVEY_TIMEOUT_MS);
    if (!leave_word(host, target))
        stop_them(host, target);
}

static void docker_stop(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = calloc(1, sizeof *work);
    target->policy_data = work;
    if (work == NULL) {
        finish_no_memory(host, target);
        return;
    }
    work->timeout_ms = host->number(target, "timeout", TIMEOUT_MS);
    survey_run(host, target, surveyed_callback);
}

/* --- undo ------------------------------------------------------------------------------------- */

static void started_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else /* one that was started with --rm is gone, for instance */
        finish_failed(host, target, "starting the containers again", result);
}

static void docker_undo(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    if (work == NULL || !work->stop_asked) {
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    for (size_t i = work->count; i-- > 0;)
        host->log(target, "starting container %s", work->containers[i].name);
    host->deadline(target, (unsigned)(work->timeout_ms + 10000) * (unsigned)work->count + 10000);
    containers_run(host, target, "start", true, started_callback);
}

static void docker_end(const struct ff_host *host, struct ff_target *target)
{
    (void)host;
    free(target->policy_data);
}

/* --- the policy ------------------------------------------------------------------------------- */

static void docker_check(const struct ff_host *host, struct ff_target *target)
{
    const char *engine = host->parameter(target, "engine", 0), *label;
    for (size_t i = 0; (label = host->parameter(target, "label", i)) != NULL; i++) {
        if (label[0] == '\0' || label[0] == '=')
            host->mistake(target, "label", "'%.60s' is no label: KEY or KEY=VALUE", label);
    }
    if (engine != NULL && strcmp(engine, "auto") != 0 && strcmp(engine, "docker") != 0 &&
        strcmp(engine, "podman") != 0)
        host->mistake(target, "engine", "'%.60s': docker, podman or auto", engine);
    if (host->number(target, "timeout", 0) > TIMEOUT_MAX_MS)
        host->mistake(target, "timeout", "'timeout' is for each container and can be 10m at most");
}

static const struct ff_parameter parameters[] = {
    {.key = "label",
     .help = "labels, KEY or KEY=VALUE: containers with one of them stop",
     .required = 1,
     .list = 1},
    {.key = "timeout",
     .help = "how long each may take to stop before it is killed; default 30s",
     .type = FF_TYPE_DURATION},
    {.key = "engine", .help = "docker, podman or auto (what the device has); default auto"},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,         .name = "docker",
    .longname = "containers", .description = "stops docker's or podman's containers by label",
    .parameters = parameters, .check = docker_check,
    .stop = docker_stop,      .undo = docker_undo,
    .end = docker_end,
};
FF_REGISTER_POLICY(policy)
