/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of struct ff_host. What a policy does at the wrong time gets a log line and -1. */
#include "policy/run.h"
#include "policy/set.h"
#include "policy/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_COMMAND_TIMEOUT 60000u

static const char *host_quote(struct ff_target *target, const char *text);

static struct policy_run *run_of(struct ff_target *target)
{
    return target->host_data;
}

/* --- commands and timers ---------------------------------------------------------------------- */

/* Whether a policy may ask for something now; what it may not gets a line in the log. */
static bool may_ask(struct policy_run *run, const char *function, bool arguments_there)
{
    const char *why = NULL;
    if (!arguments_there)
        why = "with a NULL argument";
    else if (policy_run_is_over(run))
        why = "after finish";
    else if (run->phase == RUN_DELAYED)
        why = "after postpone";
    else if (!policy_run_is_at_work(run))
        why = "outside stop and undo";
    else if (run->job_count >= RUN_JOBS_MAX)
        why = "with too much under way already";
    if (why != NULL)
        policy_run_log(run, "it called %s %s: refused", function, why);
    return why == NULL;
}

static struct policy_job *job_new(struct policy_run *run, ff_command_callback callback, void *data)
{
    struct policy_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    job->run = run;
    job->command_callback = callback;
    job->data = data;
    LIST_INSERT_HEAD(&run->jobs, job, entry);
    run->job_count++;
    return job;
}

/* The end of a command, wherever it ran. The job is gone before the policy is called, so that a
 * finish from there does not cancel what is over. */
static void job_done(void *arg, int exit_status, const char *out, const char *err,
                     const char *error)
{
    struct policy_job *job = arg;
    struct policy_run *run = job->run;
    ff_command_callback callback = job->command_callback;
    void *data = job->data;
    const struct ff_result result = {
        .struct_size = sizeof result,
        .exit_status = exit_status >= 0 && exit_status <= 255 ? exit_status : -1,
        .out = out == NULL ? "" : out,
        .err = err == NULL ? "" : err,
        .error = error == NULL ? "" : error,
        .truncated = out != NULL && strlen(out) >= LOCAL_OUT_MAX - 1,
    };
    job->handle = NULL;
    job->local = NULL;
    policy_job_cancel(job);
    uint64_t begin = policy_call_begin(run);
    callback(&policy_host, &run->target, &result, data);
    policy_call_end(run, begin, "callback of a command");
}

static void local_job_done(int exit_status, const char *out, const char *err, const char *error,
                           void *arg)
{
    job_done(arg, exit_status, out, err, error);
}

static int host_run(struct ff_target *target, const char *command, unsigned timeout_ms,
                    ff_command_callback callback, void *data)
{
    struct policy_run *run = run_of(target);
    if (!may_ask(run, "run", command != NULL && callback != NULL))
        return -1;
    struct policy_job *job = job_new(run, callback, data);
    if (job == NULL)
        return -1;
    uint64_t begin = uv_hrtime();
    job->handle =
        run->transport.run(run->transport.arg, command,
                           timeout_ms == 0 ? DEFAULT_COMMAND_TIMEOUT : timeout_ms, job_done, job);
    run->host_time += uv_hrtime() - begin;
    if (job->handle != NULL)
        return 0;
    policy_job_cancel(job);
    return -1;
}

/* Written whole, or not at all. */
static int host_leave_undo(struct ff_target *target, const char *command,
                           ff_command_callback callback, void *data)
{
    struct policy_run *run = run_of(target);
    const char *file = run->transport.undo_file;
    char text[FF_UNDO_MAX + FF_UNDO_MAX / 2 + 1200];
    if (run->phase != RUN_STOPPING) {
        policy_run_log(run, "it called leave_undo outside a stop: refused");
        return -1;
    }
    if (file[0] == '\0' || command == NULL)
        return -1;
    const char *quoted = strlen(command) > FF_UNDO_MAX ? NULL : host_quote(target, command);
    if (quoted == NULL || strlen(quoted) > FF_UNDO_MAX + FF_UNDO_MAX / 2) {
        policy_run_log(run, "too much to leave word of on the device: if this program is killed, "
                            "what is stopped stays so until it is started again by hand");
        return -1;
    }
    snprintf(text, sizeof text, "umask 077; printf '%%s\\n' %s >%s.new && mv %s.new %s", quoted,
             file, file, file);
    return host_run(target, text, 0, callback, data);
}

static int host_run_local(struct ff_target *target, const char *const *argv, const char *input,
                          unsigned timeout_ms, ff_command_callback callback, void *data)
{
    struct policy_run *run = run_of(target);
    if (!may_ask(run, "run_local", argv != NULL && argv[0] != NULL && callback != NULL))
        return -1;
    struct policy_job *job = job_new(run, callback, data);
    if (job == NULL)
        return -1;
    uint64_t begin = uv_hrtime();
    uv_update_time(run->set->loop);
    job->local =
        local_start(run->set->loop, argv, input,
                    timeout_ms == 0 ? DEFAULT_COMMAND_TIMEOUT : timeout_ms, local_job_done, job);
    /* uv_spawn waits until the new process has begun: not the policy's doing. */
    run->host_time += uv_hrtime() - begin;
    if (job->local != NULL)
        return 0;
    policy_job_cancel(job);
    return -1;
}

static void after_callback(uv_timer_t *timer)
{
    struct policy_job *job = timer->data;
    struct policy_run *run = job->run;
    ff_timer_callback callback = job->timer_callback;
    void *data = job->data;
    policy_job_cancel(job);
    uint64_t begin = policy_call_begin(run);
    callback(&policy_host, &run->target, data);
    policy_call_end(run, begin, "callback of a timer");
}

static int host_after(struct ff_target *target, unsigned delay_ms, ff_timer_callback callback,
                      void *data)
{
    struct policy_run *run = run_of(target);
    if (!may_ask(run, "after", callback != NULL))
        return -1;
    struct policy_job *job = job_new(run, NULL, data);
    if (job == NULL)
        return -1;
    job->timer_callback = callback;
    uv_update_time(run->set->loop);
    uv_timer_init(run->set->loop, &job->timer);
    job->timer.data = job;
    uv_timer_start(&job->timer, after_callback, delay_ms, 0);
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void host_finish(struct ff_target *target, enum ff_verdict verdict, const char *reason)
{
    struct policy_run *run = run_of(target);
    if (policy_run_is_at_work(run))
        policy_run_finish(run, verdict, reason);
    else
        policy_run_log(run, "it called finish %s: ignored",
                       policy_run_is_over(run) ? "again" : "outside stop and undo");
}

static void host_postpone(struct ff_target *target, unsigned delay_ms, const char *reason)
{
    struct policy_run *run = run_of(target);
    if (run->phase == RUN_STOPPING)
        policy_run_postpone(run, delay_ms, reason);
    else
        policy_run_log(run, "it called postpone outside a stop: ignored");
}

static void host_deadline(struct ff_target *target, unsigned timeout_ms)
{
    struct policy_run *run = run_of(target);
    if (!policy_run_is_at_work(run)) {
        policy_run_log(run, "it called deadline outside stop and undo: ignored");
        return;
    }
    run->timeout = timeout_ms < POLICY_TIMEOUT_MAX ? timeout_ms : POLICY_TIMEOUT_MAX;
    uv_update_time(run->set->loop);
    uv_timer_start(&run->bound, run->bound.timer_cb, run->timeout, 0);
}

/* --- parameters and texts --------------------------------------------------------------------- */

static const char *host_parameter(struct ff_target *target, const char *key, size_t index)
{
    const struct services_spec *services = run_of(target)->services;
    for (size_t i = 0; key != NULL && i < services->parameter_count; i++) {
        const struct policy_parameter *parameter = &services->parameters[i];
        if (strcmp(parameter->key, key) != 0)
            continue;
        for (size_t n = 0; parameter->values[n] != NULL; n++) {
            if (n == index)
                return parameter->values[n];
        }
        return NULL;
    }
    return NULL;
}

static uint64_t host_number(struct ff_target *target, const char *key, uint64_t fallback)
{
    const struct ff_parameter *known = run_of(target)->policy->parameters;
    const char *value = host_parameter(target, key, 0);
    uint64_t number;
    while (known != NULL && known->key != NULL && key != NULL && strcmp(known->key, key) != 0)
        known++;
    if (value == NULL || known == NULL || known->key == NULL)
        return fallback;
    return policy_value_parse(known->type, value, &number) == 0 ? number : fallback;
}

static const char *host_quote(struct ff_target *target, const char *text)
{
    size_t size = 3;
    for (const char *c = text; c != NULL && *c != '\0'; c++)
        size += *c == '\'' ? 4 : 1;
    char *quoted = text == NULL ? NULL : policy_run_memory(run_of(target), size);
    if (quoted == NULL)
        return NULL;
    char *out = quoted;
    *out++ = '\'';
    for (; *text != '\0'; text++) {
        /* Nothing is special between single quotes but the quote: end them, \', begin again. */
        if (*text == '\'') {
            memcpy(out, "'\\'", 3);
            out += 3;
        }
        *out++ = *text;
    }
    *out++ = '\'';
    *out = '\0';
    return quoted;
}

__attribute__((format(printf, 2, 3))) static void host_log(struct ff_target *target,
                                                           const char *format, ...)
{
    char text[RUN_LOG_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    policy_run_log(run_of(target), "%s", text);
}

__attribute__((format(printf, 3, 4))) static void
host_mistake(struct ff_target *target, const char *key, const char *format, ...)
{
    struct policy_run *run = run_of(target);
    char text[RUN_LOG_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (run->phase == RUN_CHECKING)
        run->mistakes->add(run->mistakes, key, text);
    else
        policy_run_log(run, "it called mistake outside check: %s", text);
}

const struct ff_host policy_host = {
    .struct_size = sizeof policy_host,
    .api_version = FF_POLICY_API_VERSION,
    .run = host_run,
    .run_local = host_run_local,
    .after = host_after,
    .finish = host_finish,
    .deadline = host_deadline,
    .parameter = host_parameter,
    .number = host_number,
    .quote = host_quote,
    .log = host_log,
    .mistake = host_mistake,
    .postpone = host_postpone,
    .leave_undo = host_leave_undo,
};
