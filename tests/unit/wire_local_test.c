/* SPDX-License-Identifier: Apache-2.0 */
/* Programs on this machine as wires. */
#include "link/wire_local.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct use {
    struct wire *wire;
    struct buffer *buffer;
    uint64_t left, received, diagnostics;
    bool opened, closed, close_at_data;
    int status;
    struct error err;
};

static void fill(struct wire *wire, void *arg)
{
    struct use *use = arg;
    use->opened = true;
    while (use->left > 0 && wire->pending < 1024 * 1024) {
        size_t size = use->left < use->buffer->size ? (size_t)use->left : use->buffer->size;
        wire_write(wire, use->buffer, 0, size);
        use->left -= size;
    }
    if (use->left == 0)
        wire_shut(wire);
}

static void data(struct wire *wire, const uint8_t *bytes, size_t size, void *arg)
{
    struct use *use = arg;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], 9);
    use->received += size;
    if (use->close_at_data) {
        wire_close(wire);
        use->wire = NULL;
        use->closed = true;
    }
}

static void diagnostic(struct wire *wire, const char *text, size_t size, void *arg)
{
    (void)wire;
    (void)text;
    ((struct use *)arg)->diagnostics += size;
}

static void closed(struct wire *wire, int status, const struct error *err, void *arg)
{
    struct use *use = arg;
    assert_false(use->closed);
    use->closed = true;
    use->status = status;
    use->err = *err;
    wire_close(wire);
    use->wire = NULL;
}

static const struct wire_events events = {
    .opened = fill, .data = data, .diagnostic = diagnostic, .drain = fill, .closed = closed};

static void run(struct use *use, const char *const *argv, uint64_t size)
{
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    use->left = size;
    use->buffer = buffer_new(200000);
    memset(use->buffer->data, 9, use->buffer->size);
    use->wire = wire_spawn(&loop, argv, &events, use);
    assert_non_null(use->wire);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(use->buffer->references, 1);
    buffer_unref(use->buffer);
    assert_true(use->closed);
    assert_null(use->wire);
}

static void bytes_come_back(void **state)
{
    (void)state;
    struct use use = {.left = 0};
    run(&use, (const char *const[]){"sh", "-c", "cat; echo noise >&2; exit 5", NULL}, 20000000);
    assert_true(use.opened);
    assert_int_equal(use.received, 20000000);
    assert_int_equal(use.diagnostics, 6);
    assert_int_equal(use.status, 5);
    assert_int_equal(use.err.cls, ERROR_NONE);
}

static void ends_are_told(void **state)
{
    (void)state;
    struct use use = {.left = 0};
    run(&use, (const char *const[]){"/no/such/program", NULL}, 10);
    assert_false(use.opened);
    assert_int_equal(use.err.cls, ERROR_IO);
    assert_non_null(strstr(use.err.text, "/no/such/program"));

    use = (struct use){.left = 0};
    run(&use, (const char *const[]){"sh", "-c", "kill -9 $$", NULL}, 5000000);
    assert_int_equal(use.status, -1);
    assert_int_equal(use.err.cls, ERROR_IO);

    use = (struct use){.close_at_data = true};
    run(&use, (const char *const[]){"cat", NULL}, 20000000);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(ends_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
