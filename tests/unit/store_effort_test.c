/* SPDX-License-Identifier: Apache-2.0 */
/* The builder compresses harder while it waits anyway, and least when it is waited for. */
#include "store/effort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void idle_workers_try_harder(void **state)
{
    (void)state;
    int level = EFFORT_LEAST;
    for (int i = EFFORT_LEAST; i < EFFORT_MOST; i++) {
        int next = effort_next(level, true, false);
        assert_true(next > level);
        level = next;
    }
    assert_int_equal(level, EFFORT_MOST);
    assert_int_equal(effort_next(level, true, false), EFFORT_MOST);
}

static void busy_workers_stay(void **state)
{
    (void)state;
    for (int level = EFFORT_LEAST; level <= EFFORT_MOST; level++)
        assert_int_equal(effort_next(level, false, false), level);
}

static void nobody_waits_for_compression(void **state)
{
    (void)state;
    assert_int_equal(effort_next(EFFORT_MOST, false, true), EFFORT_LEAST);
    assert_int_equal(effort_next(EFFORT_MOST, true, true), EFFORT_LEAST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_workers_try_harder),
        cmocka_unit_test(busy_workers_stay),
        cmocka_unit_test(nobody_waits_for_compression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
