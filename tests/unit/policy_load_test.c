/* SPDX-License-Identifier: Apache-2.0 */
/* Loading policies: good ones, and each way to be broken with its sentence. */
#include "policy_support.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void refused(const char *name, const char *sentence)
{
    struct harness harness;
    struct error err = {.cls = ERROR_NONE};
    char file[300];
    harness_open(&harness, POLICY_TEST_FOLDER);
    snprintf(file, sizeof file, "%s/%s.so", POLICY_TEST_FOLDER, name);
    assert_null(policy_set_find(harness.set, name, &err));
    if (strstr(err.text, sentence) == NULL || strstr(err.text, file) == NULL)
        fail_msg("%s: '%s' does not say '%s' of %s", name, err.text, sentence, file);
    assert_int_equal(err.cls, ERROR_USAGE);
    harness_close(&harness);
}

static void test_broken(void **state)
{
    (void)state;
    refused("version", "API version 999, this is version 1");
    refused("symbol", "no function fleetflash_policy");
    refused("null", "returned no table");
    refused("constructor", "crashes while it was loaded (in a constructor?) (signal 11");
    refused("abort", "crashes in fleetflash_policy() (signal 6");
    refused("exit", "ends the program while it was loaded (in a constructor?) (exit status 7)");
    refused("destructor", "crashes in its destructor (signal 6");
    refused("table", "impossible size of 1073741824 bytes");
    refused("wild", "crashes while its table was read (signal 11");
    refused("name", "calls itself 'another', so its file must be called another.so");
    refused("nostop", "no stop function");
    refused("small", "its table is 16 bytes");
    refused("reserved", "cannot be called 'policy'");
}

/* Copies the beginning of a file, with the byte at `patch` changed when that is not 0. */
static void copy_part(const char *from, const char *folder, const char *name, double part,
                      long patch, int value)
{
    char path[300];
    static char data[1 << 22];
    FILE *in = fopen(from, "r");
    assert_non_null(in);
    size_t size = fread(data, 1, sizeof data, in);
    fclose(in);
    if (patch != 0)
        data[patch] = (char)value;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    size = (size_t)((double)size * part);
    assert_int_equal(fwrite(data, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

static void test_no_policy_at_all(void **state)
{
    struct harness harness;
    char *folder = folder_make();
    static const struct {
        const char *file, *sentence;
    } cases[] = {{"text.so", "no ELF file"},        {"empty.so", "no ELF file"},
                 {"short.so", "cut short"},         {"head.so", "cut short at"},
                 {"other.so", "another machine"},   {"missing.so", "No such file"},
                 {"object.so", "no shared object"}, {"folder.so", "Is a directory"}};
    (void)state;
    folder_write(folder, "text.so", "#!/bin/sh\necho I am no policy, but longer than a header\n");
    folder_write(folder, "empty.so", "");
    copy_part(BUILD_DIR "/plugins/sysv.so", folder, "short.so", 0.3, 0, 0);
    copy_part(BUILD_DIR "/plugins/sysv.so", folder, "head.so", 0.002, 0, 0);
    copy_part(BUILD_DIR "/plugins/sysv.so", folder, "other.so", 1, offsetof(Elf64_Ehdr, e_machine),
              EM_SPARC);
    copy_part(BUILD_DIR "/plugins/sysv.so", folder, "object.so", 1, offsetof(Elf64_Ehdr, e_type),
              ET_REL);
    char command[300];
    snprintf(command, sizeof command, "mkdir %s/folder.so", folder);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {.cls = ERROR_NONE};
        char path[300];
        harness_open(&harness, folder);
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].file);
        assert_null(policy_set_load(harness.set, path, &err));
        if (strstr(err.text, cases[i].sentence) == NULL || strstr(err.text, path) == NULL)
            fail_msg("%s: '%s' does not say '%s'", path, err.text, cases[i].sentence);
        harness_close(&harness);
    }
    folder_remove(folder);
}

static void test_shipped(void **state)
{
    static const char *const names[] = {"systemd", "sysv", "openrc", "docker", "k8s-drain", "exec"};
    struct harness harness;
    struct error err;
    (void)state;
    harness_open(&harness, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct ff_policy *policy = policy_set_find(harness.set, names[i], &err);
        assert_non_null(policy);
        assert_string_equal(policy->name, names[i]);
        assert_non_null(policy->undo);
        assert_ptr_equal(policy_set_find(harness.set, names[i], &err), policy);
    }
    harness_close(&harness);
}

static void test_not_found(void **state)
{
    struct harness harness;
    struct error err;
    (void)state;
    harness_open(&harness, NULL);
    assert_null(policy_set_find(harness.set, "sytemd", &err));
    assert_string_equal(err.text, "there is no policy 'sytemd' (did you mean 'systemd'?)");
    assert_null(policy_set_find(harness.set, "../plugins/systemd", &err));
    assert_non_null(strstr(err.text, "there is no policy"));
    harness_close(&harness);
}

/* Tables of another length: an older one has no undo, a newer one's parameters are found. */
static void test_other_releases(void **state)
{
    struct harness harness;
    struct error err;
    (void)state;
    harness_open(&harness, POLICY_TEST_FOLDER);
    const struct ff_policy *older = policy_set_find(harness.set, "older", &err);
    assert_non_null(older);
    assert_null(older->undo);
    assert_null(older->end);
    const struct ff_policy *newer = policy_set_find(harness.set, "newer", &err);
    assert_non_null(newer);
    assert_string_equal(newer->parameters[0].key, "first");
    assert_string_equal(newer->parameters[1].key, "second");
    assert_null(newer->parameters[2].key);
    SERVICES(&harness, "older", "x=1");
    assert_true(harness_start(&harness));
    assert_int_equal(harness_stop(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_undo(&harness), FF_VERDICT_GO);
    assert_int_equal(harness_log_count(&harness, "cannot start again what it stopped"), 1);
    harness_close(&harness);
}

static void test_print(void **state)
{
    struct harness harness;
    char *text = NULL;
    size_t size = 0;
    (void)state;
    harness_open(&harness, POLICY_TEST_FOLDER ":" BUILD_DIR "/plugins");
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(policy_list_print(harness.set, out), 9);
    assert_int_equal(policy_check_print(harness.set, BUILD_DIR "/plugins/exec.so", out), 0);
    assert_int_equal(policy_check_print(harness.set, POLICY_TEST_FOLDER "/abort.so", out), 2);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "systemd - systemd units: stops systemd units"));
    assert_non_null(strstr(text, "file: " BUILD_DIR "/plugins/systemd.so"));
    assert_non_null(strstr(text, "broken: policy " POLICY_TEST_FOLDER "/abort.so is refused"));
    assert_non_null(strstr(text, "OK: API version 1, undo: yes"));
    free(text);
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped),          cmocka_unit_test(test_broken),
        cmocka_unit_test(test_no_policy_at_all), cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_other_releases),   cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
