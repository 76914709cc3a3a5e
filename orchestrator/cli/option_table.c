/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/option_table.h"

#include <stdio.h>

#define MEMBER(name) .member = offsetof(struct options, name)

/* clang-format off */
static const struct command_info commands[] = {
    {COMMAND_FLASH, NULL, {NULL}, OPERANDS_ONE, "IMAGE", true, MEMBER(image),
     "flash (a path, a URL, or -)"},
    {COMMAND_CHECK, "check", {NULL}, OPERANDS_OPTIONAL, "IMAGE", true, MEMBER(image),
     "what would happen"},
    {COMMAND_LIST, "list", {NULL}, OPERANDS_NONE, NULL, true,
     .help = "targets, resolved"},
    {COMMAND_LOCAL, "local", {NULL}, OPERANDS_ONE, "IMAGE", false, MEMBER(image),
     "flash this machine"},
    {COMMAND_RESUME, "resume", {NULL}, OPERANDS_OPTIONAL, "RUN", false, MEMBER(run),
     "finish the rest"},
    {COMMAND_RETRY, "retry-failed", {NULL}, OPERANDS_OPTIONAL, "RUN", false, MEMBER(run),
     "redo what failed"},
    {COMMAND_HISTORY, "history", {NULL}, OPERANDS_NONE, NULL, false,
     .help = "past runs"},
    {COMMAND_SHOW, "show", {NULL}, OPERANDS_ONE, "RUN", false, MEMBER(run),
     "one of them"},
    {COMMAND_IMPORT, NULL, {"inventory", "import"}, OPERANDS_ONE, "FILE.csv", false, MEMBER(file),
     "CSV to YAML"},
    {COMMAND_RESET, NULL, {"reset"}, OPERANDS_ONE, "TARGET", true, MEMBER(target),
     "pulse line"},
    {COMMAND_RECOVERY_IMAGE, NULL, {"recovery", "image"}, OPERANDS_ANY, "...", true,
     .help = "SD card"},
    {COMMAND_RECOVERY_SCRIPT, NULL, {"recovery", "script"}, OPERANDS_ANY, "...", true,
     .help = "boot script"},
    {COMMAND_POLICY_LIST, NULL, {"policy", "list"}, OPERANDS_NONE, NULL, false,
     .help = "all of them"},
    {COMMAND_POLICY_CHECK, NULL, {"policy", "check"}, OPERANDS_ONE, "FILE.so", false, MEMBER(file),
     "try to load"},
};

#define ALL        (COMMAND_BIT(COMMAND_COUNT) - 1)
#define FLASH      COMMAND_BIT(COMMAND_FLASH)
#define CHECK      COMMAND_BIT(COMMAND_CHECK) /* takes what flash takes: one word more is a dry run */
#define LIST       COMMAND_BIT(COMMAND_LIST)
#define LOCAL      COMMAND_BIT(COMMAND_LOCAL)
#define AGAIN      (COMMAND_BIT(COMMAND_RESUME) | COMMAND_BIT(COMMAND_RETRY))
#define PAST       (COMMAND_BIT(COMMAND_HISTORY) | COMMAND_BIT(COMMAND_SHOW))
#define RECOVERY   (COMMAND_BIT(COMMAND_RECOVERY_IMAGE) | COMMAND_BIT(COMMAND_RECOVERY_SCRIPT))
#define RUNS       (FLASH | CHECK | LOCAL | AGAIN)

static const struct option_info options[] = {
    {OPTION_INVENTORY, "inventory", 'i', "FILE", false,
     FLASH | CHECK | LIST | AGAIN | RECOVERY | COMMAND_BIT(COMMAND_RESET), GROUP_FLASH,
     "the devices"},
    {OPTION_LIMIT, "limit", 'l', "PATTERN", false,
     FLASH | CHECK | LIST | AGAIN | RECOVERY, GROUP_FLASH, "only these"},
    {OPTION_MODE, "mode", 0, "auto|stage|stream|netboot|local", false,
     FLASH | CHECK | AGAIN, GROUP_FLASH, NULL},
    {OPTION_PARALLEL, "parallel", 0, "N", false,
     FLASH | CHECK | AGAIN, GROUP_FLASH, "so many at once"},
    {OPTION_YES, "yes", 0, NULL, false,
     RUNS, GROUP_FLASH, "do not ask"},
    {OPTION_ACCEPT_ONCE, "accept-once", 0, NULL, false,
     FLASH | CHECK | AGAIN, GROUP_FLASH, "trust new keys"},
    {OPTION_FORCE, "force", 0, NULL, false,
     RUNS, GROUP_FLASH, "even unchanged"},
    {OPTION_STRICT, "strict", 0, NULL, false,
     RUNS, GROUP_FLASH, "skipped is failed"},
    {OPTION_SHA256, "sha256", 0, "HEX", false,
     FLASH | CHECK | LOCAL, GROUP_FLASH, "the image's hash"},
    {OPTION_MINISIGN, "minisign", 0, "KEY", false,
     FLASH | CHECK | LOCAL, GROUP_FLASH, "its signer's key"},
    {OPTION_KEYRING, "keyring", 0, "FILE", false,
     FLASH | CHECK | LOCAL, GROUP_FLASH, "OpenPGP signers"},
    {OPTION_RATE, "rate", 0, "LIMIT", false,
     FLASH | CHECK | AGAIN, GROUP_OUTPUT, "bytes/s, like 10M"},
    {OPTION_JSON, "json", 0, NULL, false,
     RUNS | LIST | PAST, GROUP_OUTPUT, "events to stdout"},
    {OPTION_REPORT, "report", 0, "FILE", true,
     RUNS, GROUP_OUTPUT, ".json .xml .html"},
    {OPTION_STATE_DIR, "state-dir", 0, "DIR", false,
     RUNS | PAST | COMMAND_BIT(COMMAND_RESET), GROUP_OUTPUT, "runs' journal"},
    {OPTION_CACHE_DIR, "cache-dir", 0, "DIR", false,
     RUNS, GROUP_OUTPUT, "decoded images"},
    {OPTION_NO_CACHE, "no-cache", 0, NULL, false,
     RUNS, GROUP_OUTPUT, "keep none"},
    {OPTION_OUTPUT, "output", 'o', "FILE", false,
     RECOVERY, GROUP_OUTPUT, "recovery's"},
    {OPTION_VERBOSE, "verbose", 'v', NULL, true,
     ALL, GROUP_OUTPUT, "more; -vv: most"},
    {OPTION_QUIET, "quiet", 'q', NULL, false,
     ALL, GROUP_OUTPUT, "only what fails"},
    {OPTION_HELP, "help", 0, NULL, false,
     ALL, GROUP_OUTPUT, "this text"},
    {OPTION_VERSION, "version", 0, NULL, false,
     ALL, GROUP_OUTPUT, "the version"},
};
/* clang-format on */

const struct command_info *command_table(size_t *count)
{
    *count = sizeof commands / sizeof *commands;
    return commands;
}

const struct option_info *option_table(size_t *count)
{
    *count = sizeof options / sizeof *options;
    return options;
}

char *command_text(const struct command_info *command, char *out, size_t out_size)
{
    if (command->option != NULL)
        snprintf(out, out_size, "--%s", command->option);
    else if (command->words[0] != NULL)
        snprintf(out, out_size, "%s%s%s", command->words[0], command->words[1] == NULL ? "" : " ",
                 command->words[1] == NULL ? "" : command->words[1]);
    else
        snprintf(out, out_size, "flash");
    return out;
}
