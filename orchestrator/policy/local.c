/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/local.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* How long a program may take from SIGTERM to its end. */
#define LOCAL_GRACE_MS 2000u
/* How long its output may stay open after its end (a daemon it left behind holds the pipe). */
#define LOCAL_DRAIN_MS 500u

/* Memory for output beyond what is kept: read and dropped. */
#define LOCAL_SPARE 4096u

enum local_state {
    LOCAL_RUNNING,
    LOCAL_DRAINING, /* it has ended, its output has not */
    LOCAL_KILLING,  /* told to end; nobody listens any more */
    LOCAL_CLOSING,
};

struct local_stream {
    uv_pipe_t pipe;
    char *text; /* terminated */
    size_t size, max;
    bool ended;
};

struct local_process {
    enum local_state state;
    uv_process_t process;
    uv_timer_t timer;
    struct local_stream out, err;
    unsigned open_handles;
    uint64_t timeout;
    int64_t exit_status;
    int signal;
    int start_error; /* of uv_spawn, 0: it runs */
    local_done done; /* NULL: called, or cancelled */
    void *arg;
};

static void local_handle_closed(uv_handle_t *handle)
{
    struct local_process *process = handle->data;
    if (--process->open_handles > 0)
        return;
    free(process->out.text);
    free(process->err.text);
    free(process);
}

static void local_close(struct local_process *process)
{
    if (process->state == LOCAL_CLOSING)
        return;
    process->state = LOCAL_CLOSING;
    uv_close((uv_handle_t *)&process->process, local_handle_closed);
    uv_close((uv_handle_t *)&process->timer, local_handle_closed);
    uv_close((uv_handle_t *)&process->out.pipe, local_handle_closed);
    uv_close((uv_handle_t *)&process->err.pipe, local_handle_closed);
}

static void local_report(struct local_process *process, int exit_status, const char *error)
{
    local_done done = process->done;
    process->done = NULL;
    process->out.text[process->out.size] = '\0';
    process->err.text[process->err.size] = '\0';
    if (done != NULL)
        done(exit_status, process->out.text, process->err.text, error, process->arg);
}

static void local_report_end(struct local_process *process)
{
    char error[80] = "";
    if (process->signal != 0)
        snprintf(error, sizeof error, "died of signal %d (%s)", process->signal,
                 strsignal(process->signal));
    local_report(process, process->signal != 0 ? -1 : (int)process->exit_status, error);
    local_close(process);
}

static void local_timer_callback(uv_timer_t *timer);

/* The group is the program's own (UV_PROCESS_DETACHED made it a session leader). */
static void local_kill_group(struct local_process *process, int signal)
{
    kill(-process->process.pid, signal);
}

static void local_end(struct local_process *process)
{
    process->state = LOCAL_KILLING;
    uv_read_stop((uv_stream_t *)&process->out.pipe);
    uv_read_stop((uv_stream_t *)&process->err.pipe);
    local_kill_group(process, SIGTERM);
    uv_timer_start(&process->timer, local_timer_callback, LOCAL_GRACE_MS, 0);
}

/* One timer for whatever comes next in the state at hand. */
static void local_timer_callback(uv_timer_t *timer)
{
    struct local_process *process = timer->data;
    char error[80];
    if (process->start_error != 0) {
        snprintf(error, sizeof error, "could not be started: %s",
                 uv_strerror(process->start_error));
        local_report(process, -1, error);
        local_close(process);
        return;
    }
    switch (process->state) {
    case LOCAL_RUNNING:
        snprintf(error, sizeof error, "did not end within %" PRIu64 " ms", process->timeout);
        local_end(process);
        local_report(process, -1, error);
        break;
    case LOCAL_DRAINING:
        local_report_end(process);
        break;
    case LOCAL_KILLING:
        local_kill_group(process, SIGKILL);
        break;
    case LOCAL_CLOSING:
        break;
    }
}

static void local_exit_callback(uv_process_t *handle, int64_t exit_status, int signal)
{
    struct local_process *process = handle->data;
    process->exit_status = exit_status;
    process->signal = signal;
    if (process->state == LOCAL_KILLING) {
        /* What it started and left behind in its group. */
        local_kill_group(process, SIGKILL);
        local_close(process);
    } else if (process->out.ended && process->err.ended) {
        local_report_end(process);
    } else {
        process->state = LOCAL_DRAINING;
        uv_timer_start(&process->timer, local_timer_callback, LOCAL_DRAIN_MS, 0);
    }
}

/* Room for what still fits, and a bit more: the program must not hang in a full pipe. */
static void local_alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct local_process *process = handle->data;
    struct local_stream *stream =
        handle == (uv_handle_t *)&process->out.pipe ? &process->out : &process->err;
    (void)suggested;
    *buf = uv_buf_init(stream->text + stream->size,
                       (unsigned)(stream->max + LOCAL_SPARE - stream->size));
}

static void local_read_callback(uv_stream_t *handle, ssize_t size, const uv_buf_t *buf)
{
    struct local_process *process = handle->data;
    struct local_stream *stream =
        handle == (uv_stream_t *)&process->out.pipe ? &process->out : &process->err;
    (void)buf;
    if (size > 0)
        stream->size += (size_t)size;
    if (stream->size > stream->max)
        stream->size = stream->max;
    if (size >= 0)
        return;
    stream->ended = true;
    uv_read_stop(handle);
    if (process->state == LOCAL_DRAINING && process->out.ended && process->err.ended)
        local_report_end(process);
}

/* The input as a file without a name: no pipe to feed, no SIGPIPE when nobody reads it. */
static int input_open(const char *input)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    size_t left = strlen(input);
    while (fd >= 0 && left > 0) {
        ssize_t written = write(fd, input, left);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            close(fd);
            return -1;
        }
        input += written;
        left -= (size_t)written;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

static int local_spawn(struct local_process *process, uv_loop_t *loop, const char *const *argv,
                       const char *input)
{
    int fd = input == NULL ? -1 : input_open(input);
    if (input != NULL && fd < 0)
        return UV_ENOMEM;
    uv_stdio_container_t stdio[3] = {
        {.flags = input == NULL ? UV_IGNORE : UV_INHERIT_FD, .data.fd = fd},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&process->out.pipe},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&process->err.pipe},
    };
    uv_process_options_t options = {
        .exit_cb = local_exit_callback,
        .file = argv[0],
        .args = (char **)(uintptr_t)argv, /* uv copies nothing, and changes nothing */
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };
    int result = uv_spawn(loop, &process->process, &options);
    if (fd >= 0)
        close(fd);
    return result;
}

static struct local_process *local_new(uv_loop_t *loop)
{
    struct local_process *process = calloc(1, sizeof *process);
    if (process == NULL)
        return NULL;
    process->out.max = LOCAL_OUT_MAX;
    process->err.max = LOCAL_ERR_MAX;
    process->out.text = calloc(1, LOCAL_OUT_MAX + LOCAL_SPARE);
    process->err.text = calloc(1, LOCAL_ERR_MAX + LOCAL_SPARE);
    if (process->out.text == NULL || process->err.text == NULL) {
        free(process->out.text);
        free(process->err.text);
        free(process);
        return NULL;
    }
    uv_timer_init(loop, &process->timer);
    uv_pipe_init(loop, &process->out.pipe, 0);
    uv_pipe_init(loop, &process->err.pipe, 0);
    process->process.data = process->timer.data = process;
    process->out.pipe.data = process->err.pipe.data = process;
    process->open_handles = 4;
    return process;
}

struct local_process *local_start(uv_loop_t *loop, const char *const *argv, const char *input,
                                  uint64_t timeout, local_done done, void *arg)
{
    struct local_process *process = local_new(loop);
    if (process == NULL)
        return NULL;
    process->done = done;
    process->arg = arg;
    process->timeout = timeout;
    process->start_error = local_spawn(process, loop, argv, input);
    if (process->start_error == 0) {
        uv_read_start((uv_stream_t *)&process->out.pipe, local_alloc_callback, local_read_callback);
        uv_read_start((uv_stream_t *)&process->err.pipe, local_alloc_callback, local_read_callback);
    }
    /* A program that could not be started is reported from the loop, too. */
    uv_timer_start(&process->timer, local_timer_callback, process->start_error != 0 ? 0 : timeout,
                   0);
    return process;
}

void local_cancel(struct local_process *process)
{
    if (process == NULL)
        return;
    process->done = NULL;
    if (process->state == LOCAL_RUNNING && process->start_error == 0)
        local_end(process);
    else if (process->state != LOCAL_KILLING)
        local_close(process);
}
