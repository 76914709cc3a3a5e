/* SPDX-License-Identifier: Apache-2.0 */
/* The host side of service-stop policies: loads the shared objects, gives them commands and timers,
 * and holds them to their contract (fleetflash/policy.h). */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "base/error.h"
#include "inventory.h"

#include <fleetflash/policy.h>
#include <stdbool.h>
#include <uv.h>

struct policy_set;

/* Where policies are looked for: $FLEETFLASH_POLICY_PATH (colon list) when set, else the build tree's
 * or the installed folder. A policy is loaded when first asked for; a broken one is refused with its
 * reason. */
struct policy_set *policy_set_new(uv_loop_t *loop);
void policy_set_free(struct policy_set *set);

/* The policy of that name, or NULL and a reason that names the file. */
const struct ff_policy *policy_set_find(struct policy_set *set, const char *name,
                                        struct error *err);

/* Loads and checks one file (`fleetflash policy check FILE.so`). */
const struct ff_policy *policy_set_load(struct policy_set *set, const char *file,
                                        struct error *err);

/* Checks every target's `services` against its policy's parameters; adds mistakes with their place.
 * Returns the number of mistakes. */
size_t policy_set_check(struct policy_set *set, const struct inventory *inventory,
                        const bool *selected, struct diagnostics *mistakes);

/* One policy at work on one target. */
struct policy_run;

/* How the host runs a command on the device as root: given by the target. `done` must be called once,
 * later, unless cancel(handle) comes first. Returns a handle for cancel, NULL when it cannot. */
struct policy_transport {
    void *(*run)(void *arg, const char *command, unsigned timeout_ms,
                 void (*done)(void *done_arg, int exit_status, const char *out, const char *err,
                              const char *error),
                 void *done_arg);
    void (*cancel)(void *arg, void *handle);
    void (*log)(void *arg, const char *text);
    void *arg;
};

struct policy_target {
    const struct target_spec *spec;
    const char *mode, *image, *run_id;
};

/* The policy's word: verdict and, unless GO, its reason. */
typedef void (*policy_verdict)(enum ff_verdict verdict, const char *reason, void *arg);

/* Makes the run; nothing is called yet. The transport is copied, the strings of target must outlive
 * the run. */
struct policy_run *policy_run_new(struct policy_set *set, const struct ff_policy *policy,
                                  const struct policy_target *target,
                                  const struct policy_transport *transport);
/* Stop, with a bound on the whole (ms): a policy that never finishes is a FAIL. The verdict comes
 * later, exactly once unless the run is freed. */
void policy_run_stop(struct policy_run *run, uint64_t timeout, policy_verdict verdict, void *arg);
/* Undo; may be called while a stop is under way (which then is cut off, its verdict dropped). */
void policy_run_undo(struct policy_run *run, uint64_t timeout, policy_verdict verdict, void *arg);
/* Cancels whatever is under way, calls the policy's end, frees. NULL is allowed. */
void policy_run_free(struct policy_run *run);

#endif
