/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has to have before it begins: which device each target is, the devices' locks, and its
 * row in the journal. */
#include "run/run_internal.h"

#include "source/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
int run_claim_names(struct run *run, struct error *err)
{
    struct jumps_target *targets = calloc(run->count + 1, sizeof *targets);
    if (targets == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    for (size_t i = 0; i < run->count; i++)
        targets[i] =
            (struct jumps_target){.spec = run->statuses[i]->spec,
                                  .wave = run->statuses[i]->wave,
                                  .is_local = target_is_local(&run->env, run->statuses[i]->spec)};
    run->jumps = jumps_find(run->config.loop, targets, run->count, NULL,
                            link_pool_settings(run->env.links), err);
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

int run_claim(struct run *run, struct error *err)
{
    return run_lock_devices(run, err) != 0 || run_journal_begin(run, err) != 0 ? -1 : 0;
}
