/* SPDX-License-Identifier: Apache-2.0 */
/* Quoting for the device's shell, proven by a real shell. */
#include "target/shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void shell_says(const char *command, char *out, size_t size)
{
    FILE *stream = popen(command, "r");
    assert_non_null(stream);
    size_t got = fread(out, 1, size - 1, stream);
    out[got] = '\0';
    assert_int_equal(pclose(stream), 0);
}

static void quoted_text_arrives_as_it_was(void **state)
{
    (void)state;
    static const char *const texts[] = {"",       "plain",      "two words",       "it's",
                                        "'''",    "$(id) `id`", "a\nb\t*?[]{}~!#", "\\ \" ; & |",
                                        "-n \\c", "äöü €"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *quoted = shell_quote(texts[i]);
        char command[256];
        char out[256];
        snprintf(command, sizeof command, "printf '<%%s>' %s", quoted);
        shell_says(command, out, sizeof out);
        char expected[256];
        snprintf(expected, sizeof expected, "<%s>", texts[i]);
        assert_string_equal(out, expected);
        free(quoted);
    }
}

static void root_runs_the_command_itself(void **state)
{
    (void)state;
    char out[64];
    char *line = shell_as_root("echo 'a  b' | tr a c", true);
    shell_says(line, out, sizeof out);
    assert_string_equal(out, "c  b\n");
    free(line);
    line = shell_as_root("true", false);
    assert_string_equal(line, "sudo -n sh -c 'true'");
    free(line);
}

static void values_are_found_by_their_whole_key(void **state)
{
    (void)state;
    static const char output[] = "uid=0\nboot_id=abc\r\nlast_id=x\nempty=\n";
    char value[8];
    assert_true(shell_value(output, "uid", value, sizeof value));
    assert_string_equal(value, "0");
    assert_true(shell_value(output, "boot_id", value, sizeof value));
    assert_string_equal(value, "abc");
    assert_true(shell_value(output, "empty", value, sizeof value));
    assert_string_equal(value, "");
    assert_false(shell_value(output, "id", value, sizeof value));
    assert_false(shell_value("", "id", value, sizeof value));
    assert_true(shell_value("long=0123456789", "long", value, sizeof value));
    assert_string_equal(value, "0123456");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoted_text_arrives_as_it_was),
        cmocka_unit_test(root_runs_the_command_itself),
        cmocka_unit_test(values_are_found_by_their_whole_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
