/* SPDX-License-Identifier: Apache-2.0 */
/* --help: commands in two columns, options in two columns, one screen. */
#include "cli/option_table.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS    80
#define LEFT_WIDTH 41

/* "--check [IMAGE]" */
static void command_synopsis(const struct command_info *command, char *out, size_t out_size)
{
    char text[64];
    command_text(command, text, sizeof text);
    if (command->operand == NULL)
        snprintf(out, out_size, "%s", text);
    else
        snprintf(out, out_size, command->operands == OPERANDS_OPTIONAL ? "%s [%s]" : "%s %s", text,
                 command->operand);
}

/* "  -i, --inventory FILE  the devices" */
static void option_cell(const struct option_info *option, char *out, size_t out_size)
{
    char synopsis[64];
    if (option->letter != 0)
        snprintf(synopsis, sizeof synopsis, "-%c, --%s%s%s", option->letter, option->name,
                 option->argument == NULL ? "" : " ",
                 option->argument == NULL ? "" : option->argument);
    else
        snprintf(synopsis, sizeof synopsis, "--%s%s%s", option->name,
                 option->argument == NULL ? "" : " ",
                 option->argument == NULL ? "" : option->argument);
    if (option->help == NULL)
        snprintf(out, out_size, "  %s", synopsis);
    else
        snprintf(out, out_size, "  %-*s %s", option->group == GROUP_FLASH ? 21 : 17, synopsis,
                 option->help);
}

static void print_row(FILE *out, const char *left, const char *right)
{
    if (*right == '\0')
        fprintf(out, "%s\n", left);
    else
        fprintf(out, "%-*s%s\n", LEFT_WIDTH, left, right);
}

/* All commands but the first, which is the usual one and has the first line. */
static void print_commands(FILE *out)
{
    size_t count;
    const struct command_info *commands = command_table(&count);
    size_t half = count / 2; /* rows for count - 1 commands */
    for (size_t row = 0; row < half; row++) {
        char cells[2][2 * COLUMNS] = {"", ""};
        for (size_t column = 0; column < 2; column++) {
            char synopsis[100];
            size_t i = 1 + row + column * half;
            if (i >= count)
                continue;
            command_synopsis(&commands[i], synopsis, sizeof synopsis);
            snprintf(cells[column], sizeof *cells, "  %-*s %s", column == 0 ? 20 : 25, synopsis,
                     commands[i].help);
        }
        print_row(out, cells[0], cells[1]);
    }
}

/* The next option of a group from *i on, as a cell; empty when there is none. */
static void next_cell(enum option_group group, size_t *i, char *out, size_t out_size)
{
    size_t count;
    const struct option_info *options = option_table(&count);
    *out = '\0';
    while (*i < count && options[*i].group != group)
        (*i)++;
    if (*i < count)
        option_cell(&options[(*i)++], out, out_size);
}

void options_print_help(FILE *out)
{
    char left[COLUMNS + 1], right[COLUMNS + 1];
    size_t next_left = 0, next_right = 0;
    size_t count;
    const struct command_info *flash = command_table(&count);
    fprintf(out, "Usage: fleetflash -i INVENTORY [options] %-8s %s\n", flash->operand, flash->help);
    fputs("   or: fleetflash [options] and one of these commands:\n", out);
    print_commands(out);
    print_row(out, "What is flashed, and how:", "Output and files:");
    for (;;) {
        next_cell(GROUP_FLASH, &next_left, left, sizeof left);
        next_cell(GROUP_OUTPUT, &next_right, right, sizeof right);
        if (*left == '\0' && *right == '\0')
            break;
        print_row(out, left, right);
    }
    fputs("Exit status, files, examples: fleetflash(1), fleetflash-inventory(5)\n", out);
}
