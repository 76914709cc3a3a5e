/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_support.h"

#include "policy/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef void (*done_function)(void *arg, int exit_status, const char *out, const char *err,
                              const char *error);

/* A command of either transport. */
struct command {
    struct harness *harness;
    struct local_process *local;
    const struct answer *answer;
    uv_timer_t timer;
    done_function done;
    void *done_arg;
};

static struct command *command_new(struct harness *harness, done_function done, void *done_arg)
{
    struct command *command = calloc(1, sizeof *command);
    assert_non_null(command);
    command->harness = harness;
    command->done = done;
    command->done_arg = done_arg;
    harness->open_commands++;
    return command;
}

/* --- commands here ---------------------------------------------------------------------------- */

static char *replaced(const struct harness *harness, const char *command)
{
    const char *from = harness->replace[0], *at = from == NULL ? NULL : strstr(command, from);
    char *out = NULL;
    if (at == NULL)
        return strdup(command);
    assert_true(asprintf(&out, "%.*s%s%s", (int)(at - command), command, harness->replace[1],
                         at + strlen(from)) > 0);
    return out;
}

static void local_command_done(int exit_status, const char *out, const char *err, const char *error,
                               void *arg)
{
    struct command *command = arg;
    struct command copy = *command;
    free(command);
    copy.harness->open_commands--;
    copy.done(copy.done_arg, exit_status, out, err, error);
}

static void *local_run(void *arg, const char *text, unsigned timeout_ms, done_function done,
                       void *done_arg)
{
    static const char *const shell[] = {"/bin/sh", "-c", NULL};
    struct harness *harness = arg;
    const char *const *via = harness->via == NULL ? shell : harness->via;
    const char *argv[32];
    size_t count = 0;
    char *whole = replaced(harness, text);
    while (via[count] != NULL && count < 30) {
        argv[count] = via[count];
        count++;
    }
    argv[count] = whole;
    argv[count + 1] = NULL;
    struct command *command = command_new(harness, done, done_arg);
    command->local =
        local_start(&harness->loop, argv, NULL, timeout_ms, local_command_done, command);
    assert_non_null(command->local);
    free(whole);
    return command;
}

/* --- answers from a list ---------------------------------------------------------------------- */

static void command_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void answer_callback(uv_timer_t *timer)
{
    struct command *command = timer->data;
    const struct answer *answer = command->answer;
    command->harness->open_commands--;
    uv_close((uv_handle_t *)timer, command_closed);
    command->done(command->done_arg, answer->exit_status, answer->out, answer->err, answer->error);
}

static void *list_run(void *arg, const char *text, unsigned timeout_ms, done_function done,
                      void *done_arg)
{
    struct harness *harness = arg;
    (void)timeout_ms;
    if (harness->answered >= harness->answer_count)
        return NULL;
    const struct answer *answer = &harness->answers[harness->answered++];
    if (strstr(text, answer->expect) == NULL)
        fail_msg("command '%s' is not what was expected: '%s'", text, answer->expect);
    struct command *command = command_new(harness, done, done_arg);
    command->answer = answer;
    uv_timer_init(&harness->loop, &command->timer);
    command->timer.data = command;
    if (!answer->never)
        uv_timer_start(&command->timer, answer_callback, 0, 0);
    return command;
}

static void *transport_run(void *arg, const char *text, unsigned timeout_ms, done_function done,
                           void *done_arg)
{
    struct harness *harness = arg;
    return harness->answers != NULL ? list_run(arg, text, timeout_ms, done, done_arg)
                                    : local_run(arg, text, timeout_ms, done, done_arg);
}

static void transport_cancel(void *arg, void *handle)
{
    struct command *command = handle;
    (void)arg;
    command->harness->open_commands--;
    if (command->local != NULL) {
        local_cancel(command->local);
        free(command);
    } else {
        uv_close((uv_handle_t *)&command->timer, command_closed);
    }
}

static void transport_log(void *arg, const char *text)
{
    struct harness *harness = arg;
    size_t used = strlen(harness->log);
    snprintf(harness->log + used, sizeof harness->log - used, "%s\n", text);
    if (getenv("POLICY_TEST_VERBOSE") != NULL)
        fprintf(stderr, "log: %s\n", text);
}

/* --- the harness ------------------------------------------------------------------------------ */

void harness_open(struct harness *harness, const char *folder)
{
    memset(harness, 0, sizeof *harness);
    assert_int_equal(uv_loop_init(&harness->loop), 0);
    if (folder != NULL)
        setenv("FLEETFLASH_POLICY_PATH", folder, 1);
    else
        unsetenv("FLEETFLASH_POLICY_PATH");
    harness->set = policy_set_new(&harness->loop);
    assert_non_null(harness->set);
    harness->spec = (struct target_spec){.name = "pi-07", .group = "lab", .host = "10.0.0.18"};
}

void harness_services(struct harness *harness, const char *policy, const char *const *words,
                      size_t count)
{
    struct services_spec *services = &harness->spec.services;
    memset(harness->values, 0, sizeof harness->values);
    *services =
        (struct services_spec){.policy = policy, .parameters = harness->parameters, .at = {7, 15}};
    for (size_t i = 0; i < count; i++) {
        size_t key_length = strcspn(words[i], "="), at = 0, value = 0;
        while (at < services->parameter_count &&
               (strlen(harness->parameters[at].key) != key_length ||
                strncmp(harness->parameters[at].key, words[i], key_length) != 0))
            at++;
        assert_true(at < HARNESS_PARAMETERS);
        if (at == services->parameter_count) {
            services->parameter_count++;
            harness->parameters[at] = (struct policy_parameter){
                strndup(words[i], key_length), harness->values[at], {8, (unsigned)at + 1}};
        }
        while (harness->values[at][value] != NULL)
            value++;
        assert_true(value + 1 < HARNESS_VALUES);
        harness->values[at][value] = words[i] + key_length + 1;
    }
}

static void services_free(struct harness *harness)
{
    for (size_t i = 0; i < harness->spec.services.parameter_count; i++)
        free((char *)(uintptr_t)harness->parameters[i].key);
    harness->spec.services.parameter_count = 0;
}

bool harness_start(struct harness *harness)
{
    struct policy_transport transport = {
        .run = transport_run, .cancel = transport_cancel, .log = transport_log, .arg = harness};
    const struct policy_target target = {&harness->spec, "stage", "lab.img.xz", "run-1"};
    struct error err;
    const struct ff_policy *policy =
        policy_set_find(harness->set, harness->spec.services.policy, &err);
    if (harness->undo_file != NULL)
        snprintf(transport.undo_file, sizeof transport.undo_file, "%s", harness->undo_file);
    harness->verdicts = 0;
    harness->log[0] = '\0';
    if (policy == NULL) {
        snprintf(harness->reason, sizeof harness->reason, "%s", err.text);
        return false;
    }
    harness->run = policy_run_new(harness->set, policy, &target, &transport);
    assert_non_null(harness->run);
    return true;
}

static void verdict_callback(enum ff_verdict verdict, const char *reason, void *arg)
{
    struct harness *harness = arg;
    harness->verdicts++;
    harness->verdict = verdict;
    snprintf(harness->reason, sizeof harness->reason, "%s", reason);
}

static enum ff_verdict wait_for_verdict(struct harness *harness, unsigned before)
{
    while (harness->verdicts == before && uv_run(&harness->loop, UV_RUN_ONCE) != 0)
        ;
    assert_int_equal(harness->verdicts, before + 1);
    return harness->verdict;
}

enum ff_verdict harness_stop(struct harness *harness)
{
    unsigned before = harness->verdicts;
    policy_run_stop(harness->run, 0, verdict_callback, harness);
    assert_int_equal(harness->verdicts, before); /* never from within the call */
    return wait_for_verdict(harness, before);
}

enum ff_verdict harness_undo(struct harness *harness)
{
    unsigned before = harness->verdicts;
    policy_run_undo(harness->run, 0, verdict_callback, harness);
    assert_int_equal(harness->verdicts, before);
    return wait_for_verdict(harness, before);
}

enum ff_verdict harness_returned(struct harness *harness)
{
    unsigned before = harness->verdicts;
    policy_run_returned(harness->run, 0, verdict_callback, harness);
    assert_int_equal(harness->verdicts, before);
    return wait_for_verdict(harness, before);
}

bool harness_run_until(struct harness *harness, const char *text)
{
    policy_run_stop(harness->run, 0, verdict_callback, harness);
    while (strstr(harness->log, text) == NULL) {
        if (uv_run(&harness->loop, UV_RUN_ONCE) == 0)
            return false;
    }
    return true;
}

unsigned harness_log_count(const struct harness *harness, const char *text)
{
    unsigned count = 0;
    for (const char *at = harness->log; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

void harness_end_run(struct harness *harness)
{
    unsigned verdicts = harness->verdicts;
    policy_run_free(harness->run);
    harness->run = NULL;
    assert_int_equal(harness->open_commands, 0);
    uv_run(&harness->loop, UV_RUN_DEFAULT);
    assert_int_equal(harness->verdicts, verdicts); /* none comes after the free */
    services_free(harness);
}

void harness_close(struct harness *harness)
{
    harness_end_run(harness);
    policy_set_free(harness->set);
    assert_int_equal(uv_loop_close(&harness->loop), 0);
}

/* --- files ------------------------------------------------------------------------------------ */

char *folder_make(void)
{
    char *folder = strdup("/tmp/policy-test.XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

void folder_remove(char *folder)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    free(folder);
}

void folder_write(const char *folder, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

const char *folder_read(const char *folder, const char *name)
{
    static char text[8192];
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    size_t size = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    if (file != NULL)
        fclose(file);
    return text;
}
