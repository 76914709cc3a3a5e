/* SPDX-License-Identifier: Apache-2.0 */
#include "link/process.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OUT_LIMIT (64u * 1024u)
#define ERR_LIMIT 2048u

struct capture {
    uv_pipe_t pipe;
    struct process *process;
    char *text;
    size_t size;
    size_t limit;
    bool open;
    char chunk[1024];
};

struct process {
    uv_process_t handle;
    struct capture out;
    struct capture err;
    process_callback done;
    void *arg;
    int exit_status;
    int signal;
    bool exited;
    bool stopped;
    unsigned handles; /* still to be closed */
};

static void process_closed_callback(uv_handle_t *handle)
{
    struct process *process = handle->data;
    if (--process->handles > 0)
        return;
    free(process->out.text);
    free(process->err.text);
    free(process);
}

static void process_close_handles(struct process *process)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&process->handle, (uv_handle_t *)&process->out.pipe,
                              (uv_handle_t *)&process->err.pipe};
    for (size_t i = 0; i < 3; i++)
        if (!uv_is_closing(handles[i]))
            uv_close(handles[i], process_closed_callback);
}

static void trim_line_ends(struct capture *capture)
{
    while (capture->size > 0 && strchr("\r\n", capture->text[capture->size - 1]) != NULL)
        capture->text[--capture->size] = '\0';
}

/* Tells the owner once the program is gone and both streams are at their end. */
static void process_check_done(struct process *process)
{
    if (!process->exited)
        return;
    if (process->stopped) {
        process_close_handles(process);
        return;
    }
    if (process->out.open || process->err.open || process->done == NULL)
        return;
    trim_line_ends(&process->err);
    struct process_result result = {
        .exit_status = process->signal != 0 ? -1 : process->exit_status,
        .signal = process->signal,
        .out = process->out.text,
        .err_text = process->err.text,
    };
    process_callback done = process->done;
    process->done = NULL;
    done(&result, process->arg);
}

static void process_exit_callback(uv_process_t *handle, int64_t status, int term_signal)
{
    struct process *process = handle->data;
    process->exited = true;
    process->exit_status = (int)status;
    process->signal = term_signal;
    process_check_done(process);
}

static void capture_alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct process *process = handle->data;
    struct capture *capture =
        handle == (uv_handle_t *)&process->out.pipe ? &process->out : &process->err;
    *buf = uv_buf_init(capture->chunk, sizeof capture->chunk);
}

/* Keeps the beginning of stdout, and reads on so that the program never blocks. */
static void capture_keep(struct capture *capture, const char *data, size_t size)
{
    size_t room = capture->limit - capture->size;
    if (size > room)
        size = room;
    memcpy(capture->text + capture->size, data, size);
    capture->size += size;
    capture->text[capture->size] = '\0';
}

static void capture_read_callback(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct process *process = stream->data;
    struct capture *capture =
        stream == (uv_stream_t *)&process->out.pipe ? &process->out : &process->err;
    if (nread > 0) {
        capture_keep(capture, buf->base, (size_t)nread);
    } else if (nread < 0) {
        uv_read_stop(stream);
        capture->open = false;
        process_check_done(process);
    }
}

static int capture_init(struct capture *capture, struct process *process, uv_loop_t *loop,
                        size_t limit)
{
    capture->process = process;
    capture->limit = limit;
    uv_pipe_init(loop, &capture->pipe, 0);
    capture->pipe.data = process;
    capture->text = calloc(1, limit + 1);
    return capture->text == NULL ? UV_ENOMEM : 0;
}

int process_start(uv_loop_t *loop, const char *const argv[], int io_fd, process_callback done,
                  void *arg, struct process **result)
{
    *result = NULL;
    struct process *process = calloc(1, sizeof *process);
    if (process == NULL)
        return UV_ENOMEM;
    process->done = done;
    process->arg = arg;
    process->handles = 3;
    int rc = capture_init(&process->out, process, loop, io_fd >= 0 ? 0 : OUT_LIMIT);
    int rc_err = capture_init(&process->err, process, loop, ERR_LIMIT);

    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&process->out.pipe},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&process->err.pipe},
    };
    if (io_fd >= 0)
        stdio[0] = stdio[1] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = io_fd};
    /* Detached: a session of its own, so that ssh has no terminal to ask questions on, and one kill
     * reaches whatever it started. */
    uv_process_options_t options = {
        .file = argv[0],
        .args = (char **)(uintptr_t)argv,
        .flags = UV_PROCESS_DETACHED,
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = process_exit_callback,
    };
    if (rc == 0)
        rc = rc_err;
    /* uv_spawn initialises the handle even when it fails; without it closing needs this. */
    if (rc == 0)
        rc = uv_spawn(loop, &process->handle, &options);
    else
        memset(&process->handle, 0, sizeof process->handle);
    process->handle.data = process;
    if (rc != 0) {
        if (process->handle.loop == NULL)
            process->handles = 2;
        else
            uv_close((uv_handle_t *)&process->handle, process_closed_callback);
        uv_close((uv_handle_t *)&process->out.pipe, process_closed_callback);
        uv_close((uv_handle_t *)&process->err.pipe, process_closed_callback);
        return rc;
    }
    if (io_fd < 0) {
        process->out.open = true;
        uv_read_start((uv_stream_t *)&process->out.pipe, capture_alloc_callback,
                      capture_read_callback);
    }
    process->err.open = true;
    uv_read_start((uv_stream_t *)&process->err.pipe, capture_alloc_callback, capture_read_callback);
    *result = process;
    return 0;
}

const char *process_err_text(const struct process *process)
{
    return process->err.text;
}

void process_stop(struct process *process)
{
    if (process == NULL)
        return;
    process->stopped = true;
    process->done = NULL;
    if (process->exited)
        process_close_handles(process);
    else
        kill(-process->handle.pid, SIGKILL); /* freed when it has been reaped */
}
