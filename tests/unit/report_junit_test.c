/* SPDX-License-Identifier: Apache-2.0 */
/* --report FILE.xml: what readers of JUnit files can rely on, whatever devices say. */
#include "report/junit_report.h"
#include "report_fake.h"
#include "report_lint.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SCHEMA SOURCE_DIR "/tests/unit/junit.xsd"

static char *rendered(const struct fake *fake)
{
    char *text = junit_report_text(&fake->run);
    assert_non_null(text);
    lint(text, SCHEMA);
    return text;
}

/* The numbers in the attributes are those of the elements. */
static void assert_counts_agree(const char *text)
{
    static const struct {
        const char *attribute, *element;
    } pairs[] = {{"tests", "testcase"},
                 {"failures", "testcase/failure"},
                 {"errors", "testcase/error"},
                 {"skipped", "testcase/skipped"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char xpath[200];
        double count;
        snprintf(xpath, sizeof xpath, "count(//%s)", pairs[i].element);
        count = lint_number(text, xpath);
        snprintf(xpath, sizeof xpath, "number(/testsuites/@%s)", pairs[i].attribute);
        lint_assert_number(text, xpath, count);
        snprintf(xpath, sizeof xpath, "count(//testsuite[@%s != count(%s)])", pairs[i].attribute,
                 pairs[i].element);
        lint_assert_number(text, xpath, 0);
    }
}

static void test_rollout(void **state)
{
    (void)state;
    struct fake *fake = fake_rollout();
    char *text = rendered(fake);
    assert_counts_agree(text);
    lint_assert_number(text, "count(//testsuite)", 4); /* the run and its waves */
    lint_assert_number(text, "count(//testsuite[@name='wave 2']/testcase)", 16);
    lint_assert_number(text, "count(//testcase[@name='pi-07']/failure[@type='lost'])", 1);
    lint_assert_number(text, "count(//testcase[@name='pi-12']/failure[@type='incomplete'])", 1);
    lint_assert_number(text,
                       "count(//testcase[@name='pi-15']/skipped[contains(@message,'a test')])", 1);
    lint_assert_number(text, "count(//testcase[@name='pi-24']/skipped)", 1);
    lint_assert_number(text, "count(//testcase[@name='pi-01'][failure or skipped or error])", 0);
    lint_assert_number(text,
                       "count(//testcase[@name='rollout']/error[contains(@message,'wave 2')])", 1);
    lint_assert_number(text, "number(//property[@name='exit_code']/@value)", 3);
    lint_assert_number(text, "number(//testcase[@name='rollout']/@time)", 372.25);
    assert_non_null(strstr(text, "remedy: keep it powered"));
    free(text);
    fake_free(fake);
}

static void test_hostile_texts(void **state)
{
    (void)state;
    struct fake *fake = fake_new(2);
    const char *hostile = lint_hostile();
    fake_image(fake);
    fake_facts(fake, 1);
    fake_failed(fake, 0, hostile + 200 - 130, hostile);
    fake_failed(fake, 1, hostile, hostile);
    snprintf(fake->targets[1].facts.model, sizeof fake->targets[1].facts.model, "%s", hostile);
    snprintf(fake->targets[1].facts.disk_serial, sizeof fake->targets[1].facts.disk_serial, "%s",
             hostile + 130);
    snprintf(fake->targets[1].proof, sizeof fake->targets[1].proof, "%s", hostile + 60);
    fake_ended(fake, 1000, 1);
    char *text = rendered(fake);
    assert_counts_agree(text);
    lint_assert_number(text, "count(//*[name()='script'])", 0);
    lint_assert_number(text, "count(//failure)", 2);
    assert_non_null(strstr(text, "\\x1b")); /* they are shown, not left out */
    free(text);
    fake_free(fake);
}

/* Failed devices alone are no error of the run; a run in which nothing began is one. */
static void test_error_of_the_run(void **state)
{
    (void)state;
    struct fake *fake = fake_new(2);
    fake_image(fake);
    fake_flashed(fake, 0);
    fake_failed(fake, 1, "no", NULL);
    fake_ended(fake, 1000, 1);
    char *text = rendered(fake);
    lint_assert_number(text, "count(//error)", 0);
    lint_assert_number(text, "count(//failure)", 1);
    free(text);
    fake->run.store = NULL;
    fake->run.problem = "the image is cut short";
    for (size_t i = 0; i < 2; i++)
        fake->targets[i].outcome = OUTCOME_NOT_STARTED;
    fake_ended(fake, 1000, 2);
    text = rendered(fake);
    assert_counts_agree(text);
    lint_assert_number(text, "count(//error[contains(@message, 'cut short')])", 1);
    lint_assert_number(text, "count(//skipped)", 2);
    free(text);
    fake_free(fake);
}

/* What a check has nothing against passes. */
static void test_check(void **state)
{
    (void)state;
    struct fake *fake = fake_new(2);
    fake->run.command = "check";
    fake->run.image = NULL;
    fake_facts(fake, 0);
    fake->targets[0].outcome = OUTCOME_NOT_STARTED;
    error_set(&fake->targets[0].error, ERROR_CANCELLED, "only checked");
    fake_failed(fake, 1, "no", NULL);
    fake_ended(fake, 1000, 1);
    char *text = rendered(fake);
    lint_assert_number(text, "count(//testcase[failure or skipped or error])", 1);
    lint_assert_number(text, "count(//testcase[@name='pi-02']/failure)", 1);
    free(text);
    fake_free(fake);
}

/* Of a disk that nobody looked at the name is all that is told. */
static void test_unknown_disk(void **state)
{
    (void)state;
    struct fake *fake = fake_unknown_disk();
    char *text = rendered(fake);
    assert_non_null(strstr(text, "\ndisk: /dev/mmcblk0, 29.7 GiB SC32G 0x1a2b3c00\n"));
    assert_non_null(strstr(text, "\ndisk: mmc 0\n"));
    free(text);
    fake_free(fake);
}

int main(void)
{
    setlocale(LC_ALL, "C"); /* a report does not depend on it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollout),      cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_unknown_disk), cmocka_unit_test(test_error_of_the_run),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
