/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of the agents' folder: which agent a machine gets, and which packed form of it. */
#include "target/agent_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static char folder[] = "/tmp/agent-files-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    return setenv("FLEETFLASH_AGENT_PATH", folder, 1);
}

static int remove_folder(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* A program of that many bytes that can be packed. */
static void write_program(const char *name, char byte, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++)
        fputc(byte, file);
    assert_int_equal(fclose(file), 0);
}

static void write_packed(const char *name, char byte, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s.gz", folder, name);
    gzFile file = gzopen(path, "wb9");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++)
        assert_int_not_equal(gzputc(file, byte), -1);
    assert_int_equal(gzclose(file), Z_OK);
}

static struct agent_files *load(void)
{
    struct error err = {0};
    struct agent_files *files = agent_files_load(&err);
    assert_non_null(files);
    return files;
}

static void machines_get_their_agent(void **state)
{
    (void)state;
    write_program("fleetflash-agent-aarch64", 'a', 3000);
    write_program("fleetflash-agent-armel", 'e', 3000);
    struct agent_files *files = load();
    assert_string_equal(agent_files_find(files, "aarch64")->arch, "aarch64");
    assert_string_equal(agent_files_find(files, "armv6l")->arch, "armel");
    assert_null(agent_files_find(files, "armv7l")); /* armhf is not there */
    assert_null(agent_files_find(files, "riscv64"));
    agent_files_free(files);
}

static void packed_forms_belong_to_their_program(void **state)
{
    (void)state;
    write_program("fleetflash-agent-aarch64", 'a', 3000);
    write_packed("fleetflash-agent-aarch64", 'a', 3000);
    write_program("fleetflash-agent-armhf", 'h', 3000);
    write_packed("fleetflash-agent-armhf", 'o', 3000); /* of an older one, of the same size */
    write_program("fleetflash-agent-armel", 'e', 3000);
    struct agent_files *files = load();
    const struct agent_file *file = agent_files_find(files, "aarch64");
    assert_non_null(file->packed);
    assert_true(file->packed->size < file->content->size);
    assert_int_equal(file->content->size, 3000);
    assert_null(agent_files_find(files, "armv7l")->packed);
    assert_null(agent_files_find(files, "armv6l")->packed);
    agent_files_free(files);
}

static void an_empty_folder_is_an_error(void **state)
{
    (void)state;
    struct error err = {0};
    assert_null(agent_files_load(&err));
    assert_int_equal(err.cls, ERROR_USAGE);
    assert_non_null(strstr(err.text, folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(machines_get_their_agent, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(packed_forms_belong_to_their_program, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(an_empty_folder_is_an_error, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
