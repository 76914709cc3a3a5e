/* SPDX-License-Identifier: Apache-2.0 */
#include "run/run_internal.h"

#include "base/clock.h"
#include "report/report_file.h"
#include "run/notify.h"
#include "run/soak.h"
#include "source/url.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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
static bool run_wants_plan(const struct run *run)
{
    return run->config.check || !run->config.yes;
}

/* The plan needs the image and every target's facts. */
static void run_try_plan(struct run *run)
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

/* --- the image ----------------------------------------------------------------------- */

static void image_progress_callback(uint64_t done, uint64_t total, uint64_t decoded, void *arg)
{
    struct run *run = arg;
    run->view.image_bytes_done = done;
    run->view.image_bytes_total = total;
    run->view.image_decoded = decoded;
    RUN_TELL(run, image_progress, (*o_)->arg);
}

/* The journal keeps which image a run flashes; a run that is resumed must have the same. */
static bool run_image_changed(struct run *run)
{
    char id[2 * PROTOCOL_HASH_SIZE + 1];
    sodium_bin2hex(id, sizeof id, run->view.store->image_id, PROTOCOL_HASH_SIZE);
    const struct journal_run *resume = run->config.resume;
    if (resume != NULL && resume->image_id[0] != '\0' && strcmp(resume->image_id, id) != 0)
        return true;
    if (run->config.journal != NULL)
        journal_note_image(run->config.journal, run->id, id);
    return false;
}

static void image_done_callback(struct store *store, const struct error *err, void *arg)
{
    struct run *run = arg;
    run->job = NULL;
    if (store == NULL) {
        if (run->interrupts == 0) {
            run->usage_error = true;
            run_message(run, LOG_ERROR, "%s%s%s", err->text, err->remedy[0] != '\0' ? " — " : "",
                        err->remedy);
        }
        run_refuse(run, "the image cannot be used, nothing was touched");
        return;
    }
    run->store = store;
    run->env.store = store;
    run->view.store = store_info(store);
    RUN_TELL(run, image_ready, (*o_)->arg);
    if (run->interrupts == 0 && run_image_changed(run)) {
        run->usage_error = true;
        run_message(run, LOG_ERROR,
                    "%s is not the image that run %s was flashing: it can only go on with that one",
                    run->image_shown, run->id);
        run_refuse(run, "the image is another one, nothing was touched");
        return;
    }
    if (run->interrupts > 0) {
        run_refuse(run, "interrupted before its turn came");
    } else if (!run->config.check && ask_untrusted(run) > 0) {
        run->usage_error = true;
        run_refuse(run, "nobody vouches for its new host key, nothing was touched");
    } else if (run_wants_plan(run)) {
        run_try_plan(run);
    } else {
        waves_begin(run);
        run_settle(run);
    }
}

/* --- signals ------------------------------------------------------------------------- */

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

static void signals_start(struct run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uv_signal_init(run->config.loop, &run->signals[i]);
        run->signals[i].data = run;
        uv_signal_start(&run->signals[i], signal_callback, numbers[i]);
        uv_unref((uv_handle_t *)&run->signals[i]);
    }
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

/* A path that still holds when the run is resumed from another folder; "-" stays. */
static void path_absolute(const char *path, char *out, size_t size)
{
    char *real = strcmp(path, "-") != 0 ? realpath(path, NULL) : NULL;
    snprintf(out, size, "%s", real != NULL ? real : path);
    free(real);
}

/* The run's row, and a row for each target: those that are never reached are left to resume. */
static int run_journal_begin(struct run *run, struct error *err)
{
    if (run->config.journal == NULL || run->config.resume != NULL)
        return 0;
    struct journal_run row = {.started = run->view.started_ms,
                              .accept_once = run->config.accept_once,
                              .force = run->config.force,
                              .mode = run->config.local ? (uint8_t)JOURNAL_MODE_LOCAL
                                                        : (uint8_t)run->config.mode};
    snprintf(row.id, sizeof row.id, "%s", run->id);
    path_absolute(run->config.inventory->file, row.inventory, sizeof row.inventory);
    row.image_cut = url_is_http(run->config.image) && url_has_secrets(run->config.image);
    path_absolute(row.image_cut ? run->image_shown : run->config.image, row.image,
                  sizeof row.image);
    if (run->config.sha256 != NULL)
        snprintf(row.sha256, sizeof row.sha256, "%s", run->config.sha256);
    if (run->config.minisign != NULL)
        path_absolute(run->config.minisign, row.minisign, sizeof row.minisign);
    if (run->config.keyring != NULL)
        path_absolute(run->config.keyring, row.keyring, sizeof row.keyring);
    struct journal_target *targets = calloc(run->count + 1, sizeof *targets);
    if (targets == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    for (size_t i = 0; i < run->count; i++) {
        targets[i] = (struct journal_target){.step = "idle", .state = "probe"};
        snprintf(targets[i].name, sizeof targets[i].name, "%s", run->statuses[i]->spec->name);
    }
    int status = journal_begin_run(run->config.journal, &row, targets, run->count, err);
    free(targets);
    return status;
}

/* Which device each target is, and which have to wait for others. */
static int run_find_jumps(struct run *run, struct error *err)
{
    struct jumps_target *targets = calloc(run->count + 1, sizeof *targets);
    if (targets == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    for (size_t i = 0; i < run->count; i++)
        targets[i] =
            (struct jumps_target){.spec = run->statuses[i]->spec,
                                  .wave = run->statuses[i]->wave,
                                  .is_local = target_is_local(&run->env, run->statuses[i]->spec)};
    run->jumps = jumps_find(run->config.loop, targets, run->count, NULL, err);
    free(targets);
    return run->jumps != NULL ? 0 : -1;
}

static int run_lock_devices(struct run *run, struct error *err)
{
    char holder[PROTOCOL_RUN_ID_MAX + 8];
    snprintf(holder, sizeof holder, "run %s", run->id);
    run->locks = device_locks_take(run->config.state_dir, holder, run->jumps, run->count, err);
    return run->locks != NULL ? 0 : -1;
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
    if (targets_make(run) != 0) {
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
    bool known = run_find_jumps(run, err) == 0;
    signals_start(run);
    if (!known ||
        (!config->check && (run_lock_devices(run, err) != 0 || run_journal_begin(run, err) != 0))) {
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
    if (run->config.image != NULL) {
        struct store_options options = {.image = run->config.image,
                                        .sha256 = run->config.sha256,
                                        .minisign = run->config.minisign,
                                        .keyring = run->config.keyring,
                                        .cache_dir = run->config.cache_dir,
                                        .no_cache = run->config.no_cache};
        run->job = store_prepare(run->config.loop, &options, image_progress_callback,
                                 image_done_callback, run);
    }
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
