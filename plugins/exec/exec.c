/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `exec`: a program on the controller decides. It gets the target as a JSON object on its
 * stdin, and says by its exit status: 0 go on; 10 leave this device alone, 75 (EX_TEMPFAIL of
 * sysexits.h) not now, the first line of stdout is the reason of both; anything else a failure, the
 * first line of stderr says what.
 */
#include <fleetflash/policy.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS     300000u
#define TIMEOUT_MAX_MS 3000000u /* the host's bound on the whole is an hour */
#define AGAIN_MS       300000u
#define AGAIN_MAX_MS   3600000u
#define EXIT_VETO      10
#define EXIT_NOT_NOW   75

struct work {
    bool vetoed;
};

static size_t count_values(const struct ff_host *host, struct ff_target *target, const char *key)
{
    size_t count = 0;
    while (host->parameter(target, key, count) != NULL)
        count++;
    return count;
}

/* --- input ------------------------------------------------------------------------------------ */

/* Bytes that are no UTF-8 (a path may have them) cannot be in JSON: they become '?'. */
static json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    char *copy = strdup(text);
    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    value = copy == NULL ? NULL : json_string(copy);
    free(copy);
    return value;
}

static json_t *json_list(const struct ff_host *host, struct ff_target *target, const char *key)
{
    json_t *list = json_array();
    const char *value;
    for (size_t i = 0; (value = host->parameter(target, key, i)) != NULL; i++)
        json_array_append_new(list, json_text(value));
    return list;
}

/* The whole input, for free(); NULL when memory is short. */
static char *make_input(const struct ff_host *host, struct ff_target *target, const char *action)
{
    json_t *parameters = json_object();
    json_t *input = json_object();
    json_object_set_new(parameters, "command", json_list(host, target, "command"));
    if (host->parameter(target, "undo", 0) != NULL)
        json_object_set_new(parameters, "undo", json_list(host, target, "undo"));
    if (host->parameter(target, "timeout", 0) != NULL)
        json_object_set_new(parameters, "timeout",
                            json_text(host->parameter(target, "timeout", 0)));
    json_object_set_new(input, "action", json_text(action));
    json_object_set_new(input, "target", json_text(target->name));
    json_object_set_new(input, "group", json_text(target->group));
    json_object_set_new(input, "address", json_text(target->address));
    json_object_set_new(input, "mode", json_text(target->mode));
    json_object_set_new(input, "image", json_text(target->image));
    json_object_set_new(input, "run", json_text(target->run_id));
    json_object_set_new(input, "parameters", parameters);
    char *text = input == NULL ? NULL : json_dumps(input, JSON_COMPACT);
    json_decref(input);
    return text;
}

/* --- running ---------------------------------------------------------------------------------- */

static void ended_callback(const struct ff_host *host, struct ff_target *target,
                           const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    const char *key = data;
    const char *program = host->parameter(target, key, 0);
    char reason[300];
    size_t err_length = strcspn(result->err, "\r\n");
    if (result->exit_status == 0) {
        host->finish(target, FF_VERDICT_GO, NULL);
    } else if (result->exit_status == EXIT_VETO) {
        work->vetoed = true;
        host->finish(target, FF_VERDICT_VETO,
                     result->out[0] != '\0' ? result->out : "the program gave no reason");
    } else if (result->exit_status == EXIT_NOT_NOW && strcmp(key, "command") == 0 &&
               FF_KNOWS(host, postpone)) {
        work->vetoed = true;
        host->postpone(target, (unsigned)host->number(target, "again", AGAIN_MS),
                       result->out[0] != '\0' ? result->out : "the program gave no reason");
    } else {
        if (result->error[0] != '\0')
            snprintf(reason, sizeof reason, "%.100s %s", program, result->error);
        else if (err_length > 0)
            snprintf(reason, sizeof reason, "%.*s", (int)err_length, result->err);
        else
            snprintf(reason, sizeof reason, "%.100s ended with exit status %d", program,
                     result->exit_status);
        host->finish(target, FF_VERDICT_FAIL, reason);
    }
}

/* Runs the program under that key. */
static void run_program(const struct ff_host *host, struct ff_target *target, const char *key,
                        const char *action)
{
    size_t count = count_values(host, target, key);
    uint64_t timeout = host->number(target, "timeout", TIMEOUT_MS);
    const char **argv = calloc(count + 1, sizeof *argv);
    char *input = make_input(host, target, action);
    for (size_t i = 0; argv != NULL && i < count; i++)
        argv[i] = host->parameter(target, key, i);
    host->deadline(target, (unsigned)timeout + 5000u);
    if (argv == NULL || input == NULL || target->policy_data == NULL ||
        host->run_local(target, argv, input, (unsigned)timeout, ended_callback,
                        (void *)(uintptr_t)key) != 0)
        host->finish(target, FF_VERDICT_FAIL, "no memory to run the program");
    free(argv);
    free(input);
}

static void exec_stop(const struct ff_host *host, struct ff_target *target)
{
    target->policy_data = calloc(1, sizeof(struct work));
    run_program(host, target, "command", "stop");
}

/* A program that said no has stopped nothing. */
static void exec_undo(const struct ff_host *host, struct ff_target *target)
{
    const struct work *work = target->policy_data;
    if (work == NULL || work->vetoed || host->parameter(target, "undo", 0) == NULL)
        host->finish(target, FF_VERDICT_GO, NULL);
    else
        run_program(host, target, "undo", "undo");
}

static void exec_end(const struct ff_host *host, struct ff_target *target)
{
    (void)host;
    free(target->policy_data);
}

static void exec_check(const struct ff_host *host, struct ff_target *target)
{
    static const char *const keys[] = {"command", "undo"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *program = host->parameter(target, keys[i], 0);
        if (program != NULL && program[0] == '\0')
            host->mistake(target, keys[i], "'%s' must begin with a program", keys[i]);
    }
    if (host->number(target, "timeout", 0) > TIMEOUT_MAX_MS)
        host->mistake(target, "timeout", "'timeout' can be 50m at most");
    if (host->number(target, "again", AGAIN_MS) > AGAIN_MAX_MS)
        host->mistake(target, "again", "'again' can be 1h at most");
}

static const struct ff_parameter parameters[] = {
    {.key = "command",
     .help = "a program on the controller, with its arguments",
     .required = 1,
     .list = 1},
    {.key = "undo", .help = "the program that undoes it; default none", .list = 1},
    {.key = "timeout", .help = "how long each may take; default 5m", .type = FF_TYPE_DURATION},
    {.key = "again",
     .help = "when to ask again after \"not now\" (exit status 75); default 5m",
     .type = FF_TYPE_DURATION},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,
    .name = "exec",
    .longname = "a program of yours",
    .description = "a program on the controller decides, and may veto",
    .parameters = parameters,
    .check = exec_check,
    .stop = exec_stop,
    .undo = exec_undo,
    .end = exec_end,
};
FF_REGISTER_POLICY(policy)
