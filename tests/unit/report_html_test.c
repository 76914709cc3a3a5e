/* SPDX-License-Identifier: Apache-2.0 */
/* --report FILE.html: one page that needs nothing else, in which nothing of a device is markup. */
#include "report/html_report.h"
#include "report/report_file.h"
#include "report/summary.h"
#include "report_fake.h"
#include "report_lint.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

/* Written so that it is well-formed XML too, which is easier to prove. */
static char *rendered(const struct fake *fake)
{
    char *text = html_report_text(&fake->run);
    assert_non_null(text);
    lint(text, NULL);
    return text;
}

static void test_content(void **state)
{
    (void)state;
    struct fake *fake = fake_rollout();
    char *text = rendered(fake);
    lint_assert_number(text, "count(//details)", 24);
    lint_assert_number(text, "count(//section[h2[starts-with(., 'Wave ')]])", 3);
    lint_assert_number(text, "count(//article)", 5);
    lint_assert_number(text, "count(//article[1]//a)", 2); /* two with the same trouble */
    lint_assert_number(text, "count(//article/p[contains(., 'keep it powered')])", 1);
    lint_assert_number(text, "count(//*[contains(@class, 'alert')][contains(., 'halted')])", 1);
    lint_assert_number(text, "count(//a[not(substring(@href, 2) = //@id)])", 0);
    /* failures come first: on the page and in their wave */
    assert_true(strstr(text, "What went wrong") < strstr(text, "<h2>Wave 1"));
    lint_assert_number(text,
                       "count(//details[@class='failed'][preceding-sibling::details[1]"
                       "[@class!='failed']])",
                       0);
    /* the timelines: a span for each state that a device was in */
    lint_assert_number(text, "count(//details[@id='d0']//i[contains(@class, 'span ')])", 6);
    lint_assert_number(text, "count(//details[@id='d11']//i[contains(@class, 'span ')])", 4);
    lint_assert_number(text, "count(//details[@id='d23']//i[contains(@class, 'span ')])", 0);
    lint_assert_number(text, "count(//i[@class='end'])", 4);
    free(text);
    fake_free(fake);
}

/* Every bar stays in its track, and spans follow each other. */
static void test_timeline(void **state)
{
    (void)state;
    struct fake *fake = fake_rollout();
    char *text = rendered(fake);
    unsigned spans = 0;
    double end = 0;
    for (const char *at = text; (at = strstr(at, "<i class=\"span ")) != NULL; at++) {
        double left, width;
        const char *style = strstr(at, "style=");
        const char *close = strchr(at, '>');
        if (style == NULL || style > close) /* of the legend */
            continue;
        assert_int_equal(sscanf(style, "style=\"left:%lf%%;width:%lf%%", &left, &width), 2);
        if (strncmp(at, "<i class=\"span probe", 20) == 0)
            end = 0;
        assert_true(left >= end - 0.01 && width >= 0);
        end = left + width;
        assert_true(end <= 100.01);
        spans++;
    }
    assert_true(spans > 80);
    free(text);
    fake_free(fake);
}

/* Nothing is fetched and nothing is run. */
static void test_self_contained(void **state)
{
    (void)state;
    static const char *const words[] = {"http",  "src=", "url(",    "@import",   "<script",
                                        "<link", "<img", "<iframe", "javascript"};
    struct fake *fake = fake_rollout();
    char *text = rendered(fake);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasestr(text, words[i]) != NULL)
            fail_msg("%s is in the report", words[i]);
    }
    lint_assert_number(text, "count(//@*[starts-with(name(), 'on')])", 0);
    free(text);
    fake_free(fake);
}

static void test_hostile_texts(void **state)
{
    (void)state;
    struct fake *fake = fake_new(2);
    const char *hostile = lint_hostile();
    struct target_status *target = &fake->targets[1];
    fake_image(fake);
    fake_facts(fake, 1);
    fake_failed(fake, 0, hostile, hostile);
    fake_flashed(fake, 1);
    snprintf(target->facts.model, sizeof target->facts.model, "%s", hostile + 128);
    snprintf(target->facts.disk_serial, sizeof target->facts.disk_serial, "%s", hostile + 20);
    snprintf(target->proof, sizeof target->proof, "%s", hostile + 60);
    snprintf(target->mode_reason, sizeof target->mode_reason, "%s", hostile + 30);
    snprintf(fake->store.facts.os_name, sizeof fake->store.facts.os_name, "%s", hostile + 100);
    fake->run.problem = hostile;
    fake_ended(fake, 1000, 1);
    char *text = rendered(fake);
    lint_assert_number(text, "count(//*[name()='script'])", 0);
    lint_assert_number(text, "count(//@onload)", 0);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        assert_true((*c >= 0x20 || *c == '\n') && *c != 0x7f);
    assert_null(strstr(text, "\xc2\x9b"));
    assert_null(strstr(text, "\xe2\x80\xae"));
    assert_non_null(strstr(text, "\\x1b"));
    free(text);
    fake_free(fake);
}

/* What differs by names and addresses alone is said once. */
static void test_same_troubles(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shared, *alone; /* alone NULL: as it is */
    } cases[] = {
        {"pi-01: no connection to 10.0.0.11 within 3 s", "no connection to it within 3 s",
         "no connection to 10.0.0.11 within 3 s"},
        {"pi-011: its name stands elsewhere", "pi-011: its name stands elsewhere", NULL},
        {"cannot connect to 10.0.0.11 port 22: refused", "cannot connect to it: refused", NULL},
        {"10.0.0.11:22 is not 10.0.0.110, nor pi-011, nor xpi-01",
         "it is not 10.0.0.110, nor pi-011, nor xpi-01", NULL},
        {"its end, 10.0.0.11.", "its end, it.", NULL},
    };
    struct fake *fake = fake_new(3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char reason[400];
        fake_failed(fake, 0, cases[i].text, NULL);
        summary_reason(&fake->targets[0], true, reason, sizeof reason);
        assert_string_equal(reason, cases[i].shared);
        summary_reason(&fake->targets[0], false, reason, sizeof reason);
        assert_string_equal(reason, cases[i].alone != NULL ? cases[i].alone : cases[i].text);
    }
    fake_failed(fake, 0, "pi-01: no connection to 10.0.0.11 within 3 s", "power?");
    fake_failed(fake, 1, "pi-02: no connection to 10.0.0.12 within 3 s", "power?");
    fake_failed(fake, 2, "pi-03: no connection to 10.0.0.13 within 9 s", "power?");
    fake_ended(fake, 1000, 1);
    char *text = rendered(fake);
    lint_assert_number(text, "count(//article)", 2);
    lint_assert_number(
        text, "count(//article[1][count(.//a)=2]/p[. = 'no connection to it within 3 s'])", 1);
    lint_assert_number(text, "count(//article[2]/p[contains(., 'no connection to 10.0.0.13')])", 1);
    free(text);
    fake_free(fake);
}

/* A run in which nothing was done has a page too. */
static void test_empty(void **state)
{
    (void)state;
    struct fake *fake = fake_new(0);
    fake_ended(fake, 0, 2);
    fake->run.problem = "the image is cut short";
    char *text = rendered(fake);
    assert_non_null(strstr(text, "cut short"));
    lint_assert_number(text, "count(//details)", 0);
    free(text);
    fake_free(fake);
}

static void test_file(void **state)
{
    (void)state;
    char path[] = "/tmp/report-test-XXXXXX.html";
    char line[64] = "";
    struct error err;
    struct fake *fake = fake_rollout();
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(report_check_writable(path, &err), 0);
    assert_int_equal(report_write(&fake->run, path, &err), 0);
    FILE *file = fopen(path, "r");
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "<!DOCTYPE html>\n");
    fclose(file);
    unlink(path);
    fake_free(fake);
}

/* Of a disk that nobody looked at the name is all that is told. */
static void test_unknown_disk(void **state)
{
    (void)state;
    struct fake *fake = fake_unknown_disk();
    char *text = rendered(fake);
    lint_assert_number(text, "count(//dd[.='/dev/mmcblk0, 29.7 GiB SC32G 0x1a2b3c00'])", 1);
    lint_assert_number(text, "count(//dd[.='mmc 0'])", 1);
    free(text);
    fake_free(fake);
}

int main(void)
{
    setlocale(LC_ALL, "C"); /* a report does not depend on it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content),        cmocka_unit_test(test_timeline),
        cmocka_unit_test(test_self_contained), cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_unknown_disk),   cmocka_unit_test(test_same_troubles),
        cmocka_unit_test(test_empty),          cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
