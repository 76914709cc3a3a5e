/* SPDX-License-Identifier: Apache-2.0 */
/* store_prepare: the builder's thread and its word to the loop. */
#include "store/prepare.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PROGRESS_INTERVAL 200u /* ms */

struct store_job {
    uv_loop_t *loop;
    uv_thread_t thread;
    uv_async_t finished;
    uv_timer_t timer;
    unsigned open_handles;
    bool started; /* the thread */
    int cancel_fd;
    struct store_options options; /* its strings are copies */
    struct build_progress progress;
    store_progress progress_callback;
    store_done done_callback;
    void *arg;
    struct store *store; /* the thread's result */
    struct error err;
};

static void job_free(struct store_job *job)
{
    if (job->cancel_fd >= 0)
        close(job->cancel_fd);
    free((char *)job->options.image);
    free((char *)job->options.sha256);
    free((char *)job->options.minisign);
    free((char *)job->options.keyring);
    free((char *)job->options.cache_dir);
    free(job);
}

static void job_thread(void *arg)
{
    struct store_job *job = arg;
    job->store = prepare_store(&job->options, &job->progress, job->cancel_fd, &job->err);
    uv_async_send(&job->finished);
}

static void job_progress_callback(uv_timer_t *timer)
{
    struct store_job *job = timer->data;
    if (job->progress_callback != NULL && !atomic_load(&job->progress.cancelled))
        job->progress_callback(atomic_load(&job->progress.done), atomic_load(&job->progress.total),
                               atomic_load(&job->progress.decoded), job->arg);
}

/* The last handle is closed: gives the result away. */
static void job_closed_callback(uv_handle_t *handle)
{
    struct store_job *job = handle->data;
    if (--job->open_handles > 0)
        return;
    struct store *store = job->store;
    if (store != NULL && atomic_load(&job->progress.cancelled)) {
        store_discard(store);
        store = NULL;
        error_set(&job->err, ERROR_CANCELLED, "preparing the image was cancelled");
    }
    if (store != NULL && store_attach(store, job->loop) < 0) {
        store_discard(store);
        store = NULL;
        error_set(&job->err, ERROR_IO, "out of memory");
    }
    job->done_callback(store, store != NULL ? NULL : &job->err, job->arg);
    job_free(job);
}

static void job_finished_callback(uv_async_t *finished)
{
    struct store_job *job = finished->data;
    if (job->started)
        uv_thread_join(&job->thread);
    uv_close((uv_handle_t *)&job->finished, job_closed_callback);
    uv_close((uv_handle_t *)&job->timer, job_closed_callback);
}

static char *copy_text(const char *text, bool *failed)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    *failed = *failed || (text != NULL && copy == NULL);
    return copy;
}

struct store_job *store_prepare(uv_loop_t *loop, const struct store_options *options,
                                store_progress progress, store_done done, void *arg)
{
    bool failed = false;
    struct store_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    job->loop = loop;
    job->progress_callback = progress;
    job->done_callback = done;
    job->arg = arg;
    job->options = *options;
    job->options.image = copy_text(options->image, &failed);
    job->options.sha256 = copy_text(options->sha256, &failed);
    job->options.minisign = copy_text(options->minisign, &failed);
    job->options.keyring = copy_text(options->keyring, &failed);
    job->options.cache_dir = copy_text(options->cache_dir, &failed);
    job->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (failed || job->cancel_fd < 0 ||
        uv_async_init(loop, &job->finished, job_finished_callback) != 0) {
        job_free(job);
        return NULL;
    }
    uv_timer_init(loop, &job->timer);
    job->open_handles = 2;
    job->finished.data = job->timer.data = job;
    uv_timer_start(&job->timer, job_progress_callback, PROGRESS_INTERVAL, PROGRESS_INTERVAL);
    job->started = uv_thread_create(&job->thread, job_thread, job) == 0;
    if (!job->started) {
        error_set(&job->err, ERROR_IO, "cannot start a thread");
        uv_async_send(&job->finished);
    }
    return job;
}

void store_job_cancel(struct store_job *job)
{
    uint64_t one = 1;
    if (job == NULL)
        return;
    atomic_store(&job->progress.cancelled, true);
    /* A counter that is full is readable as well, so the result says nothing new. */
    if (write(job->cancel_fd, &one, sizeof one) < 0)
        return;
}
