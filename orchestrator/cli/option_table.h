/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and options: the one table from which the parser and --help are made and against which
 * fleetflash(1) is tested. */
#ifndef CLI_OPTION_TABLE_H
#define CLI_OPTION_TABLE_H

#include "cli/options.h"

/* How many words (that are no options) a command takes. */
enum operands { OPERANDS_NONE, OPERANDS_OPTIONAL, OPERANDS_ONE, OPERANDS_ANY };

struct command_info {
    enum command command;
    const char *option;   /* "check" for --check, NULL: … */
    const char *words[2]; /* … named by words ("policy", "list"), or neither: the default */
    enum operands operands;
    const char *operand; /* "IMAGE", NULL: none */
    bool needs_inventory;
    size_t member;    /* offset in struct options of the const char * that the operand fills */
    const char *help; /* for --help; NULL: no line of its own */
};

enum option_id {
    OPTION_INVENTORY,
    OPTION_LIMIT,
    OPTION_MODE,
    OPTION_PARALLEL,
    OPTION_YES,
    OPTION_ACCEPT_ONCE,
    OPTION_FORCE,
    OPTION_STRICT,
    OPTION_SHA256,
    OPTION_MINISIGN,
    OPTION_KEYRING,
    OPTION_RATE,
    OPTION_JSON,
    OPTION_REPORT,
    OPTION_STATE_DIR,
    OPTION_CACHE_DIR,
    OPTION_NO_CACHE,
    OPTION_OUTPUT,
    OPTION_VERBOSE,
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COUNT
};

/* The two columns of --help. */
enum option_group { GROUP_FLASH, GROUP_OUTPUT };

struct option_info {
    enum option_id id;
    const char *name;     /* long, without -- */
    char letter;          /* short, 0: none */
    const char *argument; /* "FILE", NULL: a flag */
    bool is_repeatable;
    unsigned commands; /* COMMAND_BIT of each that it belongs to */
    enum option_group group;
    const char *help; /* a few words; NULL: the argument says it all */
};

#define COMMAND_BIT(command) (1u << (command))

const struct command_info *command_table(size_t *count);
const struct option_info *option_table(size_t *count);

/* A command as it is written: "--check", "policy list", "IMAGE" is not part of it. Returns out. */
char *command_text(const struct command_info *command, char *out, size_t out_size);

#endif
