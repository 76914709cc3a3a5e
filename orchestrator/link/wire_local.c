/* SPDX-License-Identifier: Apache-2.0 */
#include "link/wire_local.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define READ_PIECE (64u * 1024u)

struct local {
    struct wire wire; /* first */
    uv_process_t process;
    uv_pipe_t in, out, err; /* its stdin, stdout, stderr */
    uv_timer_t soon;
    unsigned handles;
    unsigned streams; /* stdout and stderr still open */
    bool started, exited, told, released, above, shut;
    int exit_status;
    struct error error;
    char *name;
    char chunk[READ_PIECE];
};

struct local_write {
    uv_write_t request;
    struct local *local;
    struct buffer *buffer;
    size_t size;
};

static void local_handle_closed_callback(uv_handle_t *handle)
{
    struct local *local = handle->data;
    if (--local->handles > 0)
        return;
    free(local->name);
    free(local);
}

/* Ended, streams read to their end: the owner may know. */
static void local_check_over(struct local *local)
{
    if (!local->exited || local->streams > 0 || local->told || local->released)
        return;
    local->told = true;
    local->wire.events->closed(&local->wire, local->exit_status, &local->error, local->wire.arg);
}

static void local_close_handles(struct local *local)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&local->process, (uv_handle_t *)&local->in,
                              (uv_handle_t *)&local->out, (uv_handle_t *)&local->err,
                              (uv_handle_t *)&local->soon};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        if (handles[i]->data != NULL && !uv_is_closing(handles[i]))
            uv_close(handles[i], local_handle_closed_callback);
}

static void local_exit_callback(uv_process_t *process, int64_t status, int term_signal)
{
    struct local *local = process->data;
    local->exited = true;
    local->exit_status = term_signal != 0 ? -1 : (int)status;
    if (term_signal != 0)
        error_set(&local->error, ERROR_IO, "%s was ended by signal %d", local->name, term_signal);
    if (local->released)
        local_close_handles(local);
    else
        local_check_over(local);
}

static void local_alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct local *local = handle->data;
    *buf = uv_buf_init(local->chunk, sizeof local->chunk);
}

static void local_read_callback(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct local *local = stream->data;
    const struct wire_events *events = local->wire.events;
    if (nread < 0) {
        uv_read_stop(stream);
        local->streams--;
        local_check_over(local);
    } else if (nread > 0 && stream == (uv_stream_t *)&local->out) {
        local->wire.bytes_received += (size_t)nread;
        if (events->data != NULL)
            events->data(&local->wire, (const uint8_t *)buf->base, (size_t)nread, local->wire.arg);
    } else if (nread > 0 && events->diagnostic != NULL) {
        events->diagnostic(&local->wire, buf->base, (size_t)nread, local->wire.arg);
    }
}

static void local_written_callback(uv_write_t *request, int status)
{
    struct local_write *write = (struct local_write *)request;
    struct local *local = write->local;
    size_t size = write->size;
    buffer_unref(write->buffer);
    free(write);
    if (local->released)
        return;
    local->wire.pending -= size;
    if (status == 0)
        local->wire.bytes_sent += size;
    if (!local->above || local->wire.pending >= WIRE_LOW_WATER)
        return;
    local->above = false;
    if (!local->told && local->wire.events->drain != NULL)
        local->wire.events->drain(&local->wire, local->wire.arg);
}

static void local_write(struct wire *wire, struct buffer *buffer, size_t offset, size_t size)
{
    struct local *local = (struct local *)wire;
    if (size == 0 || !local->started || local->shut || local->told)
        return;
    struct local_write *write = malloc(sizeof *write);
    if (write == NULL)
        abort(); /* wire_write cannot fail, and a stream with a hole must not go on */
    write->local = local;
    write->buffer = buffer_ref(buffer);
    write->size = size;
    uv_buf_t buf = uv_buf_init((char *)buffer->data + offset, (unsigned)size);
    if (uv_write(&write->request, (uv_stream_t *)&local->in, &buf, 1, local_written_callback) !=
        0) {
        buffer_unref(buffer);
        free(write);
        return; /* the program is gone; closed will say so */
    }
    wire->pending += size;
    if (wire->pending >= WIRE_LOW_WATER)
        local->above = true;
}

/* uv_shutdown on a pipe only ends writing; the descriptor is closed to give end-of-file. */
static void local_shut_callback(uv_shutdown_t *request, int status)
{
    (void)status;
    struct local *local = request->data;
    free(request);
    if (!uv_is_closing((uv_handle_t *)&local->in))
        uv_close((uv_handle_t *)&local->in, local_handle_closed_callback);
}

static void local_shut(struct wire *wire)
{
    struct local *local = (struct local *)wire;
    uv_shutdown_t *request = malloc(sizeof *request);
    if (request == NULL)
        abort();
    request->data = local;
    if (local->shut || !local->started ||
        uv_shutdown(request, (uv_stream_t *)&local->in, local_shut_callback) != 0)
        free(request);
    local->shut = true;
}

static void local_close(struct wire *wire)
{
    struct local *local = (struct local *)wire;
    local->released = true;
    if (!local->started || local->exited) {
        local_close_handles(local);
        return;
    }
    kill(-local->process.pid, SIGTERM);
    uv_close((uv_handle_t *)&local->out, local_handle_closed_callback);
    uv_close((uv_handle_t *)&local->err, local_handle_closed_callback);
    if (!uv_is_closing((uv_handle_t *)&local->in))
        uv_close((uv_handle_t *)&local->in, local_handle_closed_callback);
}

static const struct wire_ops local_ops = {
    .write = local_write, .shut = local_shut, .close = local_close};

/* Tells what must not be told inside wire_spawn. */
static void local_soon_callback(uv_timer_t *timer)
{
    struct local *local = timer->data;
    if (local->released)
        return;
    if (local->started) {
        if (local->wire.events->opened != NULL)
            local->wire.events->opened(&local->wire, local->wire.arg);
        return;
    }
    local->exited = true;
    local_check_over(local);
}

static int local_start(struct local *local, uv_loop_t *loop, const char *const argv[])
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&local->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&local->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&local->err},
    };
    uv_process_options_t options = {
        .file = argv[0],
        .args = (char **)(uintptr_t)argv,
        .flags = UV_PROCESS_DETACHED,
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = local_exit_callback,
    };
    int rc = uv_spawn(loop, &local->process, &options);
    local->process.data = local;
    if (rc != 0)
        return rc;
    local->started = true;
    local->streams = 2;
    uv_read_start((uv_stream_t *)&local->out, local_alloc_callback, local_read_callback);
    uv_read_start((uv_stream_t *)&local->err, local_alloc_callback, local_read_callback);
    return 0;
}

struct wire *wire_spawn(uv_loop_t *loop, const char *const argv[], const struct wire_events *events,
                        void *arg)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL)
        return NULL;
    local->name = strdup(argv[0]);
    if (local->name == NULL) {
        free(local);
        return NULL;
    }
    local->wire = (struct wire){.ops = &local_ops, .events = events, .arg = arg};
    local->exit_status = -1;
    uv_pipe_init(loop, &local->in, 0);
    uv_pipe_init(loop, &local->out, 0);
    uv_pipe_init(loop, &local->err, 0);
    uv_timer_init(loop, &local->soon);
    local->in.data = local->out.data = local->err.data = local->soon.data = local;
    local->handles = 5;
    int rc = local_start(local, loop, argv);
    if (rc != 0) {
        error_set(&local->error, ERROR_IO, "cannot start %s: %s", local->name, uv_strerror(rc));
        error_remedy(&local->error, "check that %s is installed", local->name);
    }
    uv_timer_start(&local->soon, local_soon_callback, 0, 0);
    return &local->wire;
}
