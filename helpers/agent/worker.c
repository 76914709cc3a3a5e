/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE (512u * 1024u) /* locked as a whole */

static void post(struct worker *worker, struct event *event)
{
    uint64_t one = 1;
    pthread_mutex_lock(&worker->lock);
    event->next = NULL;
    *worker->last = event;
    worker->last = &event->next;
    pthread_mutex_unlock(&worker->lock);
    ssize_t ignored = write(worker->wake_fd, &one, sizeof one);
    (void)ignored;
}

/* A log line can be done without when memory is short, the others have to wait for it. */
static struct event *event_new(enum event_kind kind, const char *text)
{
    size_t size = strlen(text) + 1;
    struct event *event;
    while ((event = calloc(1, sizeof *event + size)) == NULL && kind != EVENT_LOG)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    if (event == NULL)
        return NULL;
    event->kind = kind;
    memcpy(event->text, text, size);
    return event;
}

static void post_phase(void *arg, enum agent_phase phase)
{
    struct event *event = event_new(EVENT_PHASE, "");
    event->phase = phase;
    post(arg, event);
}

static void post_log(void *arg, enum log_level level, const char *text)
{
    struct event *event = event_new(EVENT_LOG, text);
    if (event == NULL)
        return;
    event->level = level;
    post(arg, event);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    pthread_mutex_lock(&worker->lock);
    for (;;) {
        while (!worker->quit && worker->function == NULL)
            pthread_cond_wait(&worker->wake, &worker->lock);
        if (worker->quit)
            break;
        worker_job function = worker->function;
        void *job_arg = worker->arg;
        struct event *done = event_new(EVENT_DONE, "");
        done->job = worker->job;
        worker->function = NULL;
        pthread_mutex_unlock(&worker->lock);
        done->status = function(job_arg);
        pthread_mutex_lock(&worker->lock);
        worker->busy = false;
        pthread_mutex_unlock(&worker->lock);
        post(worker, done);
        pthread_mutex_lock(&worker->lock);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

int worker_start(struct worker *worker, int wake_fd)
{
    pthread_attr_t attr;
    memset(worker, 0, sizeof *worker);
    worker->wake_fd = wake_fd;
    worker->last = &worker->first;
    worker->report = (struct report){.phase = post_phase, .log = post_log, .arg = worker};
    if (pthread_mutex_init(&worker->lock, NULL) != 0 ||
        pthread_cond_init(&worker->wake, NULL) != 0 || pthread_attr_init(&attr) != 0)
        return -1;
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int status = pthread_create(&worker->thread, &attr, worker_main, worker);
    pthread_attr_destroy(&attr);
    return status == 0 ? 0 : -1;
}

bool worker_run(struct worker *worker, int job, worker_job function, void *arg)
{
    pthread_mutex_lock(&worker->lock);
    bool free_now = !worker->busy;
    if (free_now) {
        worker->busy = true;
        worker->job = job;
        worker->function = function;
        worker->arg = arg;
        pthread_cond_signal(&worker->wake);
    }
    pthread_mutex_unlock(&worker->lock);
    return free_now;
}

struct event *worker_next(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    struct event *event = worker->first;
    if (event != NULL) {
        worker->first = event->next;
        if (worker->first == NULL)
            worker->last = &worker->first;
    }
    pthread_mutex_unlock(&worker->lock);
    return event;
}
