/* SPDX-License-Identifier: Apache-2.0 */
/* A spool file with a flipped byte, cut short, or grown: rebuilt or refused, never a wrong block.
 */
#include "store_help.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_SIZE (2u * 1024 * 1024)
#define INDEX_SIZE (IMAGE_SIZE / STORE_BLOCK_SIZE * 56 + 32)

static int enter(void **state)
{
    (void)state;
    scratch_enter();
    image_make("raw", IMAGE_SIZE);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    scratch_leave();
    return 0;
}

static bool prepare_cached(void)
{
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    assert_non_null(prepared.store);
    store_assert_equals(prepared.store, "raw");
    bool from_cache = store_info(prepared.store)->from_cache;
    store_finish(&loop, prepared.store);
    return from_cache;
}

/* The first spool file again: one that is built anew may be compressed a little more or less. */
static const char *first_spool(void)
{
    const char *spool = only_file_ending("cache", ".spool");
    shell("cp first %s", spool);
    return spool;
}

static void flipped_bytes_lead_to_a_rebuild(void **state)
{
    (void)state;
    assert_false(prepare_cached());
    shell("cp %s first", only_file_ending("cache", ".spool"));
    size_t size = file_size("first");
    size_t index = size - INDEX_SIZE;
    const size_t places[] = {
        0,         9,          20,         30,         60,        100, 4000, /* header */
        4096,      4200,       index / 2,  index - 1,                        /* blocks */
        index,     index + 33, index + 45, index + 49, size - 33,            /* index */
        size - 32, size - 1,                                                 /* trailer */
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        file_flip(first_spool(), places[i]);
        if (prepare_cached())
            fail_msg("byte %zu of %zu was not missed", places[i], size);
        assert_true(prepare_cached());
    }
}

static void other_lengths_lead_to_a_rebuild(void **state)
{
    (void)state;
    prepare_cached();
    shell("cp %s first", only_file_ending("cache", ".spool"));
    size_t size = file_size("first");
    const size_t lengths[] = {0, 8, 4096, size / 2, size - 1, size + 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(truncate(first_spool(), (off_t)lengths[i]), 0);
        assert_false(prepare_cached());
    }
}

/* A spool file of another image under this one's name. */
static void swapped_files_are_noticed(void **state)
{
    (void)state;
    char mine[512];
    prepare_cached();
    snprintf(mine, sizeof mine, "%s", only_file_ending("cache", ".spool"));
    shell("mv %s kept && cp raw saved", mine);
    file_flip("raw", 300000);
    prepare_cached();
    shell("mv cache/*.spool %s && cp saved raw", mine);
    assert_false(prepare_cached());
}

struct answer {
    unsigned calls;
    bool failed;
    struct error err;
};

static void answer_callback(struct buffer *data, enum block_encoding encoding,
                            const struct error *err, void *arg)
{
    struct answer *answer = arg;
    (void)encoding;
    answer->calls++;
    answer->failed = data == NULL;
    if (err != NULL)
        answer->err = *err;
}

/* Damage after the check at opening: the block is refused, others still come. */
static void damage_while_open_fails_the_fetch(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct prepared prepared;
    struct answer bad = {0}, good = {0};
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    uint8_t *block = malloc(STORE_BLOCK_SIZE);
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    assert_true(store_entry(prepared.store, 0)->wire_size > 0);
    const char *spool = only_file_ending("cache", ".spool");
    size_t blocks_end = file_size(spool) - INDEX_SIZE;
    for (size_t at = 4096; at < blocks_end; at += 512)
        file_flip(spool, at);
    struct error err = {0};
    assert_int_equal(store_read_block(prepared.store, 0, block, &err), -1);
    assert_int_equal(err.cls, ERROR_IO);
    assert_non_null(store_fetch(prepared.store, 0, answer_callback, &bad));
    while (bad.calls == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_true(bad.failed);
    assert_int_equal(bad.err.cls, ERROR_IO);
    for (size_t at = 4096; at < blocks_end; at += 512)
        file_flip(spool, at);
    assert_non_null(store_fetch(prepared.store, 0, answer_callback, &good));
    while (good.calls == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_false(good.failed);
    free(block);
    store_finish(&loop, prepared.store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(flipped_bytes_lead_to_a_rebuild),
        TEST(other_lengths_lead_to_a_rebuild),
        TEST(swapped_files_are_noticed),
        TEST(damage_while_open_fails_the_fetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
