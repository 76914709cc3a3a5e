/* SPDX-License-Identifier: Apache-2.0 */
/* A link to this very machine: what is asked of a device runs here, as a child process. */
#include "link/link.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct use {
    struct link *link;
    unsigned ups, downs, results;
    int status;
    char out[200];
    struct error err;
    const char *command, *input;
    uint64_t timeout;
};

static void result_callback(const struct link_run_result *result, void *arg)
{
    struct use *use = arg;
    use->results++;
    use->status = result->exit_status;
    strncat(use->out, result->out, sizeof use->out - 1);
    strncat(use->out, result->err_text, sizeof use->out - strlen(use->out) - 1);
    if (result->err != NULL)
        use->err = *result->err;
    link_close(use->link);
    use->link = NULL;
}

static void up_callback(struct link *link, const struct link_facts *facts, void *arg)
{
    struct use *use = arg;
    use->ups++;
    assert_string_equal(facts->host_fingerprint, "");
    assert_string_equal(facts->route, "local");
    struct buffer *input = use->input != NULL ? buffer_copy(use->input, strlen(use->input)) : NULL;
    assert_non_null(
        link_run_command(link, use->command, input, use->timeout, result_callback, use));
    buffer_unref(input);
}

static void down_callback(struct link *link, const struct error *err, void *arg)
{
    (void)link;
    (void)err;
    ((struct use *)arg)->downs++;
}

static const struct link_events events = {up_callback, down_callback};

static void run(struct use *use)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct link_pool *pool = link_pool_new(&loop, 1);
    struct link_config config = {.name = "self", .host = "nowhere.invalid", .is_local = true};
    use->link = link_open(pool, &config, &events, use);
    assert_non_null(use->link);
    assert_false(link_is_up(use->link)); /* as any link: later */
    uv_run(&loop, UV_RUN_DEFAULT);
    link_pool_free(pool);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(use->ups, 1);
    assert_int_equal(use->downs, 0);
    assert_int_equal(use->results, 1);
}

static void a_command_runs_in_a_shell_with_its_input(void **state)
{
    (void)state;
    struct use use = {.command = "read a; echo \"got $a\"; echo bad >&2; exit 3",
                      .input = "words\nmore\n",
                      .timeout = 60000};
    run(&use);
    assert_int_equal(use.status, 3);
    assert_string_equal(use.out, "got words\nbad\n");
    assert_int_equal(use.err.cls, ERROR_NONE);
}

static void a_command_that_does_not_end_is_ended(void **state)
{
    (void)state;
    struct use use = {.command = "echo begun; exec sleep 1000", .timeout = 500};
    run(&use);
    assert_string_equal(use.out, "begun\n");
    assert_int_equal(use.err.cls, ERROR_TIMEOUT);
}

/* Closed before it was up: nobody is told of anything. */
static void closed_at_once(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct use use = {0};
    struct link_pool *pool = link_pool_new(&loop, 1);
    struct link_config config = {.name = "self", .is_local = true};
    struct link *link = link_open(pool, &config, &events, &use);
    link_close(link);
    link_pool_free(pool);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(use.ups + use.downs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_runs_in_a_shell_with_its_input),
        cmocka_unit_test(a_command_that_does_not_end_is_ended),
        cmocka_unit_test(closed_at_once),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
