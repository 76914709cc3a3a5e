/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `example`, a pattern for your own: leaves devices alone on which a lock file stands (a
 * test is running, say), waits a while for it to go, and marks the device while it is being
 * flashed.
 *
 *     services: {policy: example, lock: /run/lab-test.lock, wait: 5m}
 *
 * It shows all there is to a policy: a parameter table and a check, commands on the device with
 * their callbacks, a timer, a veto with its reason, and an undo that takes back exactly what stop
 * has done.
 */
#include <fleetflash/policy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 1000u

/* What this policy has to remember about one target. Many are at work at the same time, so nothing
 * of it may be a static variable. */
struct example {
    const char *lock; /* the lock file, quoted for the shell */
    unsigned polls_left;
    int marked; /* undo has something to take back */
};

/* Every host function that starts something can say no; whoever does not finish then makes the
 * whole flash wait for the host's deadline. */
static void give_up(const struct ff_host *host, struct ff_target *target)
{
    host->finish(target, FF_VERDICT_FAIL, "no memory, or no link to the device");
}

/* --- stop: look at the lock, wait for it, mark the device ------------------------------------- */

static void look(const struct ff_host *host, struct ff_target *target, void *data);

static void marked_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else
        host->finish(target, FF_VERDICT_FAIL, "cannot write the mark beside the lock file");
}

static void mark(const struct ff_host *host, struct ff_target *target)
{
    struct example *example = target->policy_data;
    char command[1200];
    snprintf(command, sizeof command, "echo being flashed >%s.flash", example->lock);
    example->marked = 1; /* before it is done: undo may come in between */
    if (host->run(target, command, 10000, marked_callback, NULL) != 0)
        give_up(host, target);
}

/* Exit status 3 is our own: there is no lock. */
static void looked_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    struct example *example = target->policy_data;
    char reason[200];
    (void)data;
    if (result->exit_status == 3) {
        mark(host, target);
    } else if (result->exit_status != 0) {
        host->finish(target, FF_VERDICT_FAIL,
                     result->error[0] != '\0' ? result->error : "cannot read the lock file");
    } else if (example->polls_left == 0) {
        snprintf(reason, sizeof reason, "locked: %.150s", result->out);
        host->finish(target, FF_VERDICT_VETO, reason);
    } else {
        example->polls_left--;
        if (host->after(target, POLL_MS, look, NULL) != 0)
            give_up(host, target);
    }
}

static void look(const struct ff_host *host, struct ff_target *target, void *data)
{
    struct example *example = target->policy_data;
    char command[1200];
    (void)data;
    snprintf(command, sizeof command, "[ -e %s ] || exit 3; head -n 1 %s", example->lock,
             example->lock);
    if (host->run(target, command, 10000, looked_callback, NULL) != 0)
        give_up(host, target);
}

static void example_stop(const struct ff_host *host, struct ff_target *target)
{
    struct example *example = calloc(1, sizeof *example);
    target->policy_data = example; /* freed by example_end, whatever happens */
    if (example != NULL)
        example->lock = host->quote(target, host->parameter(target, "lock", 0));
    if (example == NULL || example->lock == NULL) {
        give_up(host, target);
        return;
    }
    uint64_t wait = host->number(target, "wait", 0);
    example->polls_left = (unsigned)((wait + POLL_MS - 1) / POLL_MS);
    host->deadline(target, (unsigned)wait + 60000u);
    look(host, target, NULL);
}

/* --- undo and end ------------------------------------------------------------------------- */

static void unmarked_callback(const struct ff_host *host, struct ff_target *target,
                              const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else
        host->finish(target, FF_VERDICT_FAIL, "cannot remove the mark");
}

static void example_undo(const struct ff_host *host, struct ff_target *target)
{
    struct example *example = target->policy_data;
    char command[1200];
    if (example == NULL || !example->marked) {
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    snprintf(command, sizeof command, "rm -f %s.flash", example->lock);
    if (host->run(target, command, 10000, unmarked_callback, NULL) != 0)
        give_up(host, target);
}

static void example_end(const struct ff_host *host, struct ff_target *target)
{
    (void)host;
    free(target->policy_data);
}

/* --- what the inventory may say ----------------------------------------------------------- */

/* The host has checked already that `lock` is there and that `wait` is a duration. */
static void example_check(const struct ff_host *host, struct ff_target *target)
{
    const char *lock = host->parameter(target, "lock", 0);
    if (lock[0] != '/' || strlen(lock) > 100)
        host->mistake(target, "lock", "'%.60s' is no absolute path of up to 100 bytes", lock);
    if (host->number(target, "wait", 0) > 50 * 60000u)
        host->mistake(target, "wait", "'wait' can be 50m at most");
}

static const struct ff_parameter parameters[] = {
    {.key = "lock", .help = "the file that keeps a device from being flashed", .required = 1},
    {.key = "wait", .help = "how long to wait for it to go; default 0s", .type = FF_TYPE_DURATION},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,         .name = "example",
    .longname = "Example",    .description = "leaves devices with a lock file alone",
    .parameters = parameters, .check = example_check,
    .stop = example_stop,     .undo = example_undo,
    .end = example_end,
};
FF_REGISTER_POLICY(policy)
