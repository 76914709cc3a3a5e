/* SPDX-License-Identifier: Apache-2.0 */
#include "run/run_internal.h"

#include "base/clock.h"
#include "report/report_file.h"
#include "run/notify.h"
#include "run/soak.h"
#include "source/url.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HANDSHAKES_MAX = 8 };

void run_message(struct run *run, enum log_level level, const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (level == LOG_ERROR && run->view.problem == NULL) {
        snprintf(run->problem, sizeof run->problem, "%s", text);
        run->view.problem = run->problem;
    }
    RUN_TELL(run, message, level, text, (*o_)->arg);
}

/* --- the end ------------------------------------------------------------------------- */

static int exit_code(const struct run *run)
{
    bool failed = false;
    bool busy = false;
    for (size_t i = 0; i < run->count; i++) {
        const struct target_status *status = run->statuses[i];
        bool bad = status->outcome == OUTCOME_FAILED ||
                   (status->outcome == OUTCOME_SKIPPED && run->config.strict);
        failed |= bad;
        busy |= bad && status->error.cls == ERROR_BUSY;
    }
    if (run->interrupts > 0)
        return 130;
    if (run->usage_error)
        return 2;
    if (run->view.halted != NULL)
        return 3;
    if (busy)
        return 4;
    return failed || run->check_failed || run->window_closed ? 1 : 0;
}

static void handle_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Takes the run down once the stack has unwound; the loop ends when all handles are closed. */
static void run_ending_callback(uv_timer_t *timer)
{
    struct run *run = timer->data;
    run->view.phase = RUN_ENDED;
    run->view.ended_ms = clock_unix_ms();
    run->view.exit_code = exit_code(run);
    for (const char *const *path = run->config.reports; *path != NULL; path++) {
        struct error err;
        if (report_write(&run->view, *path, &err) != 0)
            run_message(run, LOG_ERROR, "%s", err.text);
    }
    if (run->config.journal != NULL)
        journal_end_run(run->config.journal, run->id, run->view.ended_ms, run->view.exit_code);
    RUN_TELL(run, run_ended, (*o_)->arg);
    notify_send(run);
    for (size_t i = 0; i < run->count; i++)
        target_free(run->targets[i]);
    station_free(run->env.station);
    store_close(run->store);
    run->store = NULL;
    link_pool_free(run->env.links);
    for (size_t i = 0; i < sizeof run->signals / sizeof *run->signals; i++)
        handle_close((uv_handle_t *)&run->signals[i]);
    local_cancel(run->gate);
    if (run->terminal != NULL)
        handle_close((uv_handle_t *)run->terminal);
    handle_close((uv_handle_t *)&run->window);
    handle_close((uv_handle_t *)&run->soak);
    handle_close((uv_handle_t *)&run->pause);
    handle_close((uv_handle_t *)&run->ending);
}

void run_settle(struct run *run)
{
    if (run->done == run->count && run->job == NULL && !passage_is_busy(run) &&
        !uv_is_active((uv_handle_t *)&run->ending))
        uv_timer_start(&run->ending, run_ending_callback, 0, 0);
}

void run_refuse(struct run *run, const char *reason)
{
    run->refused = true;
    for (size_t i = 0; i < run->count; i++)
        target_decline(run->targets[i], reason);
    run_settle(run);
}

/* --- targets ------------------------------------------------------------------------- */

/* With --check and before a question everybody is probed first. */
bool run_wants_plan(const struct run *run)
{
    return run->config.check || !run->config.yes;
}

/* The plan needs the image and every target's facts. */
void run_try_plan(struct run *run)
{
    if (run->asked || run->refused || run->job != NULL || !run_wants_plan(run) ||
        (run->config.image != NULL && run->store == NULL))
        return;
    for (size_t i = 0; i < run->count; i++) {
        if (run->statuses[i]->outcome == OUTCOME_NONE && !run->statuses[i]->facts.known)
            return;
    }
    if (run->looking)
        return; /* one that has its answer at once comes back here */
    bool looking = false;
    run->looking = true;
    for (size_t i = 0; i < run->count; i++)
        looking |= target_look(run->targets[i]);
    run->looking = false;
    if (looking)
        return;
    run->asked = true;
    run->view.phase = RUN_PLANNING;
    ask_user(run);
}

static void target_probed_callback(struct target *target, void *arg)
{
    (void)target;
    struct run *run = arg;
    run_try_plan(run);
    if (run->view.phase == RUN_FLASHING) /* it was absent */
        waves_go_on(run);
}

static void target_absent_callback(struct target *target, void *arg)
{
    (void)target;
    struct run *run = arg;
    if (run->view.phase == RUN_FLASHING)
        waves_go_on(run);
}

static void target_changed_callback(struct target *target, void *arg)
{
    struct run *run = arg;
    RUN_TELL(run, target_changed, target_status(target), (*o_)->arg);
}

static void target_log_callback(struct target *target, enum log_level level, const char *text,
                                void *arg)
{
    struct run *run = arg;
    RUN_TELL(run, target_log, target_status(target), level, text, (*o_)->arg);
}

static void target_done_callback(struct target *target, void *arg)
{
    struct run *run = arg;
    run->done++;
    RUN_TELL(run, target_done, target_status(target), (*o_)->arg);
    run_try_plan(run);
    waves_target_done(run);
    run_settle(run);
}

static void target_soaking_callback(struct target *target, void *arg)
{
    (void)target;
    soak_target_recorded(arg);
}

static void target_soaked_callback(struct target *target, void *arg)
{
    struct run *run = arg;
    RUN_TELL(run, target_soaked, target_status(target), (*o_)->arg);
    waves_judge(run); /* at once; the others are looked at all the same */
    soak_target_checked(run);
}

/* --- life ---------------------------------------------------------------------------- */

static void run_name(struct run *run)
{
    time_t now = time(NULL);
    struct tm when;
    gmtime_r(&now, &when);
    size_t size = strftime(run->id, sizeof run->id, "%Y%m%dT%H%M%S", &when);
    snprintf(run->id + size, sizeof run->id - size, "-%04x", (unsigned)randombytes_uniform(65536));
    if (gethostname(run->controller, sizeof run->controller - 1) != 0)
        strcpy(run->controller, "unknown");
}

static void env_fill(struct run *run)
{
    const struct run_config *config = &run->config;
    run->env = (struct target_env){
        .loop = config->loop,
        .links = link_pool_new(config->loop, HANDSHAKES_MAX),
        .station = station_new(config->loop),
        .policies = config->policies,
        .files = config->files,
        .run_id = run->id,
        .controller = run->controller,
        .image = run->image_shown,
        .force = config->force,
        .accept_once = config->accept_once,
        .mode = config->mode,
        .local = config->local,
        .journal = config->journal,
        .known = config->known,
        .probed = target_probed_callback,
        .absent = target_absent_callback,
        .changed = target_changed_callback,
        .log = target_log_callback,
        .done = target_done_callback,
        .soaking = target_soaking_callback,
        .soaked = target_soaked_callback,
        .arg = run,
    };
}

static void view_fill(struct run *run)
{
    run->view = (struct run_view){
        .id = run->id,
        .command = run->config.check ? "check" : "flash",
        .image = run->image_shown,
        .inventory = run->config.inventory->file,
        .controller = run->controller,
        .started_ms = clock_unix_ms(),
        .wave_count = 1,
        .target_count = run->count,
        .targets = run->statuses,
    };
}

static int targets_make(struct run *run)
{
    const struct inventory *inventory = run->config.inventory;
    run->targets = calloc(inventory->target_count + 1, sizeof *run->targets);
    run->statuses = calloc(inventory->target_count + 1, sizeof *run->statuses);
    if (run->targets == NULL || run->statuses == NULL)
        return -1;
    for (size_t i = 0; i < inventory->target_count; i++) {
        if (!run->config.selected[i])
            continue;
        const struct target_spec *spec = &inventory->targets[i];
        int wave = inventory->wave_count == 0 ? 0 : inventory_wave_of(inventory, i);
        if (wave < 0) {
            run->left_alone++;
            continue;
        }
        struct target *target = target_new(&run->env, spec, (unsigned)i, (unsigned)wave);
        if (target == NULL)
            return -1;
        run->targets[run->count] = target;
        if ((unsigned)wave < inventory->wave_count && inventory->waves[wave].soak != 0)
            target_soak_expect(target);
        for (size_t k = 0; k < run->config.resume_count; k++) {
            if (strcmp(run->config.resume_targets[k].name, spec->name) == 0)
                target_resume(target, &run->config.resume_targets[k]);
        }
        run->statuses[run->count++] = target_status(target);
        run->done += target_status(target)->outcome != OUTCOME_NONE; /* all but its soak */
        if ((unsigned)wave + 1 > run->view.wave_count)
            run->view.wave_count = (unsigned)wave + 1;
    }
    run->view.target_count = run->count;
    /* The run's limit is shared out evenly among those that may run at once. */
    unsigned parallel = waves_parallel(run, 0);
    if (run->config.rate != 0 && run->count > 0)
        run->env.rate = run->config.rate / (run->count < parallel ? run->count : parallel) + 1;
    return 0;
}

struct run *run_new(const struct run_config *config, struct error *err)
{
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    run->config = *config;
    if (config->image != NULL &&
        (run->image_shown = url_is_http(config->image) ? url_display(config->image)
                                                       : strdup(config->image)) == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return run_free(run), NULL;
    }
    run_name(run);
    if (config->resume != NULL)
        snprintf(run->id, sizeof run->id, "%s", config->resume->id);
    env_fill(run);
    view_fill(run);
    if (run->env.links == NULL || run->env.station == NULL || targets_make(run) != 0) {
        error_set(err, ERROR_IO, "out of memory");
        return run_free(run), NULL;
    }
    run->view.targets = run->statuses;
    uv_timer_init(config->loop, &run->window);
    run->window.data = run;
    uv_timer_init(config->loop, &run->soak);
    run->soak.data = run;
    uv_timer_init(config->loop, &run->pause);
    run->pause.data = run;
    uv_timer_init(config->loop, &run->ending);
    run->ending.data = run;
    /* Before there are signals to look after: ^C ends the program while ssh is asked. */
    bool known = run_claim_names(run, err) == 0;
    run_listen(run);
    if (!known || (!config->check && run_claim(run, err) != 0)) {
        run->done = run->count;
        for (size_t i = 0; i < run->count; i++)
            target_free(run->targets[i]);
        for (size_t i = 0; i < sizeof run->signals / sizeof *run->signals; i++)
            handle_close((uv_handle_t *)&run->signals[i]);
        handle_close((uv_handle_t *)&run->window);
        handle_close((uv_handle_t *)&run->soak);
        handle_close((uv_handle_t *)&run->pause);
        handle_close((uv_handle_t *)&run->ending);
        link_pool_free(run->env.links);
        station_free(run->env.station);
        uv_run(config->loop, UV_RUN_DEFAULT);
        return run_free(run), NULL;
    }
    return run;
}

void run_start(struct run *run)
{
    RUN_TELL(run, run_started, (*o_)->arg);
    if (run->left_alone > 0)
        run_message(run, LOG_WARNING, "%zu targets are in no wave of the rollout and left alone",
                    run->left_alone);
    waves_announce_jumps(run);
    run_prepare_image(run);
    /* The image is read while the devices are probed; nothing is touched before it is checked. */
    unsigned parallel = waves_parallel(run, 0);
    for (size_t i = 0; i < run->count; i++) {
        if (run_wants_plan(run) ||
            (run->statuses[i]->wave == 0 && i < parallel && jumps_behind(run->jumps, i) == 0))
            target_probe(run->targets[i]);
    }
    run_settle(run);
}

int run_exit_code(const struct run *run)
{
    return run->view.exit_code;
}

void run_free(struct run *run)
{
    device_locks_free(run->locks);
    jumps_free(run->jumps);
    free(run->targets);
    free(run->statuses);
    free(run->image_shown);
    free(run);
}
