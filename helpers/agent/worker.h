/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that does what may block: everything that touches the disk. One job at a time; what it
 * has to say reaches the main thread as events, in order. */
#ifndef WORKER_H
#define WORKER_H

#include "report.h"

#include <pthread.h>

enum event_kind { EVENT_PHASE, EVENT_LOG, EVENT_DONE };

struct event {
    struct event *next;
    enum event_kind kind;
    enum agent_phase phase;
    enum log_level level;
    int job;     /* EVENT_DONE */
    int status;  /* EVENT_DONE: what the job returned */
    char text[]; /* EVENT_LOG */
};

typedef int (*worker_job)(void *arg);

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int wake_fd; /* eventfd of the main thread */
    int job;     /* 0: none */
    worker_job function;
    void *arg;
    bool busy, quit;
    struct event *first, **last;
    struct report report; /* for the jobs */
};

int worker_start(struct worker *worker, int wake_fd);
/* Starts a job, numbered for its EVENT_DONE. False: one is running. */
bool worker_run(struct worker *worker, int job, worker_job function, void *arg);
/* The next event (the caller frees it) or NULL. */
struct event *worker_next(struct worker *worker);

#endif
