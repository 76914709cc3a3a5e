/* SPDX-License-Identifier: Apache-2.0 */
/* Command line in, exit code out. */
#include "base/privilege.h"
#include "choice.h"
#include "complain.h"
#include "earlier.h"
#include "flash_command.h"
#include "import.h"
#include "journal/history.h"
#include "policy/policy.h"
#include "report/past.h"
#include "report/terminal.h"
#include "run/recovery_command.h"
#include "run/reset_command.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --history and --show */
static int command_past(const struct options *options)
{
    struct earlier earlier;
    struct error err;
    char id[PROTOCOL_RUN_ID_MAX + 1];
    if (earlier_open(&earlier, options, &err) != 0) {
        earlier_close(&earlier);
        return complain(&err);
    }
    int result = options->command == COMMAND_HISTORY
                     ? past_print_runs(earlier.journal, options->json, stdout, &err)
                     : history_resolve(earlier.journal, options->run, id, &err);
    if (result == 0 && options->command == COMMAND_SHOW)
        result =
            past_print_run(earlier.journal, id, options->json, options->verbosity, stdout, &err);
    earlier_close(&earlier);
    return result == 0 ? 0 : complain(&err);
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
    struct inventory *inventory = choice_load(options);
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
    struct inventory *inventory = choice_load(options);
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
