/* SPDX-License-Identifier: Apache-2.0 */
/* A policy at work on one target: its phase, what is under way for it, its memory. */
#ifndef POLICY_RUN_H
#define POLICY_RUN_H

#include "policy/local.h"
#include "policy/policy.h"

#include <sys/queue.h>

/* A callback that holds the loop longer than this is logged. */
#define RUN_SLOW_MS  50u
#define RUN_JOBS_MAX 32u
#define RUN_LOG_MAX  1000u

enum run_phase {
    RUN_CHECKING, /* only check is called; there is no transport and no end */
    RUN_IDLE,     /* made; nothing called yet */
    RUN_STOPPING,
    RUN_STOPPED, /* has its verdict (perhaps not delivered yet) */
    RUN_DELAYED, /* has asked for another stop later */
    RUN_UNDOING,
    RUN_UNDONE,
    RUN_RETURNING, /* the device is back */
    RUN_RETURNED,
    RUN_ENDING, /* being freed */
};

/* Something a policy waits for: a command on the device, a program here, a timer. */
struct policy_job {
    LIST_ENTRY(policy_job) entry;
    struct policy_run *run;
    ff_command_callback command_callback;
    ff_timer_callback timer_callback;
    void *data;                  /* the policy's */
    void *handle;                /* the transport's */
    struct local_process *local; /* a program here */
    uv_timer_t timer;            /* only with timer_callback */
};

/* Memory that lives as long as the run. */
struct run_memory {
    struct run_memory *next;
    char text[];
};

/* Where check's mistakes go. */
struct run_mistakes {
    void (*add)(struct run_mistakes *mistakes, const char *key, const char *text);
};

struct policy_run {
    enum run_phase phase;
    bool was_called; /* stop has begun once: end is owed */
    struct policy_set *set;
    const struct ff_policy *policy;
    const struct services_spec *services;
    struct policy_transport transport;
    struct run_mistakes *mistakes;
    struct ff_target target;
    struct run_memory *memory;
    LIST_HEAD(, policy_job) jobs;
    unsigned job_count;

    uint64_t host_time; /* of the call into the policy at hand, spent in our own functions; ns */

    uv_timer_t bound;   /* of the whole stop or undo, or of a delay */
    uv_timer_t deliver; /* calls `verdict` in the loop's next round */
    unsigned open_timers;
    uint64_t timeout;      /* what bound was set to last, ms */
    uint64_t stop_timeout; /* the caller's, for a stop anew; ms */
    uint64_t delayed;      /* by the policy, all in all; ms */
    policy_verdict verdict;
    void *verdict_arg;
    enum ff_verdict verdict_kind;
    char *reason;
};

/* The table every policy gets. */
extern const struct ff_host policy_host;

/* Fills the part of a run that its policy sees, for a check or a real run. */
void policy_run_init(struct policy_run *run, struct policy_set *set, const struct ff_policy *policy,
                     const struct policy_target *target);

/* size bytes that live as long as the run, or NULL. */
char *policy_run_memory(struct policy_run *run, size_t size);
void policy_run_memory_free(struct policy_run *run);

/* A line to the run's log, with the policy's name before it. */
void policy_run_log(struct policy_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes a job off the run's list and cancels what it waits for; its memory is freed once its timer
 * is closed. */
void policy_job_cancel(struct policy_job *job);
void policy_run_cancel_jobs(struct policy_run *run);

/* Around every call into the policy: measures it, without what it waited for the host. */
uint64_t policy_call_begin(struct policy_run *run);
void policy_call_end(struct policy_run *run, uint64_t begin, const char *what);

/* Between the call of stop, undo or returned and its end; after the end. */
bool policy_run_is_at_work(const struct policy_run *run);
bool policy_run_is_over(const struct policy_run *run);

/* The policy's (or the host's) word: ends the stop or undo that is under way. */
void policy_run_finish(struct policy_run *run, enum ff_verdict verdict, const char *reason);

/* Another stop after delay ms, or a veto when that would be too late. */
void policy_run_postpone(struct policy_run *run, uint64_t delay, const char *reason);

#endif
