/* SPDX-License-Identifier: Apache-2.0 */
/* The host side of service-stop policies: loads the shared objects, gives them commands and timers,
 * and holds them to their contract (fleetflash/policy.h). */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "base/error.h"
#include "inventory.h"

#include <fleetflash/policy.h>
#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

struct policy_set;

/* Where policies are looked for: $FLEETFLASH_POLICY_PATH (colon list) when set, else the build
 * tree's or the installed folder. A policy is loaded when first asked for, in a forked child first,
 * which may block for some milliseconds (5 s when its constructor hangs): so ask for all of them
 * (policy_set_check does) before the run begins. A broken one is refused with its reason. NULL only
 * when memory is short. */
struct policy_set *policy_set_new(uv_loop_t *loop);

/* Frees the policies and unloads their files, once all runs are freed. NULL is allowed. */
void policy_set_free(struct policy_set *set);

/* The policy of that name, or NULL and a reason that names the file. Owned by the set. */
const struct ff_policy *policy_set_find(struct policy_set *set, const char *name,
                                        struct error *err);

/* Loads and checks one file (`fleetflash policy check FILE.so`). */
const struct ff_policy *policy_set_load(struct policy_set *set, const char *file,
                                        struct error *err);

/* Checks every target's `services` against its policy's parameters; adds mistakes with their place,
 * each once though many targets may have inherited it. selected has target_count entries, NULL: all
 * of them. Returns the number of mistakes. */
size_t policy_set_check(struct policy_set *set, const struct inventory *inventory,
                        const bool *selected, struct diagnostics *mistakes);

/* Prints every policy found, with file and parameters, the broken ones with their reason
 * (`fleetflash policy list`). Returns the number of policies that can be used. */
size_t policy_list_print(struct policy_set *set, FILE *out);

/* Loads one file and prints what it is, or what is wrong with it (`fleetflash policy check FILE`).
 * Returns the exit code: 0, or 2 when it is broken. */
int policy_check_print(struct policy_set *set, const char *file, FILE *out);

/* One policy at work on one target. */
struct policy_run;

/* How the host runs a command on the device as root: given by the target. `done` must be called
 * once, later (never from within run), unless cancel(handle) comes first; after either the handle
 * is gone. exit_status -1: not known, error says why; strings may be NULL. Returns a handle for
 * cancel, NULL when it cannot. No function of a transport may free the run. */
struct policy_transport {
    void *(*run)(void *arg, const char *command, unsigned timeout_ms,
                 void (*done)(void *done_arg, int exit_status, const char *out, const char *err,
                              const char *error),
                 void *done_arg);
    void (*cancel)(void *arg, void *handle);
    void (*log)(void *arg, const char *text);
    /* where on the device a file may be made for ff_host.leave_undo, an absolute path without
     * anything special to a shell; "": nowhere */
    char undo_file[256];
    /* a stop was put off: seconds until the next, and why; may be NULL */
    void (*waits)(void *arg, uint64_t seconds, const char *reason);
    void *arg;
};

struct policy_target {
    const struct target_spec *spec;
    const char *mode, *image, *run_id; /* NULL: not known */
};

/* The policy's word: verdict and, unless GO, its reason. */
typedef void (*policy_verdict)(enum ff_verdict verdict, const char *reason, void *arg);

/* Bounds of a stop or an undo, ms. */
#define POLICY_TIMEOUT_DEFAULT 120000u
#define POLICY_TIMEOUT_MAX     3600000u

/* Of all delays a policy asks for, for one target; and the shortest of them. ms */
#define POLICY_DELAY_MAX 3600000u
#define POLICY_DELAY_MIN 1000u

/* Makes the run; nothing is called yet. The transport is copied, the strings of target must outlive
 * the run. NULL when memory is short. */
struct policy_run *policy_run_new(struct policy_set *set, const struct ff_policy *policy,
                                  const struct policy_target *target,
                                  const struct policy_transport *transport);

/* Stop, with a bound on the whole (ms; 0: POLICY_TIMEOUT_DEFAULT): a policy that never finishes is
 * a FAIL. A policy may set another bound (ff_host.deadline), up to POLICY_TIMEOUT_MAX, so that the
 * caller needs no timer of its own. The verdict comes later, exactly once unless the run is freed
 * or undo is called first. Once for each run. */
void policy_run_stop(struct policy_run *run, uint64_t timeout, policy_verdict verdict, void *arg);

/* Undo; may be called while a stop is under way (which then is cut off, its verdict dropped), and
 * again when an undo failed or was cut off by a dead link. GO where there was no stop, or where the
 * policy cannot undo. */
void policy_run_undo(struct policy_run *run, uint64_t timeout, policy_verdict verdict, void *arg);

/* The device is back with its new system; after a stop or, in a run that goes on with another's,
 * without one. A verdict like stop's; GO where the policy has nothing for it. Once for each run. */
void policy_run_returned(struct policy_run *run, uint64_t timeout, policy_verdict verdict,
                         void *arg);

/* Cancels whatever is under way, calls the policy's end, frees; may be called from a verdict, not
 * from within the transport's functions. Handles close in the loop's next rounds. NULL is allowed.
 */
void policy_run_free(struct policy_run *run);

#endif
