/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of the image for boot loaders: whoever asks gets them, and a failure is not kept. */
#include "netboot/chunk.h"
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define IMAGE_SIZE (6u * 1024 * 1024)

struct fixture {
    uv_loop_t loop;
    struct store *store;
    struct chunk_pool *pool;
};

static int enter(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->store = store_make(&fixture->loop, IMAGE_SIZE);
    fixture->pool = chunk_pool_open(&fixture->loop, fixture->store);
    *state = fixture;
    return fixture->pool != NULL ? 0 : -1;
}

static int leave(void **state)
{
    struct fixture *fixture = *state;
    chunk_pool_close(fixture->pool);
    store_finish(&fixture->loop, fixture->store);
    free(fixture);
    scratch_leave();
    return 0;
}

struct heard {
    unsigned data, errors;
};

static void heard_callback(struct buffer *data, uint32_t crc, const struct error *err, void *arg)
{
    struct heard *heard = arg;
    (void)crc;
    (void)err;
    if (data != NULL)
        heard->data++;
    else
        heard->errors++;
}

static void nothing(uv_timer_t *timer)
{
    (void)timer;
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Until nothing is under way. What is left then is an answer's turn, for which an idle pool keeps
 * no loop alive. */
static void run(struct fixture *fixture)
{
    for (unsigned i = 0; i < 3; i++) {
        uv_timer_t *timer = malloc(sizeof *timer);
        uv_timer_init(&fixture->loop, timer);
        uv_timer_start(timer, nothing, 1, 0);
        uv_run(&fixture->loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *)timer, timer_closed);
    }
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
}

static void flip_blocks(void)
{
    const char *spool = only_file_ending("cache", ".spool");
    for (size_t at = 0; at < file_size(spool); at += 512)
        file_flip(spool, at);
}

static void test_failures(void **state)
{
    struct fixture *fixture = *state;
    struct chunk_key key = {.block = 0, .from = 0, .to = 1000};
    struct heard heard = {0};
    flip_blocks();
    assert_non_null(chunk_fetch(fixture->pool, &key, heard_callback, &heard));
    run(fixture);
    assert_int_equal(heard.errors, 1);
    /* Nobody waits for this one any more when it fails. */
    chunk_cancel(chunk_fetch(fixture->pool, &key, heard_callback, &heard));
    run(fixture);
    flip_blocks();
    assert_non_null(chunk_fetch(fixture->pool, &key, heard_callback, &heard));
    run(fixture);
    assert_int_equal(heard.errors, 1);
    assert_int_equal(heard.data, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failures, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
