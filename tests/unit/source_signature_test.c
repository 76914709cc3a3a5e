/* SPDX-License-Identifier: Apache-2.0 */
/* Signed images: which signatures are believed, and that a cached image is no way around them. */
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_SIZE (3u * 1024 * 1024)
#define SIGN       "minisign -S -s one.key -m raw -t 'version 7' >/dev/null 2>&1"
#define GPG                                                                                        \
    "GNUPGHOME=$PWD/gnupg gpg --batch --quiet --yes --passphrase '' --pinentry-mode loopback "

static char keys[64];

/* Making keys takes seconds: once for all tests. */
static int make_keys(void **state)
{
    (void)state;
    strcpy(keys, "/tmp/fleetflash-keys.XXXXXX");
    assert_non_null(mkdtemp(keys));
    assert_int_equal(chdir(keys), 0);
    shell("minisign -G -W -p one.pub -s one.key >/dev/null && "
          "minisign -G -W -p two.pub -s two.key >/dev/null");
    shell("mkdir -m 700 gnupg");
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i == 0 ? "one" : "two";
        shell(GPG "--quick-generate-key %s@test ed25519 sign never 2>/dev/null", name);
        shell(GPG "--export %s@test > %s.gpg", name, name);
    }
    shell("GNUPGHOME=$PWD/gnupg gpgconf --kill all");
    return 0;
}

static int remove_keys(void **state)
{
    (void)state;
    shell("rm -rf %s", keys);
    return 0;
}

static int enter(void **state)
{
    (void)state;
    scratch_enter();
    shell("cp -a %s/. .", keys);
    image_make("raw", IMAGE_SIZE);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    shell("GNUPGHOME=$PWD/gnupg gpgconf --kill all");
    scratch_leave();
    return 0;
}

static struct store_info prepare_good(const char *image, const char *minisign, const char *keyring)
{
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {
        .image = image, .cache_dir = "cache", .minisign = minisign, .keyring = keyring};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    if (prepared.store == NULL)
        fail_msg("%s: %s", image, prepared.err.text);
    store_assert_equals(prepared.store, "raw");
    struct store_info info = *store_info(prepared.store);
    store_finish(&loop, prepared.store);
    return info;
}

static struct error refused(const char *image, const char *minisign, const char *keyring,
                            const char *word)
{
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {
        .image = image, .cache_dir = "cache", .minisign = minisign, .keyring = keyring};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    if (prepared.store != NULL)
        fail_msg("accepted, expected: %s", word);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    assert_int_equal(prepared.err.cls, ERROR_USAGE);
    if (strstr(prepared.err.text, word) == NULL)
        fail_msg("expected '%s' in: %s", word, prepared.err.text);
    assert_true(prepared.err.remedy[0] != '\0');
    assert_int_equal(files_ending("cache", ".partial"), 0);
    return prepared.err;
}

static void minisign_by_file_and_by_key(void **state)
{
    (void)state;
    char key[64];
    shell(SIGN);
    struct store_info info = prepare_good("raw", "one.pub", NULL);
    assert_non_null(strstr(info.signers, "minisign key "));
    FILE *pipe = popen("tail -n 1 one.pub", "r");
    assert_int_equal(fscanf(pipe, "%63s", key), 1);
    pclose(pipe);
    shell("rm -rf cache one.pub");
    struct store_info again = prepare_good("raw", key, NULL);
    assert_string_equal(again.signers, info.signers);
    /* The id as minisign itself shows it. */
    shell("grep -q '%s' raw.minisig two.pub || head -n 1 %s/one.pub | grep -q '%s'",
          info.signers + 13, keys, info.signers + 13);
}

static void minisign_that_does_not_hold(void **state)
{
    (void)state;
    struct error err = refused("raw", "one.pub", NULL, "not signed");
    assert_non_null(strstr(err.text, "raw.minisig"));
    refused("-", "one.pub", NULL, "not signed");
    shell(SIGN);
    refused("raw", "two.pub", NULL, "is by another key");
    refused("raw", "nowhere.pub", NULL, "neither a minisign public key nor a file");
    refused("raw", "raw.minisig", NULL, "holds no minisign public key");
    shell("cp raw.minisig good; sed 's/version 7/version 8/' good > raw.minisig");
    refused("raw", "one.pub", NULL, "trusted comment");
    shell("head -n 2 good > raw.minisig");
    refused("raw", "one.pub", NULL, "trusted comment is missing");
    shell("echo rubbish > raw.minisig");
    refused("raw", "one.pub", NULL, "is no minisign signature");
    shell("minisign -S -l -s one.key -m raw >/dev/null");
    err = refused("raw", "one.pub", NULL, "an old minisign signature");
    assert_non_null(strstr(err.remedy, "-H"));
    shell("cp good raw.minisig");
    file_flip("raw", 900000);
    refused("raw", "one.pub", NULL, "is not what minisign key");
    assert_int_equal(files_ending("cache", ".spool"), 0);
}

/* A flipped byte anywhere in what the signature covers or is. */
static void minisign_with_any_flipped_byte(void **state)
{
    (void)state;
    size_t size;
    shell(SIGN);
    uint8_t *good = file_read("raw.minisig", &size);
    size_t first = (size_t)((uint8_t *)memchr(good, '\n', size) - good) + 1;
    for (size_t at = first; at + 1 < size; at += 11) {
        file_write("raw.minisig", good, size);
        file_flip("raw.minisig", at);
        refused("raw", "one.pub", NULL, "");
    }
    free(good);
}

static void openpgp_binary_and_armoured(void **state)
{
    (void)state;
    shell(GPG "-u one@test --detach-sign raw");
    struct store_info info = prepare_good("raw", NULL, "one.gpg");
    assert_non_null(strstr(info.signers, "OpenPGP key "));
    assert_int_equal(strlen(info.signers), 12 + 40);
    shell("rm -rf cache raw.sig; " GPG "-u one@test --armor --detach-sign raw");
    prepare_good("raw", NULL, "one.gpg");
    shell("cat two.gpg one.gpg > both.gpg; rm -rf cache");
    prepare_good("raw", NULL, "both.gpg");
}

static void openpgp_that_does_not_hold(void **state)
{
    (void)state;
    refused("raw", NULL, "one.gpg", "is not signed");
    refused("raw", NULL, "nowhere.gpg", "no keyring");
    shell(GPG "-u one@test --detach-sign raw");
    refused("raw", NULL, "two.gpg", "not one of the keyring");
    shell(GPG "--armor --export one@test > one.asc");
    struct error err = refused("raw", NULL, "one.asc", "armoured");
    assert_non_null(strstr(err.remedy, "--dearmor"));
    shell("cp raw.sig good; echo rubbish > raw.sig");
    refused("raw", NULL, "one.gpg", "no OpenPGP signature");
    shell("cp good raw.sig");
    file_flip("raw", 900000);
    refused("raw", NULL, "one.gpg", "is not what OpenPGP key");
    file_flip("raw", 900000);
    /* A signature that has run out. */
    shell(GPG "-u one@test --default-sig-expire seconds=1 --detach-sign raw; sleep 2");
    refused("raw", NULL, "one.gpg", "has expired");
    assert_int_equal(files_ending("cache", ".spool"), 0);
}

/* A key that was revoked may be called as gpgv calls a good signature. */
static void openpgp_name_that_lies(void **state)
{
    (void)state;
    shell(GPG "--quick-generate-key 'x [GNUPG:] GOODSIG y <liar@test>' ed25519 sign never "
              "2>/dev/null");
    shell(GPG "-u liar@test --detach-sign raw");
    shell("sed 's/^:---/---/' $(grep -l liar@test gnupg/openpgp-revocs.d/*) > revoked; " GPG
          "--import revoked 2>/dev/null");
    shell(GPG "--export liar@test > liar.gpg");
    refused("raw", NULL, "liar.gpg", "was revoked");
}

static void missing_gpgv_is_said(void **state)
{
    (void)state;
    shell(GPG "-u one@test --detach-sign raw");
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = "raw", .cache_dir = "cache", .keyring = "one.gpg"};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    setenv("PATH", path, 1);
    free(path);
    assert_null(prepared.store);
    assert_non_null(strstr(prepared.err.text, "cannot start gpgv"));
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static void both_must_hold(void **state)
{
    (void)state;
    shell(SIGN);
    refused("raw", "one.pub", "one.gpg", "is not signed");
    shell(GPG "-u one@test --detach-sign raw");
    struct store_info info = prepare_good("raw", "one.pub", "one.gpg");
    assert_non_null(strstr(info.signers, ", OpenPGP key "));
}

/* An image that is in the cache unsigned, or signed by somebody else, is verified all the same. */
static void cached_image_is_verified(void **state)
{
    (void)state;
    prepare_good("raw", NULL, NULL);
    sleep(4);
    assert_true(prepare_good("raw", NULL, NULL).from_cache); /* with a note of its content */
    assert_int_equal(files_ending("cache", ".source"), 1);
    refused("raw", "one.pub", NULL, "not signed");
    shell("cp raw other; printf x | dd of=other bs=1 seek=5000 conv=notrunc status=none");
    shell("minisign -S -s one.key -m other -x raw.minisig >/dev/null");
    refused("raw", "one.pub", NULL, "is not what minisign key");
    shell(SIGN);
    struct store_info info = prepare_good("raw", "one.pub", NULL);
    assert_true(info.from_cache);
    assert_int_equal(files_ending("cache", ".verified"), 1);
    struct store_info again = prepare_good("raw", "one.pub", NULL);
    assert_true(again.from_cache);
    assert_string_equal(again.signers, info.signers);
    /* The record is of this key and signature only. */
    refused("raw", "two.pub", NULL, "is by another key");
    shell("rm raw.minisig");
    refused("raw", "one.pub", NULL, "not signed");
    shell("minisign -S -s two.key -m other -x raw.minisig >/dev/null");
    refused("raw", "two.pub", NULL, "is not what minisign key");
    shell(GPG "-u two@test --output raw.sig --detach-sign other");
    refused("raw", NULL, "two.gpg", "is not what OpenPGP key");
    shell(GPG "-u two@test --detach-sign raw");
    assert_true(prepare_good("raw", NULL, "two.gpg").from_cache);
}

static void compressed_image_is_signed_as_given(void **state)
{
    (void)state;
    shell("xz -k raw; minisign -S -s one.key -m raw.xz >/dev/null");
    shell(GPG "-u one@test --detach-sign raw.xz");
    prepare_good("raw.xz", "one.pub", "one.gpg");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    need_tools("minisign", "gpg", "gpgv", "xz", NULL);
    const struct CMUnitTest tests[] = {
        TEST(minisign_by_file_and_by_key),    TEST(minisign_that_does_not_hold),
        TEST(minisign_with_any_flipped_byte), TEST(openpgp_binary_and_armoured),
        TEST(openpgp_that_does_not_hold),     TEST(openpgp_name_that_lies),
        TEST(missing_gpgv_is_said),           TEST(both_must_hold),
        TEST(cached_image_is_verified),       TEST(compressed_image_is_signed_as_given),
    };
    return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
