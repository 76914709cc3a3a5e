/* SPDX-License-Identifier: Apache-2.0 */
#include "report/outbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

struct outbox {
    int fd;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t work, idle;
    /* all below under the mutex */
    char *data;
    size_t size, room;
    size_t writing; /* bytes the thread has taken and not written yet */
    bool closing, dead;
    int error; /* the first one */
};

/* 0, or errno when nobody reads any more. */
static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EAGAIN) { /* somebody made it non-blocking */
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            poll(&ready, 1, -1);
            continue;
        }
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

static void outbox_thread(void *arg)
{
    struct outbox *box = arg;
    sigset_t all;
    sigfillset(&all); /* SIGPIPE too: the error is enough */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    uv_mutex_lock(&box->mutex);
    for (;;) {
        while (box->size == 0 && !box->closing)
            uv_cond_wait(&box->work, &box->mutex);
        if (box->size == 0)
            break;
        char *data = box->data;
        size_t size = box->size;
        box->data = NULL;
        box->size = box->room = 0;
        box->writing = size;
        uv_mutex_unlock(&box->mutex);
        int error = write_all(box->fd, data, size);
        free(data);
        uv_mutex_lock(&box->mutex);
        box->writing = 0;
        if (error != 0) {
            box->dead = true;
            box->error = box->error != 0 ? box->error : error;
            box->size = 0;
        }
        if (box->size == 0)
            uv_cond_broadcast(&box->idle);
    }
    uv_mutex_unlock(&box->mutex);
}

struct outbox *outbox_new(int fd)
{
    struct outbox *box = calloc(1, sizeof *box);
    if (box == NULL)
        return NULL;
    box->fd = fd;
    if (uv_mutex_init(&box->mutex) != 0)
        goto fail;
    if (uv_cond_init(&box->work) != 0)
        goto fail_mutex;
    if (uv_cond_init(&box->idle) != 0)
        goto fail_work;
    if (uv_thread_create(&box->thread, outbox_thread, box) != 0)
        goto fail_idle;
    return box;
fail_idle:
    uv_cond_destroy(&box->idle);
fail_work:
    uv_cond_destroy(&box->work);
fail_mutex:
    uv_mutex_destroy(&box->mutex);
fail:
    free(box);
    return NULL;
}

static bool make_room(struct outbox *box, size_t size)
{
    size_t need = box->size + size;
    if (need + box->writing > OUTBOX_LIMIT)
        return false;
    if (need <= box->room)
        return true;
    size_t room = need < 4096 ? 4096 : need * 2;
    char *data = realloc(box->data, room);
    if (data == NULL)
        return false;
    box->data = data;
    box->room = room;
    return true;
}

bool outbox_add(struct outbox *box, const char *data, size_t size)
{
    uv_mutex_lock(&box->mutex);
    bool ok = !box->dead && make_room(box, size);
    if (ok && size > 0) {
        memcpy(box->data + box->size, data, size);
        box->size += size;
        uv_cond_signal(&box->work);
    } else if (!ok && box->error == 0) {
        box->error = ENOBUFS;
    }
    uv_mutex_unlock(&box->mutex);
    return ok;
}

size_t outbox_pending(struct outbox *box)
{
    uv_mutex_lock(&box->mutex);
    size_t pending = box->size + box->writing;
    uv_mutex_unlock(&box->mutex);
    return pending;
}

void outbox_flush(struct outbox *box)
{
    uv_mutex_lock(&box->mutex);
    while (box->size + box->writing > 0)
        uv_cond_wait(&box->idle, &box->mutex);
    uv_mutex_unlock(&box->mutex);
}

int outbox_error(struct outbox *box)
{
    outbox_flush(box);
    uv_mutex_lock(&box->mutex);
    int error = box->error;
    uv_mutex_unlock(&box->mutex);
    return error;
}

void outbox_free(struct outbox *box)
{
    if (box == NULL)
        return;
    outbox_flush(box);
    uv_mutex_lock(&box->mutex);
    box->closing = true;
    uv_cond_signal(&box->work);
    uv_mutex_unlock(&box->mutex);
    uv_thread_join(&box->thread);
    uv_cond_destroy(&box->idle);
    uv_cond_destroy(&box->work);
    uv_mutex_destroy(&box->mutex);
    free(box->data);
    free(box);
}
