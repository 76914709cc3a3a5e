/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a run; main's only way in. */
#ifndef RUN_START_H
#define RUN_START_H

#include "policy/policy.h"
#include "run/run.h"
#include "target/agent_files.h"

struct run;

struct run_config {
    uv_loop_t *loop;
    const struct inventory *inventory;
    const bool *selected; /* for each of the inventory's targets */
    struct policy_set *policies;
    const struct agent_files *files;
    const char *image; /* NULL: --check without an image */
    bool check;        /* touch nothing */
    bool yes;          /* no question */
    bool accept_once, force, strict;
    enum flash_mode mode;
    bool local;        /* mode local: the only target is the machine we run on */
    unsigned parallel; /* 0: the inventory's or the default */
    uint64_t rate;     /* bytes per second of the whole run, 0: no limit */
    const char *sha256, *cache_dir, *state_dir;
    const char *minisign, *keyring; /* as in struct store_options */
    bool no_cache;
    struct journal *journal;          /* NULL with --check */
    struct journal *known;            /* what devices were flashed with; NULL: nothing is known */
    const struct journal_run *resume; /* --resume: the run that goes on, NULL: a new one … */
    const struct journal_target *resume_targets; /* … and what is known of its targets */
    size_t resume_count;
    const struct run_observer *const *observers; /* NULL-terminated */
    const char *const *reports;                  /* files, NULL-terminated */
};

/* Everything config points at outlives the run. NULL and an error when it cannot start (ERROR_BUSY:
 * another run holds a device, exit 4; else exit 2). */
struct run *run_new(const struct run_config *config, struct error *err);

/* Starts; the loop then runs until the run has ended and all its handles are closed. */
void run_start(struct run *run);

/* While paused no new device is started; those under way, soaks and gates go on. */
void run_pause(struct run *run, bool paused);

/* An orderly stop, as by the first ^C; the second time it does nothing. */
void run_stop(struct run *run);

/* The contract's exit code, once the loop has ended. */
int run_exit_code(const struct run *run);

void run_free(struct run *run);

#endif
