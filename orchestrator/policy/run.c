/* SPDX-License-Identifier: Apache-2.0 */
/* | phase    | stop()        | undo()        | finish / bound over | free   |
 * |----------|---------------|---------------|---------------------|--------|
 * | IDLE     | → STOPPING    | GO            | –                   | no end |
 * | STOPPING | –             | → UNDOING     | → STOPPED, verdict; postponed: → DELAYED | end |
 * | DELAYED  | over: end, → STOPPING | → UNDOING | logged, dropped  | end    |
 * | STOPPED  | –             | → UNDOING     | logged, dropped     | end    |
 * | UNDOING  | –             | undo again    | → UNDONE, verdict   | end    |
 * | UNDONE   | –             | GO; undo again when it failed | logged, dropped | end |
 *
 * returned() leads from IDLE or STOPPED to RETURNING, finish or the bound from there to RETURNED.
 */
#include "policy/run.h"
#include "policy/set.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory, log, measuring ------------------------------------------------------------------- */

char *policy_run_memory(struct policy_run *run, size_t size)
{
    struct run_memory *memory = malloc(sizeof *memory + size);
    if (memory == NULL)
        return NULL;
    memory->next = run->memory;
    run->memory = memory;
    return memory->text;
}

void policy_run_memory_free(struct policy_run *run)
{
    while (run->memory != NULL) {
        struct run_memory *memory = run->memory;
        run->memory = memory->next;
        free(memory);
    }
}

void policy_run_log(struct policy_run *run, const char *format, ...)
{
    char text[RUN_LOG_MAX];
    va_list args;
    int size = snprintf(text, sizeof text, "%s: ", run->policy->name);
    if (run->transport.log == NULL)
        return;
    va_start(args, format);
    vsnprintf(text + size, sizeof text - (size_t)size, format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    run->transport.log(run->transport.arg, text);
}

uint64_t policy_call_begin(struct policy_run *run)
{
    run->host_time = 0;
    return uv_hrtime();
}

void policy_call_end(struct policy_run *run, uint64_t begin, const char *what)
{
    uint64_t took = (uv_hrtime() - begin - run->host_time) / 1000000;
    if (took > RUN_SLOW_MS)
        policy_run_log(
            run, "warning: its %s held up all targets for %" PRIu64 " ms (a policy must not block)",
            what, took);
}

bool policy_run_is_at_work(const struct policy_run *run)
{
    return run->phase == RUN_STOPPING || run->phase == RUN_UNDOING || run->phase == RUN_RETURNING;
}

bool policy_run_is_over(const struct policy_run *run)
{
    return run->phase == RUN_STOPPED || run->phase == RUN_UNDONE || run->phase == RUN_RETURNED;
}

/* --- jobs ------------------------------------------------------------------------------------- */

static void job_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void policy_job_cancel(struct policy_job *job)
{
    struct policy_run *run = job->run;
    LIST_REMOVE(job, entry);
    run->job_count--;
    if (job->handle != NULL)
        run->transport.cancel(run->transport.arg, job->handle);
    local_cancel(job->local);
    if (job->timer_callback != NULL)
        uv_close((uv_handle_t *)&job->timer, job_timer_closed);
    else
        free(job);
}

void policy_run_cancel_jobs(struct policy_run *run)
{
    for (struct policy_job *job; (job = LIST_FIRST(&run->jobs)) != NULL;)
        policy_job_cancel(job);
}

/* --- verdicts --------------------------------------------------------------------------------- */

static void deliver_callback(uv_timer_t *timer)
{
    struct policy_run *run = timer->data;
    policy_verdict verdict = run->verdict;
    char *reason = run->reason;
    run->verdict = NULL;
    run->reason = NULL;
    /* The receiver may free the run. */
    if (verdict != NULL)
        verdict(run->verdict_kind, reason == NULL ? "" : reason, run->verdict_arg);
    free(reason);
}

/* The first line without control characters, or what stands for it. */
static char *reason_copy(const char *reason, const char *otherwise)
{
    size_t length = reason == NULL ? 0 : strcspn(reason, "\r\n");
    char *copy = length > 0 ? strndup(reason, length < 300 ? length : 300) : strdup(otherwise);
    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    return copy;
}

void policy_run_finish(struct policy_run *run, enum ff_verdict verdict, const char *reason)
{
    bool undoing = run->phase == RUN_UNDOING;
    bool returning = run->phase == RUN_RETURNING;
    if (verdict != FF_VERDICT_GO && verdict != FF_VERDICT_VETO && verdict != FF_VERDICT_FAIL) {
        policy_run_log(run, "finish with the unknown verdict %d counts as a failure", (int)verdict);
        verdict = FF_VERDICT_FAIL;
    }
    if (undoing && verdict == FF_VERDICT_VETO) {
        policy_run_log(run, "a veto from undo counts as a failure");
        verdict = FF_VERDICT_FAIL;
    }
    /* Before anything is cancelled: reason may stand in a result that goes with it. */
    free(run->reason);
    run->reason =
        verdict == FF_VERDICT_GO ? NULL : reason_copy(reason, "the policy gave no reason");
    run->verdict_kind = verdict;
    run->phase = undoing ? RUN_UNDONE : returning ? RUN_RETURNED : RUN_STOPPED;
    uv_timer_stop(&run->bound);
    policy_run_cancel_jobs(run);
    uv_timer_start(&run->deliver, deliver_callback, 0, 0);
}

static void bound_callback(uv_timer_t *timer)
{
    struct policy_run *run = timer->data;
    char reason[160];
    snprintf(reason, sizeof reason, "policy %.60s has not finished its %s within %" PRIu64 " s",
             run->policy->name,
             run->phase == RUN_UNDOING     ? "undo"
             : run->phase == RUN_RETURNING ? "work after the flash"
                                           : "stop",
             (run->timeout + 999) / 1000);
    policy_run_finish(run, FF_VERDICT_FAIL, reason);
}

/* --- not now ---------------------------------------------------------------------------------- */

static void run_call_stop(struct policy_run *run);

static void run_call_end(struct policy_run *run)
{
    if (run->policy->end == NULL)
        return;
    uint64_t begin = policy_call_begin(run);
    run->policy->end(&policy_host, &run->target);
    policy_call_end(run, begin, "end function");
}

static void delay_callback(uv_timer_t *timer)
{
    struct policy_run *run = timer->data;
    run_call_end(run);
    run->target.policy_data = NULL;
    run->timeout = run->stop_timeout;
    uv_timer_start(&run->bound, bound_callback, run->timeout, 0);
    run_call_stop(run);
}

void policy_run_postpone(struct policy_run *run, uint64_t delay, const char *reason)
{
    char text[400];
    char *why = reason_copy(reason, "the policy gave no reason");
    if (delay < POLICY_DELAY_MIN)
        delay = POLICY_DELAY_MIN;
    run->delayed += delay;
    snprintf(text, sizeof text, "%s", why == NULL ? "" : why);
    free(why);
    if (run->delayed > POLICY_DELAY_MAX) {
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 " (and still after %" PRIu64 " min)", (run->delayed - delay) / 60000);
        policy_run_finish(run, FF_VERDICT_VETO, text);
        return;
    }
    policy_run_log(run, "not now, again in %" PRIu64 " s: %s", delay / 1000, text);
    policy_run_cancel_jobs(run);
    run->phase = RUN_DELAYED;
    uv_update_time(run->set->loop);
    uv_timer_start(&run->bound, delay_callback, delay, 0);
    if (run->transport.waits != NULL)
        run->transport.waits(run->transport.arg, delay / 1000, text);
}

/* --- life ------------------------------------------------------------------------------------- */

static const char *text_or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

void policy_run_init(struct policy_run *run, struct policy_set *set, const struct ff_policy *policy,
                     const struct policy_target *target)
{
    run->set = set;
    run->policy = policy;
    run->services = &target->spec->services;
    LIST_INIT(&run->jobs);
    run->target = (struct ff_target){
        .struct_size = sizeof run->target,
        .host_data = run,
        .name = text_or_empty(target->spec->name),
        .group = text_or_empty(target->spec->group),
        .address = text_or_empty(target->spec->host),
        .mode = text_or_empty(target->mode),
        .image = text_or_empty(target->image),
        .run_id = text_or_empty(target->run_id),
    };
}

struct policy_run *policy_run_new(struct policy_set *set, const struct ff_policy *policy,
                                  const struct policy_target *target,
                                  const struct policy_transport *transport)
{
    struct policy_run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return NULL;
    policy_run_init(run, set, policy, target);
    run->phase = RUN_IDLE;
    run->transport = *transport;
    uv_timer_init(set->loop, &run->bound);
    uv_timer_init(set->loop, &run->deliver);
    run->bound.data = run->deliver.data = run;
    run->open_timers = 2;
    return run;
}

/* What stop and undo have in common before the policy is called. */
static void run_start(struct policy_run *run, uint64_t timeout, policy_verdict verdict, void *arg)
{
    run->verdict = verdict;
    run->verdict_arg = arg;
    run->timeout = timeout == 0 ? POLICY_TIMEOUT_DEFAULT : timeout;
    uv_timer_stop(&run->deliver);
    uv_update_time(run->set->loop);
    uv_timer_start(&run->bound, bound_callback, run->timeout, 0);
}

static void run_call_stop(struct policy_run *run)
{
    run->phase = RUN_STOPPING;
    uint64_t begin = policy_call_begin(run);
    run->policy->stop(&policy_host, &run->target);
    policy_call_end(run, begin, "stop function");
}

void policy_run_stop(struct policy_run *run, uint64_t timeout, policy_verdict verdict, void *arg)
{
    assert(run->phase == RUN_IDLE);
    run->was_called = true;
    run_start(run, timeout, verdict, arg);
    run->stop_timeout = run->timeout;
    run_call_stop(run);
}

void policy_run_undo(struct policy_run *run, uint64_t timeout, policy_verdict verdict, void *arg)
{
    bool undone = run->phase == RUN_UNDONE && run->verdict_kind == FF_VERDICT_GO;
    bool nothing_to_do = !run->was_called || undone;
    policy_run_cancel_jobs(run);
    run_start(run, timeout, verdict, arg);
    run->phase = RUN_UNDOING;
    if (nothing_to_do) {
        policy_run_finish(run, FF_VERDICT_GO, NULL);
        return;
    }
    if (run->policy->undo == NULL) {
        policy_run_log(run, "it cannot start again what it stopped");
        policy_run_finish(run, FF_VERDICT_GO, NULL);
        return;
    }
    uint64_t begin = policy_call_begin(run);
    run->policy->undo(&policy_host, &run->target);
    policy_call_end(run, begin, "undo function");
}

void policy_run_returned(struct policy_run *run, uint64_t timeout, policy_verdict verdict,
                         void *arg)
{
    policy_run_cancel_jobs(run);
    run_start(run, timeout, verdict, arg);
    run->phase = RUN_RETURNING;
    if (run->policy->returned == NULL) {
        policy_run_finish(run, FF_VERDICT_GO, NULL);
        return;
    }
    run->was_called = true;
    uint64_t begin = policy_call_begin(run);
    run->policy->returned(&policy_host, &run->target);
    policy_call_end(run, begin, "returned function");
}

static void run_timer_closed(uv_handle_t *handle)
{
    struct policy_run *run = handle->data;
    if (--run->open_timers == 0)
        free(run);
}

void policy_run_free(struct policy_run *run)
{
    if (run == NULL)
        return;
    run->phase = RUN_ENDING;
    policy_run_cancel_jobs(run);
    if (run->was_called)
        run_call_end(run);
    policy_run_memory_free(run);
    free(run->reason);
    uv_close((uv_handle_t *)&run->bound, run_timer_closed);
    uv_close((uv_handle_t *)&run->deliver, run_timer_closed);
}
