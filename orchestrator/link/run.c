/* SPDX-License-Identifier: Apache-2.0 */
/* A short command with its whole output. */
#include "link/internal.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_LIMIT (64u * 1024u)
#define ERR_LIMIT 4096u

struct link_run {
    struct wire *wire;
    uv_timer_t timer;
    link_run_callback callback; /* NULL: told or cancelled */
    void *arg;
    uint64_t timeout;
    char *command; /* its beginning, for messages */
    char *out;
    size_t out_size, out_room;
    char err_text[ERR_LIMIT + 1];
    size_t err_size;
};

static void run_timer_closed_callback(uv_handle_t *handle)
{
    struct link_run *run = handle->data;
    free(run->command);
    free(run->out);
    free(run);
}

static void run_end(struct link_run *run)
{
    run->callback = NULL;
    wire_close(run->wire);
    run->wire = NULL;
    uv_close((uv_handle_t *)&run->timer, run_timer_closed_callback);
}

static void run_tell(struct link_run *run, int exit_status, const struct error *err)
{
    link_run_callback callback = run->callback;
    struct link_run_result result = {
        .exit_status = exit_status,
        .out = run->out != NULL ? run->out : "",
        .out_size = run->out_size,
        .err_text = run->err_text,
        .err = err,
    };
    if (callback == NULL)
        return;
    run->callback = NULL;
    callback(&result, run->arg);
    run_end(run);
}

static void run_data_callback(struct wire *wire, const uint8_t *data, size_t size, void *arg)
{
    (void)wire;
    struct link_run *run = arg;
    if (size > OUT_LIMIT - run->out_size)
        size = OUT_LIMIT - run->out_size;
    if (run->out_size + size + 1 > run->out_room) {
        size_t room = (run->out_size + size + 1) * 2;
        char *grown = realloc(run->out, room);
        if (grown == NULL)
            return;
        run->out = grown;
        run->out_room = room;
    }
    memcpy(run->out + run->out_size, data, size);
    run->out_size += size;
    run->out[run->out_size] = '\0';
}

static void run_diagnostic_callback(struct wire *wire, const char *text, size_t size, void *arg)
{
    (void)wire;
    struct link_run *run = arg;
    if (size > ERR_LIMIT - run->err_size)
        size = ERR_LIMIT - run->err_size;
    memcpy(run->err_text + run->err_size, text, size);
    run->err_size += size;
    run->err_text[run->err_size] = '\0';
}

static void run_closed_callback(struct wire *wire, int exit_status, const struct error *err,
                                void *arg)
{
    (void)wire;
    run_tell(arg, exit_status, err->cls != ERROR_NONE ? err : NULL);
}

static void run_timer_callback(uv_timer_t *timer)
{
    struct link_run *run = timer->data;
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "the command '%s' on the device did not end within %.1f s",
              run->command, (double)run->timeout / 1000.0);
    run_tell(run, -1, &err);
}

static const struct wire_events run_events = {
    .data = run_data_callback,
    .diagnostic = run_diagnostic_callback,
    .closed = run_closed_callback,
};

struct link_run *link_run_command(struct link *link, const char *command, struct buffer *input,
                                  uint64_t timeout, link_run_callback callback, void *arg)
{
    struct link_run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return NULL;
    run->command = strndup(command, 80);
    run->wire = run->command != NULL ? link_exec(link, command, &run_events, run) : NULL;
    if (run->wire == NULL) {
        free(run->command);
        free(run);
        return NULL;
    }
    run->callback = callback;
    run->arg = arg;
    run->timeout = timeout;
    uv_timer_init(link->pool->loop, &run->timer);
    run->timer.data = run;
    uv_update_time(link->pool->loop);
    uv_timer_start(&run->timer, run_timer_callback, timeout, 0);
    if (input != NULL)
        wire_write(run->wire, input, 0, input->size);
    wire_shut(run->wire);
    return run;
}

void link_run_cancel(struct link_run *run)
{
    if (run != NULL)
        run_end(run);
}
