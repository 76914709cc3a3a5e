/* SPDX-License-Identifier: Apache-2.0 */
/* The option table, fleetflash(1) and --help say the same. When this fails, the line it prints is
 * the one that is missing. */
#include "cli/option_table.h"
#include "page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE "fleetflash.1"

/* ".It Fl i , -inventory Ar FILE" */
static void option_line(const struct option_info *option, char *out, size_t out_size)
{
    char letter[8] = "";
    if (option->letter != 0)
        snprintf(letter, sizeof letter, "%c , ", option->letter);
    snprintf(out, out_size, ".It Fl %s-%s%s%s", letter, option->name,
             option->argument == NULL ? "" : " Ar ",
             option->argument == NULL ? "" : option->argument);
}

/* ".It Fl -check Op Ar IMAGE", ".It Cm policy list" */
static void command_line(const struct command_info *command, char *out, size_t out_size)
{
    char text[64], operand[64] = "";
    command_text(command, text, sizeof text);
    if (command->operand != NULL)
        snprintf(operand, sizeof operand, " %sAr %s",
                 command->operands == OPERANDS_OPTIONAL ? "Op " : "", command->operand);
    if (command->option != NULL)
        snprintf(out, out_size, ".It Fl -%s%s", command->option, operand);
    else if (command->words[0] != NULL)
        snprintf(out, out_size, ".It Cm %s%s", text, operand);
    else
        snprintf(out, out_size, ".It Ar %s", command->operand);
}

static void test_page_has_every_option(void **state)
{
    (void)state;
    size_t count, missing = 0;
    const struct option_info *options = option_table(&count);
    struct page_section section = page_read(PAGE, "OPTIONS");
    for (size_t i = 0; i < count; i++) {
        char line[200];
        option_line(&options[i], line, sizeof line);
        if (!page_has_line(&section, line)) {
            print_error("%s\n", line);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
    assert_int_equal(page_count(&section, ".It Fl "), count);
    page_free(&section);
}

static void test_page_has_every_command(void **state)
{
    (void)state;
    size_t count, missing = 0;
    const struct command_info *commands = command_table(&count);
    struct page_section section = page_read(PAGE, "COMMANDS");
    for (size_t i = 0; i < count; i++) {
        char line[200];
        command_line(&commands[i], line, sizeof line);
        if (!page_has_line(&section, line)) {
            print_error("%s\n", line);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
    assert_int_equal(page_count(&section, ".It "), count);
    page_free(&section);
}

static char *help_text(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    options_print_help(out);
    fclose(out);
    return text;
}

/* How often a whole word stands in text. */
static size_t count_word(const char *text, const char *word)
{
    size_t count = 0, length = strlen(word);
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        bool begins = at == text || at[-1] == ' ' || at[-1] == '\n';
        if (begins && (at[length] == ' ' || at[length] == '\n'))
            count++;
    }
    return count;
}

static size_t count_dashes(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += strncmp(text, " --", 3) == 0 ? 1 : 0;
    return count;
}

static void test_help_has_everything_once(void **state)
{
    (void)state;
    char *text = help_text(), word[100];
    size_t count, expected = 0;
    const struct option_info *options = option_table(&count);
    expected += count;
    for (size_t i = 0; i < count; i++) {
        snprintf(word, sizeof word, "--%s", options[i].name);
        assert_int_equal(count_word(text, word), 1);
    }
    const struct command_info *commands = command_table(&count);
    for (size_t i = 0; i < count; i++) {
        command_text(&commands[i], word, sizeof word);
        assert_true(count_word(text, word) >= 1);
        expected += commands[i].option != NULL ? 1 : 0;
    }
    assert_int_equal(count_dashes(text), expected);
    free(text);
}

static void test_help_fits_a_screen(void **state)
{
    (void)state;
    char *text = help_text();
    size_t lines = 0;
    for (char *line = text; *line != '\0'; lines++) {
        size_t width = strcspn(line, "\n");
        assert_true(width <= 80);
        assert_true(width == 0 || line[width - 1] != ' ');
        line += width + 1;
    }
    assert_in_range(lines, 10, 24);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_has_every_option),
        cmocka_unit_test(test_page_has_every_command),
        cmocka_unit_test(test_help_has_everything_once),
        cmocka_unit_test(test_help_fits_a_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
