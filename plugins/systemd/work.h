/* SPDX-License-Identifier: Apache-2.0 */
/* What the policy has to do on one device (target->policy_data). */
#ifndef SYSTEMD_WORK_H
#define SYSTEMD_WORK_H

#include "../common/finish.h"
#include "units.h"

#include <fleetflash/policy.h>

#define COMMAND_TIMEOUT_MS 30000u
#define KILL_WAIT_MS       10000u
#define POLL_MS            500u

struct work {
    struct units units;
    char **patterns; /* each with its unit type */
    size_t pattern_count;
    uint64_t timeout_ms;
    uint64_t deadline; /* of the wait at hand, monotonic ms */
    bool stop_asked;   /* undo has something to do */
    bool killed;
};

/* Monotonic. */
uint64_t work_now_ms(void);

/* "systemctl begin -- UNIT…" over the units in a state, those that start others first: so they
 * cannot do it any more, and a socket does not find its service up already. only_awaited leaves out
 * the others. For free(); NULL when memory is short. */
char *work_command(const struct ff_host *host, struct ff_target *target, const char *begin,
                   enum unit_state state, bool only_awaited);

/* Runs it. Finishes as FAIL when it cannot. */
void work_run(const struct ff_host *host, struct ff_target *target, const char *begin,
              enum unit_state state, bool only_awaited, unsigned timeout_ms,
              ff_command_callback callback);

/* Stops the units that are to stop, waits, kills if need be, and finishes. */
void work_stop(const struct ff_host *host, struct ff_target *target);

/* Starts them again, waits until they are up, and finishes. */
void work_start(const struct ff_host *host, struct ff_target *target);

/* Reads what `systemctl show` says about the units that are to stop; calls each for all of them.
 * False when it failed (the verdict is given). */
bool work_read_facts(const struct ff_host *host, struct ff_target *target,
                     const struct ff_result *result,
                     void (*each)(struct unit *unit, const struct unit_facts *facts));

/* Writes the names of the units that are to stop, as far as they fit. */
void work_names(char *out, size_t out_size, const struct units *units, bool only_awaited);

#endif
