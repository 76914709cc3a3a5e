/* SPDX-License-Identifier: Apache-2.0 */
/* A policy that breaks its contract in the way its parameter `do` says. */
#include <fleetflash/policy.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int asked(const struct ff_host *host, struct ff_target *target, const char *what)
{
    const char *value = host->parameter(target, "do", 0);
    return value != NULL && strcmp(value, what) == 0;
}

static void command_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    host->log(target, "command: status %d out=%s error=%s data=%s", result->exit_status,
              result->out, result->error, (const char *)data);
    host->finish(target, FF_VERDICT_GO, NULL);
}

static void must_not_come(const struct ff_host *host, struct ff_target *target,
                          const struct ff_result *result, void *data)
{
    (void)result;
    (void)data;
    host->log(target, "a cancelled command called back");
}

static void timer_must_not_come(const struct ff_host *host, struct ff_target *target, void *data)
{
    (void)data;
    host->log(target, "a cancelled timer called back");
}

static void hang(const struct ff_host *host, struct ff_target *target)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    host->run(target, "sleep 1000", 1000000, must_not_come, NULL);
    host->run_local(target, argv, NULL, 1000000, must_not_come, NULL);
    host->after(target, 1000000, timer_must_not_come, NULL);
}

static void misbehave_stop(const struct ff_host *host, struct ff_target *target)
{
    static char word[] = "word";
    target->policy_data = calloc(1, 64);
    if (asked(host, target, "never-finish")) {
        hang(host, target);
    } else if (asked(host, target, "finish-twice")) {
        hang(host, target);
        host->finish(target, FF_VERDICT_GO, NULL);
        host->finish(target, FF_VERDICT_FAIL, "second word");
    } else if (asked(host, target, "after-finish")) {
        host->finish(target, FF_VERDICT_GO, NULL);
        host->log(target, "run says %d", host->run(target, "true", 0, must_not_come, NULL));
        host->log(target, "after says %d", host->after(target, 0, timer_must_not_come, NULL));
    } else if (asked(host, target, "null")) {
        host->log(target, "run says %d", host->run(target, NULL, 0, command_callback, NULL));
        host->finish(target, FF_VERDICT_GO, NULL);
    } else if (asked(host, target, "many")) {
        int refused = 0;
        for (int i = 0; i < 100; i++)
            refused += host->after(target, 1000000, timer_must_not_come, NULL) != 0;
        host->log(target, "%d of 100 refused", refused);
        host->finish(target, FF_VERDICT_GO, NULL);
    } else if (asked(host, target, "block")) {
        const struct timespec long_time = {0, 80 * 1000000};
        nanosleep(&long_time, NULL);
        host->finish(target, FF_VERDICT_GO, NULL);
    } else if (asked(host, target, "verdict")) {
        host->finish(target, (enum ff_verdict)17, "what?");
    } else if (asked(host, target, "veto")) {
        host->finish(target, FF_VERDICT_VETO, "busy\twith a test\nsecond line");
    } else if (asked(host, target, "deadline")) {
        hang(host, target);
        host->deadline(target, 1);
    } else if (host->run(target, "echo out", 0, command_callback, word) != 0) {
        host->finish(target, FF_VERDICT_FAIL, "run says -1");
    }
}

static void misbehave_undo(const struct ff_host *host, struct ff_target *target)
{
    host->log(target, "undo");
    if (asked(host, target, "finish-twice"))
        host->finish(target, FF_VERDICT_VETO, "no");
    else
        host->finish(target, FF_VERDICT_GO, NULL);
}

static void misbehave_end(const struct ff_host *host, struct ff_target *target)
{
    host->log(target, "end");
    host->finish(target, FF_VERDICT_GO, NULL);
    free(target->policy_data);
}

static void misbehave_check(const struct ff_host *host, struct ff_target *target)
{
    if (asked(host, target, "run-in-check"))
        host->mistake(target, "do", "run says %d",
                      host->run(target, "true", 0, must_not_come, NULL));
    if (asked(host, target, "mistake"))
        host->mistake(target, NULL, "target %s does not please me", target->name);
}

static const struct ff_parameter parameters[] = {
    {.key = "do", .help = "what to do wrong", .required = 1},
    {.key = "words", .list = 1},
    {.key = "timeout", .type = FF_TYPE_DURATION},
    {.key = "really", .type = FF_TYPE_BOOL},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,         .name = "misbehave",      .description = "breaks its contract",
    .parameters = parameters, .check = misbehave_check, .stop = misbehave_stop,
    .undo = misbehave_undo,   .end = misbehave_end,
};
FF_REGISTER_POLICY(policy)
