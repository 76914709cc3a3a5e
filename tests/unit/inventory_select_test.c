/* SPDX-License-Identifier: Apache-2.0 */
/* --limit patterns, failure limits, edit distances. */
#include "inventory.h"
#include "suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char lab[] = "groups:\n"
                          "  canary: {hosts: {pi-01: {}, x1: {}}}\n"
                          "  lab: {hosts: {'pi-[02:06]': {}, pi-01: }}\n";

/* Names in the order of the file: pi-01 x1 pi-02 … pi-06; one letter each: 1x23456. */
static const struct {
    const char *pattern, *selected; /* NULL: refused with … */
    const char *message;
} patterns[] = {
    {"pi-01", "1", NULL},
    {"canary", "1x", NULL},
    {"pi-*", "123456", NULL},
    {"lab", "123456", NULL},
    {"lab,!canary", "23456", NULL},
    {"!canary", "23456", NULL},
    {"!canary,lab", "23456", NULL}, /* the order does not matter */
    {"pi-[02:04]", "234", NULL},
    {"pi-0[24]", "24", NULL},
    {"pi-02 , x?", "x2", NULL},
    {"*,!*", "", NULL},
    {"pi-[05:09]", "56", NULL},
    {"c*", "1x", NULL},
    {"pi-1", NULL, "no host and no group of f matches 'pi-1' (did you mean 'pi-01'?)"},
    {"pi-01,canaries", NULL,
     "no host and no group of f matches 'canaries' (did you mean 'canary'?)"},
    {"!zzzzzz", NULL, "no host and no group of f matches 'zzzzzz'"},
    {"", NULL, "the pattern '' has an empty part"},
    {"pi-01,,x1", NULL, "the pattern 'pi-01,,x1' has an empty part"},
    {"pi-01,!", NULL, "the pattern 'pi-01,!' has an empty part"},
};

static void test_patterns(void **state)
{
    (void)state;
    struct diagnostics mistakes = {0};
    struct inventory *inventory = inventory_parse("f", lab, strlen(lab), &mistakes);
    assert_non_null(inventory);
    assert_int_equal(inventory->target_count, 7);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        bool selected[7];
        char message[200] = "", letters[8] = "";
        int count =
            inventory_select(inventory, patterns[i].pattern, selected, message, sizeof message);
        if (patterns[i].selected == NULL) {
            assert_int_equal(count, -1);
            assert_string_equal(message, patterns[i].message);
            continue;
        }
        for (size_t k = 0, n = 0; k < 7; k++) {
            if (selected[k])
                letters[n++] = "1x23456"[k];
        }
        assert_string_equal(letters, patterns[i].selected);
        assert_int_equal(count, strlen(letters));
    }
    inventory_free(inventory);
}

static void test_failure_limits(void **state)
{
    (void)state;
    struct failure_limit three = {true, false, 3}, tenth = {true, true, 10},
                         none = {false, false, 0};
    assert_int_equal(failure_limit_allows(&three, 1), 3);
    assert_int_equal(failure_limit_allows(&tenth, 9), 0);
    assert_int_equal(failure_limit_allows(&tenth, 10), 1);
    assert_int_equal(failure_limit_allows(&tenth, 39), 3);
    assert_int_equal(failure_limit_allows(&none, 39), SIZE_MAX);
}

static void test_distances(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("host", "host"), 0);
    assert_int_equal(suggest_distance("hots", "host"), 1); /* neighbours swapped */
    assert_int_equal(suggest_distance("hos", "host"), 1);
    assert_int_equal(suggest_distance("hosst", "host"), 1);
    assert_int_equal(suggest_distance("", "host"), 4);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    char longest[60] = "";
    memset(longest, 'a', 50);
    assert_int_equal(suggest_distance(longest, "a"), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_failure_limits),
        cmocka_unit_test(test_distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
