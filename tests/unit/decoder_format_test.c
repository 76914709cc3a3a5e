/* SPDX-License-Identifier: Apache-2.0 */
/* Every compression format, made by its own command: whole, cut short, damaged, joined, followed by
 * something else. */
#include "decoder/decoder.h"
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define IMAGE_SIZE (2u * 1024 * 1024 + 512 * 7)

struct made {
    const char *name, *format, *command;
    bool zeros_allowed; /* behind the end */
};

static const struct made formats[] = {
    {"blocks.xz", "xz", "xz -T2 --block-size=1MiB -c", true},
    {"single.xz", "xz", "xz -T1 -c", true},
    {"image.gz", "gzip", "gzip -c", true},
    {"image.zst", "zstd", "zstd -q -c", false},
    {"long.zst", "zstd", "zstd -q --long=27 -c", false},
    {"image.bz2", "bzip2", "bzip2 -c", false},
};
#define FORMATS (sizeof formats / sizeof *formats)

/* Decodes a file; NULL and err when that fails. */
static uint8_t *decode(const char *path, size_t *size, char format[16], struct error *err)
{
    size_t capacity = 4 * IMAGE_SIZE, step = 70000;
    uint8_t *out = malloc(capacity);
    memset(err, 0, sizeof *err);
    *size = 0;
    struct source *source = source_open(path, -1, err);
    struct decoder *decoder = source != NULL ? decoder_open(source, err) : NULL;
    ssize_t got = decoder != NULL ? 1 : -1;
    if (decoder != NULL && format != NULL)
        strcpy(format, decoder_format(decoder));
    while (got > 0) {
        assert_true(*size + step <= capacity);
        got = decoder_read(decoder, out + *size, step, err);
        *size += got > 0 ? (size_t)got : 0;
    }
    if (got == 0) /* the end stays the end, and all of the source was read */
        assert_int_equal(decoder_read(decoder, out, step, err), 0);
    if (got == 0)
        assert_int_equal(source->offset, file_size(path));
    decoder_close(decoder);
    source_close(source);
    if (got == 0)
        return out;
    assert_int_not_equal(err->cls, ERROR_NONE);
    free(out);
    return NULL;
}

static void assert_decodes_to(const char *path, const char *expected_path)
{
    size_t size, expected_size;
    struct error err;
    uint8_t *expected = file_read(expected_path, &expected_size);
    uint8_t *data = decode(path, &size, NULL, &err);
    if (data == NULL)
        fail_msg("%s: %s", path, err.text);
    assert_int_equal(size, expected_size);
    assert_memory_equal(data, expected, size);
    free(data);
    free(expected);
}

static void assert_refused(const char *path, const char *format, const char *word)
{
    size_t size;
    struct error err;
    assert_null(decode(path, &size, NULL, &err));
    assert_int_equal(err.cls, ERROR_USAGE);
    if (strstr(err.text, format) == NULL || strstr(err.text, word) == NULL ||
        strstr(err.text, "byte ") == NULL || strstr(err.text, path) == NULL)
        fail_msg("%s: expected '%s' and '%s' in: %s", path, format, word, err.text);
    assert_true(err.remedy[0] != '\0');
}

static int make_files(void **state)
{
    (void)state;
    scratch_enter();
    image_make("raw", IMAGE_SIZE);
    shell("cat raw raw > twice");
    for (size_t i = 0; i < FORMATS; i++)
        shell("%s raw > %s", formats[i].command, formats[i].name);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    scratch_leave();
    return 0;
}

static void whole_files_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        char format[16];
        size_t size;
        struct error err;
        assert_decodes_to(formats[i].name, "raw");
        free(decode(formats[i].name, &size, format, &err));
        assert_string_equal(format, formats[i].format);
    }
    assert_decodes_to("raw", "raw");
}

static void names_do_not_matter(void **state)
{
    (void)state;
    shell("cp image.gz misnamed.xz && cp single.xz misnamed.img");
    assert_decodes_to("misnamed.xz", "raw");
    assert_decodes_to("misnamed.img", "raw");
}

static void joined_files_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        shell("cat %s %s > joined", formats[i].name, formats[i].name);
        assert_decodes_to("joined", "twice");
    }
}

static void truncation_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        size_t size = file_size(formats[i].name);
        size_t cuts[] = {17, 100, size / 4, size / 2, size * 3 / 4, size - 9, size - 4, size - 1};
        for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
            shell("head -c %zu %s > cut", cuts[k], formats[i].name);
            assert_refused("cut", formats[i].format, "cut short");
        }
    }
}

/* A damaged file is refused, or (where the byte carries nothing, as in a gzip header's time) still
 * decodes to the same bytes. */
static void damage_is_never_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        size_t size = file_size(formats[i].name), refused = 0, tried = 0;
        for (size_t at = 12; at < size; at += size / 23 + 1) {
            size_t decoded;
            struct error err;
            shell("cp %s damaged", formats[i].name);
            file_flip("damaged", at);
            tried++;
            uint8_t *data = decode("damaged", &decoded, NULL, &err);
            if (data != NULL)
                assert_decodes_to("damaged", "raw");
            else
                refused++;
            free(data);
        }
        assert_true(refused >= tried - 1);
    }
}

static void garbage_behind_the_end_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        shell("(cat %s; echo garbage behind the end of it) > longer", formats[i].name);
        assert_refused("longer", formats[i].format, "something else after");
        shell("(cat %s; head -c 1024 /dev/zero) > longer", formats[i].name);
        if (formats[i].zeros_allowed)
            assert_decodes_to("longer", "raw");
        else
            assert_refused("longer", formats[i].format, "something else after");
    }
}

static void too_much_memory_is_refused(void **state)
{
    (void)state;
    size_t size;
    struct error err;
    shell("xz --lzma2=preset=0,dict=1GiB -c raw > greedy.xz");
    assert_null(decode("greedy.xz", &size, NULL, &err));
    assert_int_equal(err.cls, ERROR_USAGE);
    assert_non_null(strstr(err.text, "of memory"));
}

static void empty_and_missing_files(void **state)
{
    (void)state;
    size_t size;
    struct error err;
    file_write("empty", "", 0);
    assert_null(decode("empty", &size, NULL, &err));
    assert_int_equal(err.cls, ERROR_USAGE);
    assert_string_equal(err.text, "empty is empty");
    assert_null(decode("nowhere", &size, NULL, &err));
    assert_int_equal(err.cls, ERROR_USAGE);
    assert_null(decode("/", &size, NULL, &err));
    assert_int_equal(err.cls, ERROR_USAGE);
}

int main(void)
{
    need_tools("xz", "gzip", "zstd", "bzip2", NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files_decode),
        cmocka_unit_test(names_do_not_matter),
        cmocka_unit_test(joined_files_decode),
        cmocka_unit_test(truncation_is_noticed),
        cmocka_unit_test(damage_is_never_decoded),
        cmocka_unit_test(garbage_behind_the_end_is_noticed),
        cmocka_unit_test(too_much_memory_is_refused),
        cmocka_unit_test(empty_and_missing_files),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
