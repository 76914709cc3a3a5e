/* SPDX-License-Identifier: Apache-2.0 */
/* What the user says while a run is under way, by signals or keys: stop in order, stop at once,
 * pause. */
#include "run/run_internal.h"

#include <signal.h>

/* The first asks everybody to stop in order, the second lets go of everything. */
static void run_interrupt(struct run *run, const char *how)
{
    run->interrupts++;
    run->view.interrupted = true;
    if (run->interrupts == 1)
        run_message(run, LOG_WARNING,
                    "%s: nothing new is started; devices inside the destructive part finish "
                    "(once more to stop at once)",
                    how);
    if (run->job != NULL)
        store_job_cancel(run->job);
    passage_cancel(run);
    for (size_t i = 0; i < run->count; i++) {
        if (run->interrupts == 1)
            target_interrupt(run->targets[i]);
        else
            target_abandon(run->targets[i]);
    }
    run_settle(run);
}

static void signal_callback(uv_signal_t *handle, int number)
{
    run_interrupt(handle->data, number == SIGINT ? "interrupted" : "told to end");
}

void run_stop(struct run *run)
{
    if (run->interrupts == 0)
        run_interrupt(run, "told to stop");
}

static void pause_callback(uv_timer_t *timer)
{
    (void)timer; /* it is only there */
}

void run_pause(struct run *run, bool paused)
{
    if (run->view.phase != RUN_FLASHING || run->view.paused == paused || run->interrupts > 0)
        return;
    run->view.paused = paused;
    run_message(run, LOG_INFO,
                paused ? "paused: nothing new is started; devices under way go on" : "resumed");
    if (paused) {
        uv_timer_start(&run->pause, pause_callback, 3600000, 3600000);
        return;
    }
    uv_timer_stop(&run->pause);
    waves_go_on(run);
}

void run_listen(struct run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uv_signal_init(run->config.loop, &run->signals[i]);
        run->signals[i].data = run;
        uv_signal_start(&run->signals[i], signal_callback, numbers[i]);
        uv_unref((uv_handle_t *)&run->signals[i]);
    }
}
