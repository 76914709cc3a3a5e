/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: which command, on what, and how. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/error.h"
#include "inventory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum command {
    COMMAND_FLASH,
    COMMAND_CHECK,           /* --check [IMAGE] */
    COMMAND_LIST,            /* --list */
    COMMAND_LOCAL,           /* --local IMAGE */
    COMMAND_RESUME,          /* --resume [RUN] */
    COMMAND_RETRY,           /* --retry-failed [RUN] */
    COMMAND_HISTORY,         /* --history */
    COMMAND_SHOW,            /* --show RUN */
    COMMAND_IMPORT,          /* inventory import FILE.csv */
    COMMAND_RESET,           /* reset TARGET */
    COMMAND_RECOVERY_IMAGE,  /* recovery image … */
    COMMAND_RECOVERY_SCRIPT, /* recovery script … */
    COMMAND_POLICY_LIST,     /* policy list */
    COMMAND_POLICY_CHECK,    /* policy check FILE.so */
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_COUNT
};

enum report_format { REPORT_JSON, REPORT_XML, REPORT_HTML };

struct report_request {
    const char *path;
    enum report_format format;
};

/* Strings point into argv unless said otherwise; NULL: not given. */
struct options {
    enum command command;
    const char *inventory;    /* -i */
    const char *limit;        /* -l */
    enum inventory_mode mode; /* --mode, when mode_given */
    bool mode_given;
    unsigned parallel; /* --parallel; 0: not given */
    bool yes, accept_once, force, strict, json, no_cache;
    size_t report_count;            /* --report, in the order given */
    struct report_request *reports; /* owned */
    char *sha256;                   /* owned; 64 lower-case hex digits */
    const char *minisign, *keyring;
    uint64_t rate;               /* --rate, bytes a second; 0: no limit */
    char *state_dir, *cache_dir; /* owned; the defaults where not given */
    int verbosity;               /* -q: -1, -v: 1, -vv: 2 */

    const char *image;            /* flash, check (may be NULL), local */
    const char *run;              /* resume, retry (NULL: the last one), show */
    const char *target;           /* reset */
    const char *output;           /* -o: recovery */
    const char *file;             /* inventory import, policy check */
    const char *const *arguments; /* owned; recovery: what follows, NULL-terminated, never NULL */
};

/* Reads the command line. Returns 0, or -1 with a sentence and a remedy (class ERROR_USAGE: exit
 * 2). options_free is right in both cases. argv must outlive out. */
int options_parse(int argc, char **argv, struct options *out, struct error *err);
void options_free(struct options *options);

/* At most 24 lines of at most 80 columns. */
void options_print_help(FILE *out);

#endif
