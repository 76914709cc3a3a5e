/* SPDX-License-Identifier: Apache-2.0 */
/* Text from devices on its way to terminals and JSON, and the thread that writes it. */
#include "report/fleet.h"
#include "report/outbox.h"
#include "report/text.h"
#include "report_fake.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_clean(const char *text, bool utf8, const char *expected)
{
    char out[200];
    assert_string_equal(text_clean(text, utf8, out, sizeof out), expected);
}

static void test_control_characters_are_escaped(void **state)
{
    (void)state;
    assert_clean("a\x1b[2Jb\x07\x7f", true, "a\\x1b[2Jb\\x07\\x7f");
    assert_clean("c1: \xc2\x9b"
                 "31m",
                 true, "c1: \\x9b31m");
    assert_clean("broken \xff\xc3", true, "broken \\xff\\xc3");
    assert_clean("overlong \xc0\xaf \xe0\x80\xaf", true, "overlong \\xc0\\xaf \\xe0\\x80\\xaf");
    assert_clean("turned \xe2\x80\xae"
                 "txt",
                 true, "turned \\u202etxt");
    assert_clean("two\nlines\tand\rmore", true, "two lines and more");
    assert_clean("bar ━ é", true, "bar ━ é");
    assert_clean("é — …", false, "\\u00e9 - ...");
    assert_clean(NULL, true, "");
}

/* Whatever the bytes are: nothing that a terminal would act on comes out. */
static void test_any_bytes(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        char text[32], out[300];
        for (size_t i = 0; i < sizeof text - 1; i++)
            text[i] = (char)(rand() % 255 + 1);
        text[sizeof text - 1] = '\0';
        text_clean(text, round % 2 == 0, out, sizeof out);
        for (const char *at = out; *at != '\0';) {
            uint32_t code = text_next(&at);
            assert_true(code != TEXT_INVALID && code >= 0x20 && (code < 0x7f || code > 0x9f));
            assert_true(round % 2 == 0 || code < 0x80);
        }
    }
}

static void test_cut_text_stays_whole(void **state)
{
    (void)state;
    char out[6];
    assert_string_equal(text_clean("abc\x1b", true, out, sizeof out), "abc");
    assert_string_equal(text_clean("abcd…", true, out, sizeof out), "abcd");
    assert_string_equal(text_valid("abcd…", out, sizeof out), "abcd");
}

static void test_valid_for_json(void **state)
{
    (void)state;
    char out[100];
    assert_string_equal(text_valid("a\x1b\xff\xc2\x9bz", out, sizeof out),
                        "a\x1b\xef\xbf\xbd\xef\xbf\xbdz");
}

static void test_fit(void **state)
{
    (void)state;
    char out[100];
    assert_string_equal(text_fit("short", 5, true, out, sizeof out), "short");
    assert_string_equal(text_fit("longer", 5, true, out, sizeof out), "long…");
    assert_string_equal(text_fit("longer", 5, false, out, sizeof out), "long~");
    assert_string_equal(text_fit("日本語", 4, true, out, sizeof out), "日…");
    assert_string_equal(text_fit("x", 0, true, out, sizeof out), "");
    assert_int_equal(text_columns("日本é"), 5);
}

static void assert_wrapped(const char *text, unsigned column, unsigned indent, unsigned width,
                           const char *expected)
{
    char *out = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&out, &size);
    text_wrap(stream, text, column, indent, width);
    fclose(stream);
    assert_string_equal(out, expected);
    free(out);
}

static void test_wrap(void **state)
{
    (void)state;
    assert_wrapped("one two three four", 0, 2, 10, "one two\n  three\n  four");
    assert_wrapped("one two", 0, 2, 0, "one two");
    assert_wrapped("abcdefghijklmnop", 0, 0, 10, "abcdefghij\nklmnop");
    assert_wrapped("abcdefghijklmno", 6, 2, 20, "\n  abcdefghijklmno");
    assert_wrapped("one      two", 0, 0, 8, "one\ntwo");
    assert_wrapped("日本", 0, 0, 1, "日本");
}

static void test_time(void **state)
{
    (void)state;
    char out[TEXT_TIME_SIZE];
    assert_string_equal(text_time(FAKE_STARTED, out), "2026-11-20T23:01:05.123Z");
}

static void test_address(void **state)
{
    (void)state;
    char out[64];
    struct target_spec spec = {.name = "pi", .host = "10.0.0.1", .port = 22};
    assert_string_equal(target_address(&spec, out, sizeof out), "10.0.0.1:22");
    spec.host = "fe80::1";
    assert_string_equal(target_address(&spec, out, sizeof out), "[fe80::1]:22");
    spec.port = 0;
    assert_string_equal(target_address(&spec, out, sizeof out), "fe80::1");
}

/* A reader that does not read stalls nobody, and misses nothing. */
static void test_outbox_slow_reader(void **state)
{
    (void)state;
    static char piece[100000];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct outbox *box = outbox_new(ends[1]);
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < 10; i++)
        assert_true(outbox_add(box, piece, sizeof piece));
    assert_true(outbox_pending(box) >= 900000);
    for (size_t left = 10 * sizeof piece; left > 0;) {
        char read_back[65536];
        ssize_t got = read(ends[0], read_back, sizeof read_back);
        assert_true(got > 0);
        left -= (size_t)got;
    }
    outbox_free(box);
    close(ends[0]);
    close(ends[1]);
}

static void test_outbox_limit_and_no_reader(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct outbox *box = outbox_new(ends[1]);
    char *piece = calloc(1, 1024 * 1024);
    unsigned taken = 0;
    while (taken < 100 && outbox_add(box, piece, 1024 * 1024))
        taken++;
    assert_int_equal(taken, OUTBOX_LIMIT >> 20);
    close(ends[0]); /* EPIPE, and no SIGPIPE */
    outbox_flush(box);
    assert_false(outbox_add(box, "x", 1));
    outbox_free(box);
    close(ends[1]);
    free(piece);
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_characters_are_escaped),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_cut_text_stays_whole),
        cmocka_unit_test(test_valid_for_json),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_outbox_slow_reader),
        cmocka_unit_test(test_outbox_limit_and_no_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
