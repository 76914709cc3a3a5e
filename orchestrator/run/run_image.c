/* SPDX-License-Identifier: Apache-2.0 */
/* The image of a run: prepared while the devices are probed, and what follows once it is there or
 * cannot be used. */
#include "run/run_internal.h"

#include <sodium.h>
#include <string.h>

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

void run_prepare_image(struct run *run)
{
    struct store_options options = {.image = run->config.image,
                                    .sha256 = run->config.sha256,
                                    .minisign = run->config.minisign,
                                    .keyring = run->config.keyring,
                                    .cache_dir = run->config.cache_dir,
                                    .no_cache = run->config.no_cache};
    if (options.image != NULL)
        run->job = store_prepare(run->config.loop, &options, image_progress_callback,
                                 image_done_callback, run);
}
