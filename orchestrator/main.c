/* SPDX-License-Identifier: Apache-2.0 */
/* Command line in, exit code out. */
#include "base/clock.h"
#include "base/directory.h"
#include "base/privilege.h"
#include "cli/list.h"
#include "cli/options.h"
#include "import.h"
#include "journal/history.h"
#include "journal/journal.h"
#include "policy/policy.h"
#include "report/past.h"
#include "report/report_file.h"
#include "report/terminal.h"
#include "run/meter.h"
#include "run/recovery_command.h"
#include "run/reset_command.h"
#include "run/self.h"
#include "run/start.h"
#include "source/url.h"
#include "watchers.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where --resume finds the whole address of an image that had secrets in it. */
#define IMAGE_VARIABLE "FLEETFLASH_IMAGE"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_BUSY = 4 };

static int complain(const struct error *err)
{
    fprintf(stderr, "fleetflash: %s%s%s\n", err->text, err->remedy[0] != '\0' ? " — " : "",
            err->remedy);
    return err->cls == ERROR_BUSY ? EXIT_BUSY : EXIT_USAGE;
}

/* --- inventory ----------------------------------------------------------------------- */

/* --local has none: the machine itself is all there is, and its run is resumed by that word. */
static struct inventory *load_inventory(const struct options *options)
{
    struct diagnostics mistakes = {0};
    bool local = strcmp(options->inventory, SELF_INVENTORY) == 0;
    struct inventory *inventory =
        local ? self_inventory(&mistakes) : inventory_load(options->inventory, &mistakes);
    for (size_t i = 0; i < mistakes.count; i++)
        fprintf(stderr, "%s\n", mistakes.texts[i]);
    diagnostics_free(&mistakes);
    return inventory;
}

/* --limit, or everything. NULL after having complained. */
static bool *select_targets(const struct options *options, const struct inventory *inventory)
{
    bool *selected = calloc(inventory->target_count + 1, sizeof *selected);
    if (selected == NULL || options->limit == NULL) {
        for (size_t i = 0; selected != NULL && i < inventory->target_count; i++)
            selected[i] = true;
        return selected;
    }
    char message[400];
    if (inventory_select(inventory, options->limit, selected, message, sizeof message) > 0)
        return selected;
    fprintf(stderr, "fleetflash: --limit %s: %s\n", options->limit,
            message[0] != '\0' ? message : "matches no target");
    free(selected);
    return NULL;
}

/* What the inventory may say and this version cannot do: better told than left out in silence. */
static size_t refuse_unsupported(const struct options *options, const struct inventory *inventory,
                                 const bool *selected)
{
    struct diagnostics mistakes = {0};
    for (size_t i = 0; i < inventory->target_count; i++) {
        const struct target_spec *spec = &inventory->targets[i];
        if (!selected[i])
            continue;
        bool netboot = options->mode_given ? options->mode == INVENTORY_NETBOOT
                                           : spec->mode == INVENTORY_NETBOOT;
        if (netboot && spec->mac == NULL)
            diagnostics_add(&mistakes, inventory->file, spec->at,
                            "'%s' needs its 'mac' to be flashed by its boot loader", spec->name);
    }
    for (size_t i = 0; i < mistakes.count; i++)
        fprintf(stderr, "%s\n", mistakes.texts[i]);
    size_t count = mistakes.count;
    diagnostics_free(&mistakes);
    return count;
}

/* --- commands ------------------------------------------------------------------------ */

/* What a run goes on with or does again. */
struct earlier {
    struct journal *journal;
    struct journal_run run; /* id "": this is a new one */
    struct journal_target *targets;
    size_t count;
};

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
    bool check = options->command == COMMAND_CHECK; /* writes nothing, into the journal neither */
    watchers_open(&watchers, options, loop, check ? NULL : earlier->journal);
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
    struct error err;
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

/* --- the journal -------------------------------------------------------------------------- */

static void earlier_close(struct earlier *earlier)
{
    if (earlier->targets != NULL)
        sodium_memzero(earlier->targets, earlier->count * sizeof *earlier->targets);
    free(earlier->targets);
    journal_close(earlier->journal);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static int earlier_open(struct earlier *earlier, const struct options *options, struct error *err)
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
static size_t select_left(const struct earlier *earlier, const struct inventory *inventory,
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
static size_t complain_missing(const struct earlier *earlier, const struct inventory *inventory,
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
static int complete_image(struct journal_run *run, struct error *err)
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

/* --resume and --retry-failed: the inventory and the image are the earlier run's. */
static int command_again(const struct options *options)
{
    struct earlier earlier;
    struct error err;
    bool failed = options->command == COMMAND_RETRY;
    if (earlier_open(&earlier, options, &err) != 0)
        return complain(&err);
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
    if (found > 0 && complete_image(&earlier.run, &err) != 0)
        found = -1;
    int code = 0;
    if (found < 0) {
        code = complain(&err);
    } else if (found == 0) {
        fprintf(stderr, "fleetflash: nothing is left to %s\n", failed ? "retry" : "resume");
    } else {
        struct options again = *options;
        again.inventory = earlier.run.inventory;
        struct inventory *inventory = load_inventory(&again);
        bool *selected = inventory != NULL ? select_targets(&again, inventory) : NULL;
        code = EXIT_USAGE;
        bool whole = selected != NULL &&
                     (again.limit != NULL || complain_missing(&earlier, inventory, failed) == 0);
        if (whole && select_left(&earlier, inventory, failed, selected) == 0) {
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

/* --history and --show */
static int command_past(const struct options *options)
{
    struct earlier earlier;
    struct error err;
    char id[PROTOCOL_RUN_ID_MAX + 1];
    if (earlier_open(&earlier, options, &err) != 0)
        return complain(&err);
    int result = options->command == COMMAND_HISTORY
                     ? past_print_runs(earlier.journal, options->json, stdout, &err)
                     : history_resolve(earlier.journal, options->run, id, &err);
    if (result == 0 && options->command == COMMAND_SHOW)
        result =
            past_print_run(earlier.journal, id, options->json, options->verbosity, stdout, &err);
    earlier_close(&earlier);
    return result == 0 ? 0 : complain(&err);
}

static int command_on_inventory(const struct options *options)
{
    struct inventory *inventory = load_inventory(options);
    if (inventory == NULL)
        return EXIT_USAGE;
    int code = EXIT_USAGE;
    bool *selected = select_targets(options, inventory);
    if (selected != NULL && options->command == COMMAND_LIST) {
        if (options->json)
            list_print_json(inventory, selected, stdout);
        else
            list_print(inventory, selected, stdout);
        code = 0;
    } else if (selected != NULL && refuse_unsupported(options, inventory, selected) == 0) {
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

static int command_policy(const struct options *options)
{
    uv_loop_t *loop = uv_default_loop();
    struct policy_set *policies = policy_set_new(loop);
    int code = 0;
    if (options->command == COMMAND_POLICY_LIST)
        policy_list_print(policies, stdout);
    else
        code = policy_check_print(policies, options->file, stdout);
    policy_set_free(policies);
    uv_run(loop, UV_RUN_DEFAULT);
    return code;
}

static int command_import(const struct options *options)
{
    struct diagnostics mistakes = {0};
    char *yaml = import_file(options->file, &mistakes);
    for (size_t i = 0; i < mistakes.count; i++)
        fprintf(stderr, "%s\n", mistakes.texts[i]);
    diagnostics_free(&mistakes);
    if (yaml == NULL)
        return EXIT_USAGE;
    fputs(yaml, stdout);
    free(yaml);
    return 0;
}

static int command_reset(const struct options *options)
{
    struct inventory *inventory = load_inventory(options);
    if (inventory == NULL)
        return EXIT_USAGE;
    struct reset_command command = {
        .loop = uv_default_loop(),
        .inventory = inventory,
        .target = options->target,
        .state_dir = options->state_dir,
        .quiet = options->verbosity < 0,
    };
    struct error err;
    int code = reset_command(&command, &err);
    if (code < 0) {
        code = complain(&err);
        if (err.cls != ERROR_USAGE && err.cls != ERROR_BUSY)
            code = EXIT_FAILED;
    }
    inventory_free(inventory);
    return code;
}

static int command_recovery(const struct options *options)
{
    struct inventory *inventory = load_inventory(options);
    if (inventory == NULL)
        return EXIT_USAGE;
    struct recovery_command command = {
        .inventory = inventory,
        .limit = options->limit,
        .words = options->arguments,
        .output = options->output,
        .quiet = options->verbosity < 0,
    };
    struct error err;
    int result = options->command == COMMAND_RECOVERY_IMAGE ? recovery_image(&command, &err)
                                                            : recovery_script(&command, &err);
    inventory_free(inventory);
    return result == 0 ? 0 : complain(&err);
}

static int command_local(const struct options *options)
{
    struct options local = *options;
    local.inventory = SELF_INVENTORY;
    return command_on_inventory(&local);
}

static int run_command(const struct options *options)
{
    switch (options->command) {
    case COMMAND_HELP:
        options_print_help(stdout);
        return 0;
    case COMMAND_VERSION:
        puts("fleetflash " FLEETFLASH_VERSION);
        return 0;
    case COMMAND_POLICY_LIST:
    case COMMAND_POLICY_CHECK:
        return command_policy(options);
    case COMMAND_FLASH:
    case COMMAND_CHECK:
    case COMMAND_LIST:
        return command_on_inventory(options);
    case COMMAND_LOCAL:
        return command_local(options);
    case COMMAND_RESUME:
    case COMMAND_RETRY:
        return command_again(options);
    case COMMAND_HISTORY:
    case COMMAND_SHOW:
        return command_past(options);
    case COMMAND_IMPORT:
        return command_import(options);
    case COMMAND_RESET:
        return command_reset(options);
    case COMMAND_RECOVERY_IMAGE:
    case COMMAND_RECOVERY_SCRIPT:
        return command_recovery(options);
    default:
        return EXIT_USAGE; /* there are no others */
    }
}

/* A list that did not get to where it was to go is not a success. Who has stopped reading has what
 * he wanted. */
static int finish_output(int code)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    errno = 0;
    bool good = fflush(stdout) == 0 && ferror(stdout) == 0;
    const char *reason = errno != 0 ? strerror(errno) : "not all of it could be written";
    if (good || (poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0))
        return code;
    fprintf(stderr, "fleetflash: cannot write to standard output: %s\n", reason);
    return code == 0 ? EXIT_USAGE : code;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    privilege_reduce();
    signal(SIGPIPE, SIG_IGN); /* a dead peer is an error of its stream */
    if (sodium_init() < 0) {
        fprintf(stderr, "fleetflash: libsodium cannot be initialised\n");
        return EXIT_USAGE;
    }
    atexit(terminal_restore);
    struct options options;
    struct error err;
    int code =
        options_parse(argc, argv, &options, &err) == 0 ? run_command(&options) : complain(&err);
    options_free(&options);
    return finish_output(code);
}
