/* SPDX-License-Identifier: Apache-2.0 */
/* Mistakes in `services`, each with its place. */
#include "policy_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Checks two targets with the same services (as inherited ones are) and expects these lines. */
static void expect(struct harness *harness, const char *const *lines, size_t count)
{
    struct diagnostics mistakes = {0};
    const struct target_spec both[] = {harness->spec, harness->spec};
    const struct inventory inventory = {.file = "lab.yaml", .target_count = 2, .targets = both};
    assert_int_equal(policy_set_check(harness->set, &inventory, NULL, &mistakes), count);
    assert_int_equal(mistakes.count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(mistakes.texts[i], lines[i]);
    diagnostics_free(&mistakes);
}

#define EXPECT(harness, ...)                                                                       \
    expect(harness, (const char *const[]){__VA_ARGS__},                                            \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void check(const char *policy, const char *const *words, size_t word_count, const char *line)
{
    struct harness harness;
    harness_open(&harness, POLICY_TEST_FOLDER ":" BUILD_DIR "/plugins");
    harness_services(&harness, policy, words, word_count);
    if (line == NULL)
        expect(&harness, NULL, 0);
    else
        EXPECT(&harness, line);
    harness_close(&harness);
}

#define CHECK(line, policy, ...)                                                                   \
    check(policy, (const char *const[]){__VA_ARGS__},                                              \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), line)

static void test_table(void **state)
{
    (void)state;
    CHECK(NULL, "misbehave", "do=x", "words=a", "words=b", "timeout=90s", "really=no");
    CHECK("lab.yaml:8:2: policy 'misbehave' has no parameter 'timout' (did you mean 'timeout'?)",
          "misbehave", "do=x", "timout=90s");
    CHECK("lab.yaml:8:2: policy 'misbehave' has no parameter 'quux'", "misbehave", "do=x",
          "quux=1");
    CHECK("lab.yaml:7:15: policy 'misbehave' needs the parameter 'do': what to do wrong",
          "misbehave", "words=a");
    CHECK("lab.yaml:8:1: 'do' takes one value, not a list of 2", "misbehave", "do=x", "do=y");
    CHECK("lab.yaml:8:2: 'timeout' must be a duration such as 90s or 5m, not 'soon'", "misbehave",
          "do=x", "timeout=soon");
    CHECK("lab.yaml:8:2: 'really' must be yes or no, not 'maybe'", "misbehave", "do=x",
          "really=maybe");
    CHECK("lab.yaml:7:15: there is no policy 'misbehav' (did you mean 'misbehave'?)", "misbehav",
          "do=x");
}

/* All mistakes are told at once. */
static void test_several(void **state)
{
    struct harness harness;
    (void)state;
    harness_open(&harness, POLICY_TEST_FOLDER);
    SERVICES(&harness, "misbehave", "wrods=a", "really=2");
    EXPECT(&harness,
           "lab.yaml:8:1: policy 'misbehave' has no parameter 'wrods' (did you mean 'words'?)",
           "lab.yaml:8:2: 'really' must be yes or no, not '2'",
           "lab.yaml:7:15: policy 'misbehave' needs the parameter 'do': what to do wrong");
    harness_close(&harness);
}

static void test_own_check(void **state)
{
    (void)state;
    CHECK("lab.yaml:7:15: target pi-07 does not please me", "misbehave", "do=mistake");
    CHECK("lab.yaml:8:1: run says -1", "misbehave", "do=run-in-check");
    CHECK(NULL, "systemd", "stop=container-*", "stop=docker", "stop=x@1.service");
    CHECK("lab.yaml:8:1: 'a b' is no unit name or pattern", "systemd", "stop=a b");
    CHECK(
        "lab.yaml:8:1: 'srv.mount': only service, socket, timer, path and scope units are stopped",
        "systemd", "stop=srv.mount");
    CHECK("lab.yaml:8:2: 'timeout' can be 50m at most", "systemd", "stop=a", "timeout=2h");
    CHECK("lab.yaml:8:1: '../x' is no name of a service", "sysv", "stop=../x");
    CHECK("lab.yaml:8:1: 'command' must begin with a program", "exec", "command=");
}

/* A broken policy is one line, and targets that were not selected are not looked at. */
static void test_selected(void **state)
{
    struct harness harness;
    struct diagnostics mistakes = {0};
    (void)state;
    harness_open(&harness, POLICY_TEST_FOLDER);
    SERVICES(&harness, "abort", "do=x");
    const bool selected[] = {false, true, true}, none[] = {false, false, false};
    const struct target_spec all[] = {harness.spec, harness.spec, {.name = "plain"}};
    const struct inventory inventory = {.file = "lab.yaml", .target_count = 3, .targets = all};
    assert_int_equal(policy_set_check(harness.set, &inventory, none, &mistakes), 0);
    assert_int_equal(policy_set_check(harness.set, &inventory, selected, &mistakes), 1);
    assert_non_null(strstr(mistakes.texts[0], "abort.so is refused: it crashes"));
    diagnostics_free(&mistakes);
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_own_check),
        cmocka_unit_test(test_selected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
