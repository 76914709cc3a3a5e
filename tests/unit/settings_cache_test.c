/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of ssh's configuration, for whom, and for how long. */
#include "link/settings_cache.h"

#include "link/settings_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct settings_query board = {
    .name = "one", .host = "board", .user = "pi", .ssh_config = "/c", .port = 22};

static void other_questions_have_other_answers(void **state)
{
    (void)state;
    struct settings_cache *cache = settings_cache_new();
    settings_cache_keep(cache, &board, "port 22", 5);
    struct settings_query other[] = {board, board, board, board, board, board};
    other[0].name = "two";
    other[1].host = "pi";
    other[2].user = NULL;
    other[3].ssh_config = NULL;
    other[4].port = 0;
    other[5].user = "board";
    assert_string_equal(settings_cache_find(cache, &other[0], 5), "port 22");
    for (size_t i = 1; i < 6; i++)
        assert_null(settings_cache_find(cache, &other[i], 5));
    settings_cache_free(cache);
}

static void the_latest_holds_for_a_minute(void **state)
{
    (void)state;
    struct settings_query second = board;
    second.host = "second";
    struct settings_cache *cache = settings_cache_new();
    settings_cache_keep(cache, &board, "old", 0);
    settings_cache_keep(cache, &second, "other", 1);
    settings_cache_keep(cache, &board, "new", 2);
    assert_string_equal(settings_cache_find(cache, &board, SETTINGS_CACHE_AGE + 1), "new");
    assert_null(settings_cache_find(cache, &second, SETTINGS_CACHE_AGE + 1));
    assert_null(settings_cache_find(cache, &board, SETTINGS_CACHE_AGE + 2));
    settings_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_questions_have_other_answers),
        cmocka_unit_test(the_latest_holds_for_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
