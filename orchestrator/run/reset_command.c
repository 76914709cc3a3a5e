/* SPDX-License-Identifier: Apache-2.0 */
#include "run/reset_command.h"

#include "base/directory.h"
#include "reset/reset.h"
#include "run/locks.h"
#include "suggest.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_INTERRUPTED = 130 };

struct resetting {
    struct reset *reset;
    uv_signal_t signals[2];
    bool interrupted;
    struct error err;
};

static const struct target_spec *find_target(const struct reset_command *command, struct error *err)
{
    const struct inventory *inventory = command->inventory;
    struct suggestion suggestion = {.word = command->target};
    for (size_t i = 0; i < inventory->target_count; i++) {
        const struct target_spec *spec = &inventory->targets[i];
        if (strcmp(spec->name, command->target) == 0 && spec->reset.present)
            return spec;
        if (strcmp(spec->name, command->target) == 0) {
            error_set(err, ERROR_USAGE, "%s:%u:%u: nothing is said about how %s is reset",
                      inventory->file, spec->at.line, spec->at.column, spec->name);
            error_remedy(err, "write reset: {chip: gpiochip0, line: 17}, or reset: {command: …}");
            return NULL;
        }
        suggest_consider(&suggestion, spec->name);
    }
    char hint[120];
    error_set(err, ERROR_USAGE, "%s has no target '%s'%s", inventory->file, command->target,
              suggest_text(&suggestion, hint, sizeof hint));
    error_remedy(err, "--list shows all of them");
    return NULL;
}

static void resetting_end(struct resetting *resetting)
{
    for (size_t i = 0; i < 2; i++)
        if (!uv_is_closing((uv_handle_t *)&resetting->signals[i]))
            uv_close((uv_handle_t *)&resetting->signals[i], NULL);
}

static void signal_callback(uv_signal_t *signal, int number)
{
    struct resetting *resetting = signal->data;
    (void)number;
    resetting->interrupted = true;
    reset_cancel(resetting->reset); /* the loop goes on until the line is let go */
    resetting_end(resetting);
}

static void reset_done(const struct error *err, bool acted, void *arg)
{
    struct resetting *resetting = arg;
    (void)acted;
    if (err != NULL)
        resetting->err = *err;
    resetting_end(resetting);
}

/* Runs the loop until the board is reset, or not. */
static int reset_board(const struct reset_command *command, const struct target_spec *spec,
                       struct error *err)
{
    static const int numbers[2] = {SIGINT, SIGTERM};
    struct resetting resetting = {0};
    char text[160];
    reset_text(&spec->reset, text, sizeof text);
    for (size_t i = 0; i < 2; i++) { /* before the line is held: nobody else lets it go */
        uv_signal_init(command->loop, &resetting.signals[i]);
        resetting.signals[i].data = &resetting;
        uv_signal_start(&resetting.signals[i], signal_callback, numbers[i]);
    }
    resetting.reset = reset_start(command->loop, spec, reset_done, &resetting);
    if (resetting.reset == NULL) {
        error_set(&resetting.err, ERROR_IO, "no memory");
        resetting_end(&resetting);
    }
    uv_run(command->loop, UV_RUN_DEFAULT);
    if (resetting.interrupted) {
        fprintf(stderr, "%s: cut short%s\n", spec->name,
                spec->reset.command != NULL ? "" : ", its line let go");
        return EXIT_INTERRUPTED;
    }
    if (resetting.err.cls == ERROR_NONE) {
        if (!command->quiet)
            fprintf(stderr, "%s: reset (%s)\n", spec->name, text);
        return 0;
    }
    error_set(err, resetting.err.cls, "%s: %s", spec->name, resetting.err.text);
    return error_remedy(err, "%s", resetting.err.remedy);
}

int reset_command(const struct reset_command *command, struct error *err)
{
    const struct target_spec *spec = find_target(command, err);
    if (spec == NULL)
        return -1;
    struct jumps_target target = {.spec = spec};
    struct jumps *jumps = NULL;
    struct device_locks *locks = NULL;
    int result = -1;
    if (directory_make(command->state_dir, err) == 0 &&
        (jumps = jumps_find(command->loop, &target, 1, NULL, NULL, err)) != NULL &&
        (locks = device_locks_take(command->state_dir, "fleetflash reset", jumps, 1, err)) != NULL)
        result = reset_board(command, spec, err);
    device_locks_free(locks);
    jumps_free(jumps);
    return result;
}
