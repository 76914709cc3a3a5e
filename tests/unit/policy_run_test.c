/* SPDX-License-Identifier: Apache-2.0 */
/* The host holds a policy to its contract, whatever it does, and nothing leaks at any stage. */
#include "policy_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct harness harness;

static void start(const char *what)
{
    static char word[100];
    snprintf(word, sizeof word, "do=%s", what);
    harness_open(&harness, POLICY_TEST_FOLDER);
    SERVICES(&harness, "misbehave", word);
    assert_true(harness_start(&harness));
}

static void test_command(void **state)
{
    static const struct answer answers[] = {{.expect = "echo out", .out = "hello"}};
    (void)state;
    start("command");
    harness.answers = answers;
    harness.answer_count = 1;
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_string_equal(harness.log, "misbehave: command: status 0 out=hello error= data=word\n");
    harness_close(&harness);
}

/* The real transport, with its real shell. */
static void test_real_command(void **state)
{
    (void)state;
    start("command");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "status 0 out=out"), 1);
    harness_close(&harness);
}

static void test_no_link(void **state)
{
    static const struct answer none[1];
    (void)state;
    start("command");
    harness.answers = none;
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "run says -1");
    harness_close(&harness);
}

static void test_deadline(void **state)
{
    (void)state;
    start("deadline");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "policy misbehave has not finished its stop within 1 s");
    assert_int_equal(harness_log_count(&harness, "cancelled"), 0);
    harness_close(&harness);
}

static void test_finish_twice(void **state)
{
    (void)state;
    start("finish-twice");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "called finish again: ignored"), 1);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_FAIL); /* it says VETO */
    assert_int_equal(harness_log_count(&harness, "a veto from undo counts as a failure"), 1);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_FAIL); /* failed: tried again */
    assert_int_equal(harness_log_count(&harness, "misbehave: undo\n"), 2);
    harness_close(&harness);
    assert_int_equal(harness_log_count(&harness, "cancelled"), 0);
}

static void test_after_finish(void **state)
{
    (void)state;
    start("after-finish");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "called run after finish: refused"), 1);
    assert_int_equal(harness_log_count(&harness, "run says -1"), 1);
    assert_int_equal(harness_log_count(&harness, "after says -1"), 1);
    harness_close(&harness);
}

static void test_arguments(void **state)
{
    (void)state;
    start("null");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "called run with a NULL argument"), 1);
    harness_close(&harness);
    start("many");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "68 of 100 refused"), 1);
    harness_close(&harness);
}

static void test_verdicts(void **state)
{
    (void)state;
    start("verdict");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_FAIL);
    assert_string_equal(harness.reason, "what?");
    harness_close(&harness);
    start("veto");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_VETO);
    assert_string_equal(harness.reason, "busy with a test");
    harness_close(&harness);
}

static void test_blocking(void **state)
{
    (void)state;
    start("block");
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "misbehave: warning: its stop function held up"),
                     1);
    harness_close(&harness);
}

static void verdict_must_not_come(enum ff_verdict verdict, const char *reason, void *arg)
{
    (void)verdict;
    (void)reason;
    (void)arg;
    fail_msg("the verdict of a stop that was cut off came");
}

/* Undo cuts a stop off: its commands, programs and timers end, its verdict is dropped. */
static void test_undo_while_stopping(void **state)
{
    (void)state;
    start("never-finish");
    policy_run_stop(harness.run, 0, verdict_must_not_come, NULL);
    assert_int_equal(harness.open_commands, 1);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_int_equal(harness.open_commands, 0);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "misbehave: undo\n"), 1);
    harness_close(&harness);
    assert_int_equal(harness_log_count(&harness, "misbehave: end\n"), 1);
    assert_int_equal(harness_log_count(&harness, "cancelled"), 0);
}

/* A finished stop whose verdict is not delivered yet. */
static void test_undo_before_delivery(void **state)
{
    (void)state;
    start("veto");
    policy_run_stop(harness.run, 0, verdict_must_not_come, NULL);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    harness_close(&harness);
}

static void test_free_any_time(void **state)
{
    (void)state;
    /* never called: no end */
    start("veto");
    harness_close(&harness);
    assert_string_equal(harness.log, "");
    /* undo without a stop: nothing is called */
    start("veto");
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    harness_close(&harness);
    assert_string_equal(harness.log, "");
    /* everything under way */
    start("never-finish");
    policy_run_stop(harness.run, 0, verdict_must_not_come, NULL);
    uv_run(&harness.loop, UV_RUN_NOWAIT);
    harness_close(&harness);
    assert_string_equal(
        harness.log,
        "misbehave: end\nmisbehave: it called finish outside stop and undo: ignored\n");
    /* finished, not delivered */
    start("veto");
    policy_run_stop(harness.run, 0, verdict_must_not_come, NULL);
    harness_close(&harness);
    policy_run_free(NULL);
    policy_set_free(NULL);
}

static void free_callback(enum ff_verdict verdict, const char *reason, void *arg)
{
    struct harness *one = arg;
    one->verdict = verdict;
    policy_run_free(one->run);
    one->run = NULL;
    /* reason outlives the run */
    snprintf(one->reason, sizeof one->reason, "%s", reason);
}

static void test_free_from_verdict(void **state)
{
    (void)state;
    start("veto");
    policy_run_stop(harness.run, 0, free_callback, &harness);
    uv_run(&harness.loop, UV_RUN_DEFAULT);
    assert_string_equal(harness.reason, "busy with a test");
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_real_command),
        cmocka_unit_test(test_no_link),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_finish_twice),
        cmocka_unit_test(test_after_finish),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_undo_while_stopping),
        cmocka_unit_test(test_undo_before_delivery),
        cmocka_unit_test(test_free_any_time),
        cmocka_unit_test(test_free_from_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
