/* SPDX-License-Identifier: Apache-2.0 */
/* store_prepare: what it makes of good images, what it finds in the cache, what it refuses. */
#include "store_help.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_SIZE (3u * 1024 * 1024 + 512 * 5) /* the last block is short */

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

/* Prepares and expects success; then compares with the raw image. */
static struct store_info prepare_good(const struct store_options *options)
{
    uv_loop_t loop;
    struct prepared prepared;
    uv_loop_init(&loop);
    prepare_wait(&loop, options, &prepared);
    if (prepared.store == NULL)
        fail_msg("%s: %s", options->image, prepared.err.text);
    store_assert_equals(prepared.store, "raw");
    struct store_info info = *store_info(prepared.store);
    store_finish(&loop, prepared.store);
    return info;
}

static struct error prepare_bad(const struct store_options *options)
{
    uv_loop_t loop;
    struct prepared prepared;
    uv_loop_init(&loop);
    prepare_wait(&loop, options, &prepared);
    assert_null(prepared.store);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(files_ending("cache", ".partial"), 0);
    return prepared.err;
}

static struct error refused(const char *image, const char *sha256, const char *word)
{
    struct store_options options = {.image = image, .cache_dir = "cache", .sha256 = sha256};
    struct error err = prepare_bad(&options);
    assert_int_equal(err.cls, ERROR_USAGE);
    if (strstr(err.text, word) == NULL)
        fail_msg("%s: expected '%s' in: %s", image, word, err.text);
    assert_true(err.remedy[0] != '\0');
    return err;
}

static void file_sha256(const char *path, char hex[65])
{
    size_t size;
    uint8_t sum[32], *data = file_read(path, &size);
    crypto_hash_sha256(sum, data, size);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
    free(data);
}

static void every_format_gives_the_same_store(void **state)
{
    (void)state;
    const char *names[] = {"raw", "a.xz", "a.gz", "a.zst", "a.bz2"};
    const char *formats[] = {"raw", "xz", "gzip", "zstd", "bzip2"};
    uint8_t image_id[PROTOCOL_HASH_SIZE];
    shell("xz -c raw > a.xz; gzip -c raw > a.gz; zstd -q -c raw > a.zst; bzip2 -c raw > a.bz2");
    for (size_t i = 0; i < 5; i++) {
        char sha256[65];
        struct store_options options = {.image = names[i], .cache_dir = "deep/cache"};
        struct store_info info = prepare_good(&options);
        file_sha256(names[i], sha256);
        assert_false(info.from_cache);
        assert_string_equal(info.facts.format, formats[i]);
        assert_string_equal(info.facts.sha256, sha256);
        assert_int_equal(info.facts.file_size, file_size(names[i]));
        assert_string_equal(info.facts.table, "mbr");
        if (i == 0)
            memcpy(image_id, info.image_id, sizeof image_id);
        assert_memory_equal(info.image_id, image_id, sizeof image_id);
    }
    assert_int_equal(files_ending("deep/cache", ".spool"), 5);
}

/* The id is a hash over size, block size and all hashes, little-endian. */
static void image_id_is_as_documented(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    const struct store_info *info = store_info(prepared.store);
    uint8_t id[PROTOCOL_HASH_SIZE], numbers[12];
    for (unsigned i = 0; i < 8; i++)
        numbers[i] = (uint8_t)(info->image_size >> (8 * i));
    for (unsigned i = 0; i < 4; i++)
        numbers[8 + i] = (uint8_t)(info->block_size >> (8 * i));
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, sizeof id);
    crypto_generichash_update(&hash, numbers, sizeof numbers);
    for (uint32_t i = 0; i < info->block_count; i++)
        crypto_generichash_update(&hash, store_entry(prepared.store, i)->hash, PROTOCOL_HASH_SIZE);
    crypto_generichash_final(&hash, id, sizeof id);
    assert_memory_equal(id, info->image_id, sizeof id);
    store_finish(&loop, prepared.store);
}

static void second_time_comes_from_the_cache(void **state)
{
    (void)state;
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    assert_false(prepare_good(&options).from_cache);
    struct store_info info = prepare_good(&options);
    assert_true(info.from_cache);
    assert_string_equal(info.facts.format, "raw");
    /* The same content under another name and time is found by its sha256. */
    shell("cp raw other && touch -d '2 hours ago' other");
    options.image = "other";
    assert_true(prepare_good(&options).from_cache);
    assert_int_equal(files_ending("cache", ".spool"), 1);
    /* Content of the same length that differs is not. */
    file_flip("raw", 900000);
    options.image = "raw";
    assert_false(prepare_good(&options).from_cache);
}

/* Bytes this process has asked the kernel to read so far. */
static unsigned long long bytes_read(void)
{
    unsigned long long count = 0;
    FILE *file = fopen("/proc/self/io", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "rchar: %llu", &count), 1);
    fclose(file);
    return count;
}

static unsigned long long bytes_read_by_preparing(const struct store_options *options)
{
    uv_loop_t loop;
    struct prepared prepared;
    unsigned long long before = bytes_read();
    uv_loop_init(&loop);
    prepare_wait(&loop, options, &prepared);
    assert_non_null(prepared.store);
    assert_true(store_info(prepared.store)->from_cache);
    store_finish(&loop, prepared.store);
    return bytes_read() - before;
}

/* A note about the file spares reading it, but only when the file can no longer change unseen. */
static void settled_file_is_not_read_again(void **state)
{
    (void)state;
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    prepare_good(&options);
    assert_int_equal(files_ending("cache", ".source"), 0); /* too young to be sure of */
    sleep(4);
    unsigned long long without_note = bytes_read_by_preparing(&options);
    assert_int_equal(files_ending("cache", ".source"), 1);
    unsigned long long with_note = bytes_read_by_preparing(&options);
    assert_true(without_note + 4096 >= with_note + IMAGE_SIZE); /* the note itself is read */
    /* Setting the modification time back to hide a change does not help. */
    shell("touch -r raw reference");
    file_flip("raw", 900000);
    shell("touch -r reference raw");
    assert_false(prepare_good(&options).from_cache);
}

/* A damaged note must not lead to another image. */
static void damaged_note_is_ignored(void **state)
{
    (void)state;
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    sleep(4);
    prepare_good(&options);
    file_flip(only_file_ending("cache", ".source"), 7);
    assert_true(prepare_good(&options).from_cache);
}

static void no_cache_leaves_nothing(void **state)
{
    (void)state;
    struct store_options options = {.image = "raw", .cache_dir = "cache", .no_cache = true};
    assert_false(prepare_good(&options).from_cache);
    assert_false(prepare_good(&options).from_cache);
    shell("test -z \"$(ls -A cache)\"");
}

static void standard_input_is_an_image_too(void **state)
{
    (void)state;
    struct store_options options = {.image = "-", .cache_dir = "cache"};
    shell("xz -kf raw");
    int saved = dup(STDIN_FILENO);
    FILE *pipe = popen("cat raw.xz", "r");
    assert_int_equal(dup2(fileno(pipe), STDIN_FILENO), STDIN_FILENO);
    struct store_info info = prepare_good(&options);
    dup2(saved, STDIN_FILENO);
    close(saved);
    pclose(pipe);
    assert_string_equal(info.facts.format, "xz");
    assert_int_equal(info.facts.file_size, file_size("raw.xz"));
    /* It is in the cache now, for the file as well. */
    options.image = "raw.xz";
    assert_true(prepare_good(&options).from_cache);
}

static void sums_are_compared(void **state)
{
    (void)state;
    char sum[65], wrong[65];
    file_sha256("raw", sum);
    struct store_options options = {.image = "raw", .cache_dir = "cache", .sha256 = sum};
    prepare_good(&options);
    strcpy(wrong, sum);
    wrong[9] = wrong[9] == '0' ? '1' : '0';
    for (unsigned round = 0; round < 2; round++) { /* built, and found in the cache */
        struct error err = refused("raw", wrong, wrong);
        assert_non_null(strstr(err.text, sum));
        assert_non_null(strstr(err.text, "--sha256"));
        shell("rm -rf cache");
    }
    assert_non_null(strstr(refused("raw", "abc", "64 hex digits").text, "'abc'"));
    refused("raw", "zz34567890123456789012345678901234567890123456789012345678901234", "64 hex");
}

static void sidecars_are_honoured(void **state)
{
    (void)state;
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    char sum[65];
    file_sha256("raw", sum);
    const char *good[] = {"sha256sum raw > raw.sha256",
                          "sha256sum -b raw > raw.sha256",
                          "sha256sum raw | cut -c1-64 > raw.sha256",
                          "sha256sum --tag raw > raw.sha256",
                          "(echo '# sums'; sha256sum /dev/null raw) > raw.sha256",
                          "rm raw.sha256; sha256sum /dev/null raw > SHA256SUMS"};
    const char *bad[] = {
        "sha256sum /dev/null | sed 's,/dev/null,raw,' > raw.sha256",
        "sha256sum /dev/null | cut -c1-64 > raw.sha256",
        "rm raw.sha256; sha256sum /dev/null | sed 's,/dev/null,raw,' > SHA256SUMS"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        shell("%s", good[i]);
        prepare_good(&options);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        shell("%s", bad[i]);
        struct error err = refused("raw", NULL, "wrong sha256");
        assert_non_null(strstr(err.text, i < 2 ? "raw.sha256" : "SHA256SUMS"));
        assert_non_null(strstr(err.text, sum));
    }
    options.sha256 = sum; /* the option overrules the file */
    prepare_good(&options);
    shell("echo nothing here > raw.sha256");
    refused("raw", NULL, "holds no sha256");
}

static void what_is_no_image_is_refused(void **state)
{
    (void)state;
    shell("echo '<?xml version=\"1.0\" ?><bmap version=\"2.0\">' > only.bmap; seq 9999 > text");
    shell("seq 9999 | xz > text.xz; tar cf a.tar raw; tar cJf a.tar.xz raw; cp /bin/sh elf");
    shell(
        "printf '%%%%PDF-1.7 ' > a.pdf; gzip -c raw | xz > twice.xz; : > empty; : | xz > empty.xz");
    shell("printf 'PK\\003\\004xxxx' > a.zip; (echo '<!DOCTYPE html>'; seq 999) > page");
    shell("printf 'QFI\\373' > a.qcow2; head -c 65536 /dev/zero > zeros");
    shell("head -c 400 /dev/zero > tiny; head -c %u raw > odd; head -c 1048576 raw > short",
          IMAGE_SIZE - 100);
    assert_non_null(strstr(refused("only.bmap", NULL, "bmap file").remedy, "image beside it"));
    refused("text", NULL, "a text file");
    refused("text.xz", NULL, "inside the xz data is a text file");
    refused("a.tar", NULL, "tar archive");
    refused("a.tar.xz", NULL, "tar archive");
    refused("elf", NULL, "ELF");
    refused("a.pdf", NULL, "PDF");
    refused("a.zip", NULL, "zip");
    refused("page", NULL, "web page");
    refused("a.qcow2", NULL, "qcow2");
    refused("twice.xz", NULL, "another gzip file");
    refused("empty", NULL, "empty");
    refused("empty.xz", NULL, "0 bytes");
    refused("zeros", NULL, "without partition table");
    refused("tiny", NULL, "no disk image");
    refused("odd", NULL, "no multiple of 512");
    refused("short", NULL, "partition 1 ends at byte 3148288, the image has 1048576");
    refused("missing", NULL, "cannot open");
    assert_int_equal(files_ending("cache", ".spool"), 0);
}

static void truncated_download_is_refused(void **state)
{
    (void)state;
    shell("xz -k raw; head -c 500000 raw.xz > cut.xz; cp raw.xz bad.xz");
    file_flip("bad.xz", 300000);
    refused("cut.xz", NULL, "cut short");
    refused("bad.xz", NULL, "corrupt");
    assert_int_equal(files_ending("cache", ".spool"), 0);
}

static void unusable_cache_directory_is_said(void **state)
{
    (void)state;
    struct store_options options = {.image = "raw", .cache_dir = "raw/cache"};
    struct error err = prepare_bad(&options);
    assert_int_equal(err.cls, ERROR_IO);
    assert_non_null(strstr(err.text, "raw/cache"));
    assert_non_null(strstr(err.remedy, "--cache-dir"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    need_tools("xz", "gzip", "zstd", "bzip2", "tar", "sha256sum", NULL);
    const struct CMUnitTest tests[] = {
        TEST(every_format_gives_the_same_store),
        TEST(image_id_is_as_documented),
        TEST(second_time_comes_from_the_cache),
        TEST(settled_file_is_not_read_again),
        TEST(damaged_note_is_ignored),
        TEST(no_cache_leaves_nothing),
        TEST(standard_input_is_an_image_too),
        TEST(sums_are_compared),
        TEST(sidecars_are_honoured),
        TEST(what_is_no_image_is_refused),
        TEST(truncated_download_is_refused),
        TEST(unusable_cache_directory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
