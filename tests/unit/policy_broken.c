/* SPDX-License-Identifier: Apache-2.0 */
/* Policies that must be refused, one for each BROKEN_… definition, and two that only look strange:
 * OLDER and NEWER, made with another release of the header. */
#include <fleetflash/policy.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

__attribute__((unused)) static void go(const struct ff_host *host, struct ff_target *target)
{
    host->finish(target, FF_VERDICT_GO, NULL);
}

#define TABLE(...)                                                                                 \
    static const struct ff_policy policy = {FF_POLICY_HEADER, __VA_ARGS__};                        \
    FF_REGISTER_POLICY(policy)

#if defined BROKEN_VERSION
static const struct ff_policy policy = {.struct_size = sizeof(struct ff_policy),
                                        .parameter_size = sizeof(struct ff_parameter),
                                        .api_version = 999,
                                        .name = "version",
                                        .stop = go};
FF_REGISTER_POLICY(policy)

#elif defined BROKEN_SYMBOL
extern int something_else;
int something_else = 1;

#elif defined BROKEN_NULL
__attribute__((visibility("default"))) const struct ff_policy *fleetflash_policy(void);
const struct ff_policy *fleetflash_policy(void)
{
    return NULL;
}

#elif defined BROKEN_CONSTRUCTOR
__attribute__((constructor)) static void crash(void)
{
    raise(SIGSEGV);
}
TABLE(.name = "constructor", .stop = go)

#elif defined BROKEN_DESTRUCTOR
__attribute__((destructor)) static void crash(void)
{
    abort();
}
TABLE(.name = "destructor", .stop = go)

#elif defined BROKEN_ABORT
__attribute__((visibility("default"))) const struct ff_policy *fleetflash_policy(void);
const struct ff_policy *fleetflash_policy(void)
{
    abort();
}

#elif defined BROKEN_EXIT
__attribute__((constructor)) static void leave(void)
{
    _Exit(7);
}
TABLE(.name = "exit", .stop = go)

#elif defined BROKEN_TABLE
static const struct ff_policy policy = {.struct_size = 1u << 30, .api_version = 1};
FF_REGISTER_POLICY(policy)

#elif defined BROKEN_WILD
TABLE(.name = (const char *)16, .stop = go)

#elif defined BROKEN_NAME
TABLE(.name = "another", .stop = go)

#elif defined BROKEN_NOSTOP
TABLE(.name = "nostop")

#elif defined BROKEN_SMALL
static const struct ff_policy policy = {.struct_size = 16, .api_version = 1};
FF_REGISTER_POLICY(policy)

#elif defined BROKEN_RESERVED
static const struct ff_parameter parameters[] = {{.key = "policy"}, {.key = NULL}};
TABLE(.name = "reserved", .stop = go, .parameters = parameters)

#elif defined BROKEN_OLDER
/* A table that ends after stop. What follows in memory must not be taken for undo and end. */
static const struct {
    struct ff_policy table;
} old = {{.struct_size = offsetof(struct ff_policy, undo),
          .parameter_size = sizeof(struct ff_parameter),
          .api_version = FF_POLICY_API_VERSION,
          .name = "older",
          .stop = go,
          .undo = (void (*)(const struct ff_host *, struct ff_target *))16,
          .end = (void (*)(const struct ff_host *, struct ff_target *))16}};
__attribute__((visibility("default"))) const struct ff_policy *fleetflash_policy(void);
const struct ff_policy *fleetflash_policy(void)
{
    return &old.table;
}

#elif defined BROKEN_NEWER
/* Table and parameters are longer than this host knows. */
struct longer_parameter {
    struct ff_parameter known;
    const char *more;
};
static const struct longer_parameter parameters[] = {
    {{.key = "first", .required = 1}, "more"}, {{.key = "second"}, "more"}, {{.key = NULL}, NULL}};
static const struct {
    struct ff_policy table;
    void *more[4];
} new = {{.struct_size = sizeof(struct ff_policy) + 4 * sizeof(void *),
          .parameter_size = sizeof(struct longer_parameter),
          .api_version = FF_POLICY_API_VERSION,
          .name = "newer",
          .stop = go,
          .parameters = &parameters[0].known},
         {0}};
__attribute__((visibility("default"))) const struct ff_policy *fleetflash_policy(void);
const struct ff_policy *fleetflash_policy(void)
{
    return &new.table;
}
#endif
