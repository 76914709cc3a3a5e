/* SPDX-License-Identifier: Apache-2.0 */
/* store_fetch: what arrives, once for all who wait; cancelling and closing at any moment. */
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

#define IMAGE_SIZE (6u * 1024 * 1024)

struct fixture {
    uv_loop_t loop;
    struct store *store;
};

/* One who asked, and what came. */
struct asker {
    struct fixture *fixture;
    struct store_fetch *fetch;
    uint32_t index;
    unsigned calls;
    struct buffer *data;
    enum block_encoding encoding;
    bool inside; /* store_fetch has not returned yet */
};

static int enter(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->store = store_make(&fixture->loop, IMAGE_SIZE);
    *state = fixture;
    return fixture->store != NULL ? 0 : -1;
}

static int leave(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->store != NULL)
        store_finish(&fixture->loop, fixture->store);
    free(fixture);
    scratch_leave();
    return 0;
}

static void asked_callback(struct buffer *data, enum block_encoding encoding,
                           const struct error *err, void *arg)
{
    struct asker *asker = arg;
    assert_false(asker->inside);
    assert_null(err);
    assert_non_null(data);
    asker->calls++;
    asker->data = buffer_ref(data);
    asker->encoding = encoding;
}

static void ask(struct fixture *fixture, struct asker *asker, uint32_t index)
{
    memset(asker, 0, sizeof *asker);
    asker->fixture = fixture;
    asker->index = index;
    asker->inside = true;
    asker->fetch = store_fetch(fixture->store, index, asked_callback, asker);
    asker->inside = false;
    assert_non_null(asker->fetch);
}

static void every_block_arrives_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    size_t size;
    uint8_t *image = file_read("raw", &size), *block = malloc(STORE_BLOCK_SIZE);
    uint32_t count = store_info(fixture->store)->block_count;
    unsigned encoded[2] = {0};
    struct asker *askers = calloc(count, sizeof *askers);
    for (uint32_t i = 0; i < count; i++)
        ask(fixture, &askers[i], i);
    uv_run(&fixture->loop, UV_RUN_DEFAULT); /* ends by itself: an idle store holds nothing */
    for (uint32_t i = 0; i < count; i++) {
        size_t expected = i + 1 < count ? STORE_BLOCK_SIZE : size - (size_t)i * STORE_BLOCK_SIZE;
        assert_int_equal(askers[i].calls, 1);
        encoded[askers[i].encoding]++;
        if (askers[i].encoding == ENCODING_RAW) {
            assert_int_equal(askers[i].data->size, expected);
            memcpy(block, askers[i].data->data, expected);
        } else {
            assert_int_equal(askers[i].data->size, store_entry(fixture->store, i)->wire_size);
            assert_int_equal(ZSTD_decompress(block, STORE_BLOCK_SIZE, askers[i].data->data,
                                             askers[i].data->size),
                             expected);
        }
        assert_memory_equal(block, image + (size_t)i * STORE_BLOCK_SIZE, expected);
        buffer_unref(askers[i].data);
    }
    assert_true(encoded[ENCODING_RAW] > 0 && encoded[ENCODING_ZSTD] > 0);
    free(askers);
    free(block);
    free(image);
}

static void a_block_is_read_once_for_all(void **state)
{
    struct fixture *fixture = *state;
    struct asker askers[20];
    for (unsigned i = 0; i < 10; i++)
        ask(fixture, &askers[i], 3);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    for (unsigned i = 10; i < 20; i++)
        ask(fixture, &askers[i], 3);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(askers[i].calls, 1);
        assert_ptr_equal(askers[i].data, askers[0].data);
        buffer_unref(askers[i].data);
    }
}

static void cancelled_ones_hear_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct asker askers[60];
    /* More than are read at once, so that some still wait for their turn. */
    for (unsigned i = 0; i < 60; i++)
        ask(fixture, &askers[i], i % 30);
    for (unsigned i = 0; i < 60; i += 2)
        store_fetch_cancel(askers[i].fetch);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(askers[i].calls, i % 2);
        buffer_unref(askers[i].data);
    }
    /* From memory: the answer is on its way already. */
    ask(fixture, &askers[0], 1);
    ask(fixture, &askers[1], 1);
    store_fetch_cancel(askers[0].fetch);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(askers[0].calls, 0);
    assert_int_equal(askers[1].calls, 1);
    buffer_unref(askers[1].data);
}

/* Who cancels the others' fetches of the same block from inside a callback. */
struct canceller {
    struct store_fetch *others[5];
    unsigned calls;
};

static void cancel_others_callback(struct buffer *data, enum block_encoding encoding,
                                   const struct error *err, void *arg)
{
    struct canceller *canceller = arg;
    (void)data;
    (void)encoding;
    (void)err;
    canceller->calls++;
    for (unsigned i = 0; i < 5; i++)
        store_fetch_cancel(canceller->others[i]);
}

static void callbacks_may_cancel_others(void **state)
{
    struct fixture *fixture = *state;
    struct canceller canceller = {.calls = 0};
    struct asker askers[5];
    assert_non_null(store_fetch(fixture->store, 2, cancel_others_callback, &canceller));
    for (unsigned i = 0; i < 5; i++) {
        ask(fixture, &askers[i], i < 3 ? 2 : 40);
        canceller.others[i] = askers[i].fetch;
    }
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(canceller.calls, 1);
    for (unsigned i = 0; i < 5; i++)
        assert_true(askers[i].calls == 0 || (i >= 3 && askers[i].calls == 1));
}

static void close_waits_for_what_is_under_way(void **state)
{
    struct fixture *fixture = *state;
    struct asker askers[30];
    for (unsigned i = 0; i < 30; i++)
        ask(fixture, &askers[i], i);
    for (unsigned i = 0; i < 30; i += 3)
        store_fetch_cancel(askers[i].fetch);
    store_finish(&fixture->loop, fixture->store);
    for (unsigned i = 0; i < 30; i++) {
        assert_int_equal(askers[i].calls, i % 3 != 0);
        buffer_unref(askers[i].data);
    }
    fixture->store = NULL;
}

static void close_right_after_cancelling_all(void **state)
{
    struct fixture *fixture = *state;
    struct asker askers[10];
    for (unsigned i = 0; i < 10; i++)
        ask(fixture, &askers[i], i);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    unsigned answered = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (askers[i].calls == 0)
            store_fetch_cancel(askers[i].fetch);
        answered += askers[i].calls;
    }
    store_finish(&fixture->loop, fixture->store);
    for (unsigned i = 0; i < 10; i++) {
        answered -= askers[i].calls;
        buffer_unref(askers[i].data);
    }
    assert_int_equal(answered, 0);
    fixture->store = NULL;
}

static void there_is_no_block_behind_the_end(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    uint8_t byte;
    uint32_t count = store_info(fixture->store)->block_count;
    assert_null(store_fetch(fixture->store, count, asked_callback, NULL));
    assert_int_equal(store_read_block(fixture->store, count, &byte, &err), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_block_arrives_as_it_was),     TEST(a_block_is_read_once_for_all),
        TEST(cancelled_ones_hear_nothing),       TEST(callbacks_may_cancel_others),
        TEST(close_waits_for_what_is_under_way), TEST(close_right_after_cancelling_all),
        TEST(there_is_no_block_behind_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
