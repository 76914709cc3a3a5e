/* SPDX-License-Identifier: Apache-2.0 */
#include "earlier.h"

#include "base/clock.h"
#include "base/directory.h"
#include "journal/history.h"
#include "source/url.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where --resume finds the whole address of an image that had secrets in it. */
#define IMAGE_VARIABLE "FLEETFLASH_IMAGE"

void earlier_close(struct earlier *earlier)
{
    if (earlier->targets != NULL)
        sodium_memzero(earlier->targets, earlier->count * sizeof *earlier->targets);
    free(earlier->targets);
    journal_close(earlier->journal);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

int earlier_open(struct earlier *earlier, const struct options *options, struct error *err)
{
    memset(earlier, 0, sizeof *earlier);
    char file[4200];
    snprintf(file, sizeof file, "%s/journal.sqlite", options->state_dir);
    if (options->command == COMMAND_CHECK) { /* makes none */
        if (access(file, F_OK) != 0)
            return 0;
        earlier->journal = journal_open(uv_default_loop(), options->state_dir, err);
        return earlier->journal != NULL ? 0 : -1;
    }
    if (directory_make(options->state_dir, err) != 0)
        return error_remedy(err, "choose another with --state-dir");
    earlier->journal = journal_open(uv_default_loop(), options->state_dir, err);
    return earlier->journal != NULL ? history_prune(earlier->journal, clock_unix_ms(), err) : -1;
}

/* Which targets of the earlier run are meant. */
static bool target_is_left(const struct journal_target *target, bool failed)
{
    if (failed)
        return strcmp(target->outcome, "failed") == 0;
    return target->outcome[0] == '\0' || strcmp(target->outcome, "not-started") == 0 ||
           strcmp(target->damage, "incomplete") == 0 || strcmp(target->step, JOURNAL_SOAK) == 0;
}

/* Marks the inventory's targets that are left; the count of them. */
size_t earlier_select_left(const struct earlier *earlier, const struct inventory *inventory,
                           bool failed, bool *selected)
{
    size_t left = 0;
    for (size_t i = 0; i < inventory->target_count; i++) {
        bool meant = false;
        for (size_t k = 0; k < earlier->count; k++)
            meant |= strcmp(earlier->targets[k].name, inventory->targets[i].name) == 0 &&
                     target_is_left(&earlier->targets[k], failed);
        selected[i] = selected[i] && meant;
        left += selected[i];
    }
    return left;
}

/* A device that is left and not in the inventory any more is not passed over in silence. */
size_t earlier_complain_missing(const struct earlier *earlier, const struct inventory *inventory,
                                bool failed)
{
    size_t missing = 0;
    for (size_t k = 0; k < earlier->count; k++) {
        const struct journal_target *target = &earlier->targets[k];
        bool there = false;
        for (size_t i = 0; i < inventory->target_count && !there; i++)
            there = strcmp(target->name, inventory->targets[i].name) == 0;
        if (there || !target_is_left(target, failed))
            continue;
        fprintf(stderr,
                "fleetflash: %s is left of run %s and no more in %s — put it back, or say with "
                "--limit which are meant\n",
                target->name, earlier->run.id, inventory->file);
        missing++;
    }
    return missing;
}

/* What stood in the image's address and is not kept has to come from the user again. */
int earlier_complete_image(struct journal_run *run, struct error *err)
{
    const char *given = getenv(IMAGE_VARIABLE);
    if (!run->image_cut)
        return 0;
    char *shown = given != NULL && url_is_http(given) ? url_display(given) : NULL;
    bool same = shown != NULL && strcmp(shown, run->image) == 0;
    free(shown);
    if (same) {
        snprintf(run->image, sizeof run->image, "%s", given);
        return 0;
    }
    error_set(err, ERROR_USAGE, "the address of the image of run %s, %.300s, had %s", run->id,
              run->image, "a user, a password or a query, which are not kept");
    return error_remedy(
        err, given != NULL ? IMAGE_VARIABLE " has another address: put the whole "
                                            "one into it"
                           : "put the whole address into the environment variable " IMAGE_VARIABLE);
}
