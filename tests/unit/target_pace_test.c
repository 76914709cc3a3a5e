/* SPDX-License-Identifier: Apache-2.0 */
/* --rate holds, whatever the limit and the size of the blocks. */
#include "target/pace.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND 1000u

/* Bytes that get through in that many ms when there is always a block to send. */
static uint64_t sent_in(uint64_t rate, size_t block, uint64_t milliseconds)
{
    struct pace pace = {.rate = rate};
    uint64_t start = 5000000, now = start, sent = 0;
    while (now < start + milliseconds) {
        uint64_t wait = pace_wait(&pace, now);
        now += wait;
        if (wait > 0)
            continue;
        pace_spend(&pace, block);
        sent += block;
    }
    return sent;
}

static void the_limit_holds(void **state)
{
    (void)state;
    static const uint64_t rates[] = {50000, 1u << 20, 10u << 20, 60u << 20, 100u << 20, 1u << 30};
    static const size_t blocks[] = {700, 9000, 60000, 90000, 131072};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) {
            uint64_t sent = sent_in(rates[i], blocks[k], 20 * SECOND);
            /* what was saved up, and one block more */
            uint64_t most = rates[i] * 20 + rates[i] / 5 + blocks[k] + rates[i] * 20 / 100;
            uint64_t least = rates[i] * 20 - rates[i] * 20 / 100;
            assert_in_range(sent, least, most);
        }
    }
}

static void without_a_limit_nothing_waits(void **state)
{
    (void)state;
    struct pace pace = {.rate = 0};
    pace_spend(&pace, 1u << 30);
    assert_int_equal(pace_wait(&pace, 1), 0);
}

/* A pause is not made up for by a flood. */
static void little_is_saved_up(void **state)
{
    (void)state;
    struct pace pace = {.rate = 1000000};
    uint64_t now = 1000000, sent = 0;
    assert_int_equal(pace_wait(&pace, now), 0);
    pace_spend(&pace, 1000);
    now += 60 * SECOND;
    while (pace_wait(&pace, now) == 0) {
        pace_spend(&pace, 1000);
        sent += 1000;
    }
    assert_in_range(sent, 200000, 202000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(without_a_limit_nothing_waits),
        cmocka_unit_test(little_is_saved_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
