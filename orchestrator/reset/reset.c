/* SPDX-License-Identifier: Apache-2.0 */
#include "reset/reset.h"

#include "policy/local.h"
#include "reset/gpio_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_TIMEOUT_MS 120000u

enum reset_state {
    RESET_CHECKING,  /* a worker looks at the line */
    RESET_CLAIMING,  /* a worker claims it */
    RESET_HOLDING,   /* it is active, the timer runs */
    RESET_RELEASING, /* a worker lets it go */
    RESET_COMMAND,   /* the command runs */
    RESET_CLOSING,
};

struct reset {
    enum reset_state state;
    bool cancelled;
    bool acted;
    const struct target_spec *target;
    uv_timer_t timer;
    uv_work_t work;
    struct gpio_line *line;
    struct local_process *command;
    struct error err; /* of the last step */
    reset_callback done;
    void *arg;
};

static void timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void finish(struct reset *reset)
{
    if (!reset->cancelled)
        reset->done(reset->err.cls != ERROR_NONE ? &reset->err : NULL, reset->acted, reset->arg);
    reset->state = RESET_CLOSING;
    uv_close((uv_handle_t *)&reset->timer, timer_closed);
}

/* The end, from the loop, of what had nothing to wait for. */
static void end_callback(uv_timer_t *timer)
{
    finish(timer->data);
}

/* --- a line --------------------------------------------------------------------------------------
 */

/* On a worker: the one thing of this state that may wait for the chip. */
static void work_callback(uv_work_t *work)
{
    struct reset *reset = work->data;
    const struct reset_spec *spec = &reset->target->reset;
    if (reset->state == RESET_CHECKING) {
        gpio_line_check(spec->chip, spec->line, &reset->err);
    } else if (reset->state == RESET_CLAIMING) {
        reset->line = gpio_line_claim(spec->chip, spec->line, spec->active_low, &reset->err);
        reset->acted = reset->line != NULL;
    } else {
        gpio_line_release(reset->line, &reset->err);
        reset->line = NULL;
    }
}

static void release(struct reset *reset);
static void hold_callback(uv_timer_t *timer);

static void after_work_callback(uv_work_t *work, int status)
{
    struct reset *reset = work->data;
    (void)status; /* never cancelled while it waits: a claimed line has to be let go */
    if (reset->state != RESET_CLAIMING || reset->line == NULL) {
        finish(reset);
    } else if (reset->cancelled) {
        release(reset);
    } else {
        reset->state = RESET_HOLDING;
        uv_update_time(reset->timer.loop);
        uv_timer_start(&reset->timer, hold_callback, reset->target->reset.hold, 0);
    }
}

static void begin_work(struct reset *reset, enum reset_state state)
{
    reset->state = state;
    uv_queue_work(reset->timer.loop, &reset->work, work_callback, after_work_callback);
}

static void release(struct reset *reset)
{
    uv_timer_stop(&reset->timer);
    begin_work(reset, RESET_RELEASING);
}

static void hold_callback(uv_timer_t *timer)
{
    release(timer->data);
}

/* --- a command -----------------------------------------------------------------------------------
 */

static void command_callback(int exit_status, const char *out, const char *err, const char *error,
                             void *arg)
{
    struct reset *reset = arg;
    (void)out;
    reset->command = NULL;
    int length = (int)strcspn(err, "\r\n");
    if (exit_status < 0)
        error_set(&reset->err, ERROR_IO, "the reset command %s", error);
    else if (exit_status > 0)
        error_set(&reset->err, ERROR_IO, "the reset command ended with exit status %d%s%.*s",
                  exit_status, length > 0 ? ": " : "", length, err);
    if (exit_status != 0)
        error_remedy(&reset->err, "run it by hand: %s", reset->target->reset.command);
    finish(reset);
}

static void start_command(struct reset *reset)
{
    const struct target_spec *target = reset->target;
    const char *const argv[] = {"/bin/sh",
                                "-c",
                                target->reset.command,
                                "reset",
                                target->name,
                                target->host,
                                target->mac != NULL ? target->mac : "",
                                NULL};
    reset->state = RESET_COMMAND;
    reset->command =
        local_start(reset->timer.loop, argv, NULL, COMMAND_TIMEOUT_MS, command_callback, reset);
    reset->acted = reset->command != NULL;
    if (reset->command == NULL) {
        error_set(&reset->err, ERROR_IO, "no memory to run the reset command");
        uv_timer_start(&reset->timer, end_callback, 0, 0);
    }
}

/* --- interface -----------------------------------------------------------------------------------
 */

static struct reset *reset_new(uv_loop_t *loop, const struct target_spec *target,
                               reset_callback done, void *arg)
{
    struct reset *reset = calloc(1, sizeof *reset);
    if (reset == NULL)
        return NULL;
    reset->target = target;
    reset->done = done;
    reset->arg = arg;
    uv_timer_init(loop, &reset->timer);
    reset->timer.data = reset->work.data = reset;
    return reset;
}

struct reset *reset_start(uv_loop_t *loop, const struct target_spec *target, reset_callback done,
                          void *arg)
{
    struct reset *reset = reset_new(loop, target, done, arg);
    if (reset != NULL && target->reset.command != NULL)
        start_command(reset);
    else if (reset != NULL)
        begin_work(reset, RESET_CLAIMING);
    return reset;
}

struct reset *reset_check(uv_loop_t *loop, const struct target_spec *target, reset_callback done,
                          void *arg)
{
    struct reset *reset = reset_new(loop, target, done, arg);
    if (reset != NULL && target->reset.command != NULL)
        uv_timer_start(&reset->timer, end_callback, 0, 0);
    else if (reset != NULL)
        begin_work(reset, RESET_CHECKING);
    return reset;
}

void reset_cancel(struct reset *reset)
{
    if (reset == NULL || reset->cancelled)
        return;
    reset->cancelled = true;
    if (reset->state == RESET_HOLDING) {
        release(reset);
    } else if (reset->state == RESET_COMMAND && reset->command != NULL) {
        local_cancel(reset->command);
        finish(reset);
    }
}

char *reset_text(const struct reset_spec *spec, char *out, size_t out_size)
{
    if (spec->command != NULL)
        snprintf(out, out_size, "its command");
    else
        snprintf(out, out_size, "line %s of %s %s for %" PRIu64 " ms", spec->line, spec->chip,
                 spec->active_low ? "low" : "high", spec->hold);
    return out;
}
