/* SPDX-License-Identifier: Apache-2.0 */
#include "flash_command.h"

#include "choice.h"
#include "cli/list.h"
#include "complain.h"
#include "earlier.h"
#include "journal/history.h"
#include "policy/policy.h"
#include "report/report_file.h"
#include "run/meter.h"
#include "run/self.h"
#include "run/start.h"
#include "watchers.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The command line's word for mode local, of this run or of the one that goes on. */
static bool local_of(const struct options *options, const struct earlier *earlier)
{
    if (options->mode_given)
        return options->mode == INVENTORY_LOCAL;
    return earlier->run.mode == JOURNAL_MODE_LOCAL;
}

/* MODE_AUTO: the inventory's. */
static enum flash_mode mode_of(const struct options *options, const struct earlier *earlier)
{
    if (local_of(options, earlier))
        return MODE_AUTO;
    if (!options->mode_given)
        return (enum flash_mode)earlier->run.mode;
    return options->mode == INVENTORY_STAGE     ? MODE_STAGE
           : options->mode == INVENTORY_STREAM  ? MODE_STREAM
           : options->mode == INVENTORY_NETBOOT ? MODE_NETBOOT
                                                : MODE_AUTO;
}

static const char *text_or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

/* The run itself, once everything it needs is there. */
static int run_with(const struct options *options, const struct earlier *earlier,
                    const struct inventory *inventory, const bool *selected, uv_loop_t *loop,
                    struct policy_set *policies, const struct agent_files *files,
                    const char *const *reports)
{
    bool resume = options->command == COMMAND_RESUME;
    bool again = resume || options->command == COMMAND_RETRY;
    struct watchers watchers;
    struct error err;
    bool check = options->command == COMMAND_CHECK; /* writes nothing, into the journal neither */
    if (watchers_open(&watchers, options, loop, check ? NULL : earlier->journal, &err) != 0) {
        watchers_close(&watchers);
        return complain(&err);
    }
    struct run_config config = {
        .loop = loop,
        .inventory = inventory,
        .selected = selected,
        .policies = policies,
        .files = files,
        .image = again ? earlier->run.image : options->image,
        .check = check,
        .yes = options->yes || resume, /* the user has said it when the run began */
        .accept_once = options->accept_once || (again && earlier->run.accept_once),
        .force = options->force || (again && earlier->run.force),
        .strict = options->strict,
        .mode = mode_of(options, earlier),
        .local = local_of(options, earlier),
        .journal = check ? NULL : earlier->journal,
        .known = earlier->journal,
        .resume = resume ? &earlier->run : NULL,
        .resume_targets = resume ? earlier->targets : NULL,
        .resume_count = resume ? earlier->count : 0,
        .parallel = options->parallel,
        .rate = options->rate,
        .sha256 = again ? text_or_null(earlier->run.sha256) : options->sha256,
        .minisign = again ? text_or_null(earlier->run.minisign) : options->minisign,
        .keyring = again ? text_or_null(earlier->run.keyring) : options->keyring,
        .cache_dir = options->cache_dir,
        .state_dir = options->state_dir,
        .no_cache = options->no_cache,
        .observers = watchers.list,
        .reports = reports,
    };
    struct run *run = run_new(&config, &err);
    int code = 0;
    if (run != NULL) {
        watchers.run = run;
        run_start(run);
        uv_run(loop, UV_RUN_DEFAULT);
        code = run_exit_code(run);
        watchers.run = NULL;
        run_free(run);
    }
    watchers_close(&watchers);
    return run != NULL ? code : complain(&err);
}

/* Where to ask and how to report is settled before anything begins. */
static int check_surroundings(const struct options *options, struct error *err)
{
    for (size_t i = 0; i < options->report_count; i++) {
        if (report_check_writable(options->reports[i].path, err) != 0)
            return -1;
    }
    bool asks = options->command == COMMAND_FLASH || options->command == COMMAND_LOCAL ||
                options->command == COMMAND_RETRY;
    if (asks && !options->yes && !isatty(STDERR_FILENO)) {
        error_set(err, ERROR_USAGE, "there is no terminal to confirm the plan on");
        return error_remedy(err, "look at --check, then say --yes");
    }
    return 0;
}

static int flash_selected(const struct options *options, const struct earlier *earlier,
                          const struct inventory *inventory, const bool *selected)
{
    struct error err;
    struct self_question question = {
        .inventory = inventory,
        .selected = selected,
        .all_local = local_of(options, earlier),
        .mode_given = mode_of(options, earlier) != MODE_AUTO,
        .check = options->command == COMMAND_CHECK,
    };
    if (check_surroundings(options, &err) != 0 || self_check(&question, &err) != 0)
        return complain(&err);
    struct agent_files *files = agent_files_load(&err);
    if (files == NULL)
        return complain(&err);
    const char **reports = calloc(options->report_count + 1, sizeof *reports);
    for (size_t i = 0; reports != NULL && i < options->report_count; i++)
        reports[i] = options->reports[i].path;

    uv_loop_t *loop = uv_default_loop();
    struct policy_set *policies = policy_set_new(loop);
    struct meter *meter = meter_start(loop);
    struct diagnostics mistakes = {0};
    int code = EXIT_USAGE;
    if (reports != NULL && policies != NULL &&
        policy_set_check(policies, inventory, selected, &mistakes) == 0)
        code = run_with(options, earlier, inventory, selected, loop, policies, files, reports);
    for (size_t i = 0; i < mistakes.count; i++)
        fprintf(stderr, "%s\n", mistakes.texts[i]);
    diagnostics_free(&mistakes);
    policy_set_free(policies);
    meter_stop(meter);
    uv_run(loop, UV_RUN_DEFAULT);
    agent_files_free(files);
    free(reports);
    return code;
}

/* --resume and --retry-failed: the inventory and the image are the earlier run's. */
int command_again(const struct options *options)
{
    struct earlier earlier;
    struct error err;
    bool failed = options->command == COMMAND_RETRY;
    if (earlier_open(&earlier, options, &err) != 0) {
        earlier_close(&earlier);
        return complain(&err);
    }
    char id[PROTOCOL_RUN_ID_MAX + 1];
    int found =
        options->run != NULL && history_resolve(earlier.journal, options->run, id, &err) != 0
            ? -1
            : journal_find_run(earlier.journal, options->run != NULL ? id : NULL, failed,
                               &earlier.run, &err);
    if (found > 0)
        found = journal_load_targets(earlier.journal, earlier.run.id, &earlier.targets,
                                     &earlier.count, &err) == 0
                    ? 1
                    : -1;
    if (found > 0 && earlier_complete_image(&earlier.run, &err) != 0)
        found = -1;
    int code = 0;
    if (found < 0) {
        code = complain(&err);
    } else if (found == 0) {
        fprintf(stderr, "fleetflash: nothing is left to %s\n", failed ? "retry" : "resume");
    } else {
        struct options again = *options;
        again.inventory = earlier.run.inventory;
        struct inventory *inventory = choice_load(&again);
        bool *selected = inventory != NULL ? choice_select(&again, inventory) : NULL;
        code = EXIT_USAGE;
        bool whole =
            selected != NULL &&
            (again.limit != NULL || earlier_complain_missing(&earlier, inventory, failed) == 0);
        if (whole && earlier_select_left(&earlier, inventory, failed, selected) == 0) {
            fprintf(stderr, "fleetflash: nothing is left to %s\n", failed ? "retry" : "resume");
            code = 0;
        } else if (whole) {
            code = flash_selected(&again, &earlier, inventory, selected);
        }
        free(selected);
        inventory_free(inventory);
    }
    earlier_close(&earlier);
    return code;
}

int command_on_inventory(const struct options *options)
{
    struct inventory *inventory = choice_load(options);
    if (inventory == NULL)
        return EXIT_USAGE;
    int code = EXIT_USAGE;
    bool *selected = choice_select(options, inventory);
    if (selected != NULL && options->command == COMMAND_LIST) {
        if (options->json)
            list_print_json(inventory, selected, stdout);
        else
            list_print(inventory, selected, stdout);
        code = 0;
    } else if (selected != NULL && choice_check_netboot(options, inventory, selected) == 0) {
        struct earlier earlier;
        struct error err;
        if (earlier_open(&earlier, options, &err) == 0)
            code = flash_selected(options, &earlier, inventory, selected);
        else
            code = complain(&err);
        earlier_close(&earlier);
    }
    free(selected);
    inventory_free(inventory);
    return code;
}

int command_local(const struct options *options)
{
    struct options local = *options;
    local.inventory = SELF_INVENTORY;
    return command_on_inventory(&local);
}
