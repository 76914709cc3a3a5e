/* SPDX-License-Identifier: Apache-2.0 */
/* When new devices may be started. */
#include "run/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int wait_minutes;

static enum window_state at(int from, int to, int hour, int minute)
{
    const struct wave_spec wave = {.window_from = from, .window_to = to};
    return window_at(&wave, hour * 60 + minute, &wait_minutes);
}

static void within_a_day(void **state)
{
    (void)state;
    assert_int_equal(at(60, 300, 1, 0), WINDOW_OPEN);
    assert_int_equal(at(60, 300, 4, 59), WINDOW_OPEN);
    assert_int_equal(at(60, 300, 5, 0), WINDOW_CLOSED);
    assert_int_equal(at(60, 300, 0, 59), WINDOW_OPENS_LATER);
    assert_int_equal(wait_minutes, 1);
    assert_int_equal(at(60, 300, 13, 0), WINDOW_OPENS_LATER); /* twelve hours are waited */
    assert_int_equal(wait_minutes, 12 * 60);
    assert_int_equal(at(60, 300, 12, 59), WINDOW_CLOSED);
}

static void over_midnight(void **state)
{
    (void)state;
    assert_int_equal(at(22 * 60, 5 * 60, 23, 59), WINDOW_OPEN);
    assert_int_equal(at(22 * 60, 5 * 60, 0, 0), WINDOW_OPEN);
    assert_int_equal(at(22 * 60, 5 * 60, 4, 59), WINDOW_OPEN);
    assert_int_equal(at(22 * 60, 5 * 60, 5, 0), WINDOW_CLOSED);
    assert_int_equal(at(22 * 60, 5 * 60, 21, 0), WINDOW_OPENS_LATER);
    assert_int_equal(wait_minutes, 60);
}

static void none_is_always(void **state)
{
    (void)state;
    assert_int_equal(at(-1, -1, 3, 0), WINDOW_OPEN);
    assert_int_equal(at(60, 60, 3, 0), WINDOW_OPEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(within_a_day),
        cmocka_unit_test(over_midnight),
        cmocka_unit_test(none_is_always),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
