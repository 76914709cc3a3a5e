/* SPDX-License-Identifier: Apache-2.0 */
/* A tool of the build: fills the table of commands and options into a shell's completion.
 *
 * completion TEMPLATE >OUTPUT; what is written between two @ is in `slots` below. */
#include "cli/option_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the shells ask for as the value of an option: the table's word, or a better one. */
static const char *kind_of(const struct option_info *option)
{
    switch (option->id) {
    case OPTION_INVENTORY:
        return "INVENTORY";
    case OPTION_REPORT:
        return "REPORT";
    default:
        return option->argument;
    }
}

/* Every option, those that are commands too. */
static void put_options(FILE *out)
{
    size_t option_count, command_count;
    const struct option_info *options = option_table(&option_count);
    const struct command_info *commands = command_table(&command_count);
    const char *between = "";
    for (size_t i = 0; i < option_count; i++) {
        if (options[i].letter != 0)
            fprintf(out, "%s-%c", between, options[i].letter);
        between = " ";
        fprintf(out, "%s--%s", i > 0 || options[i].letter != 0 ? between : "", options[i].name);
    }
    for (size_t i = 0; i < command_count; i++) {
        if (commands[i].option != NULL)
            fprintf(out, " --%s", commands[i].option);
    }
}

/* Each first word of a command once. */
static void put_words(FILE *out)
{
    size_t count;
    const struct command_info *commands = command_table(&count);
    const char *last = "", *between = "";
    for (size_t i = 0; i < count; i++) {
        const char *word = commands[i].words[0];
        if (word == NULL || strcmp(word, last) == 0)
            continue;
        fprintf(out, "%s%s", between, word);
        last = word;
        between = " ";
    }
}

/* The second words of the commands that begin with `first`. */
static void put_second_words(const char *first, FILE *out)
{
    size_t count;
    const struct command_info *commands = command_table(&count);
    const char *between = "";
    for (size_t i = 0; i < count; i++) {
        if (commands[i].words[0] == NULL || strcmp(commands[i].words[0], first) != 0)
            continue;
        fprintf(out, "%s%s", between, commands[i].words[1]);
        between = " ";
    }
}

/* --- bash ----------------------------------------------------------------------------------- */

static void put_kind(const char *word, const char *more, const char *kind, FILE *out)
{
    fprintf(out, "    '%s%s%s') echo '%s' ;;\n", word, more[0] != '\0' ? " " : "", more, kind);
}

static void put_kinds(FILE *out)
{
    size_t count;
    const struct option_info *options = option_table(&count);
    for (size_t i = 0; i < count; i++) {
        char name[64];
        if (options[i].argument == NULL)
            continue;
        snprintf(name, sizeof name, "--%s", options[i].name);
        put_kind(name, "", kind_of(&options[i]), out);
        snprintf(name, sizeof name, "-%c", options[i].letter);
        if (options[i].letter != 0)
            put_kind(name, "", kind_of(&options[i]), out);
    }
    const struct command_info *commands = command_table(&count);
    const char *last = "";
    for (size_t i = 0; i < count; i++) {
        const struct command_info *command = &commands[i];
        const char *first = command->words[0];
        char text[64];
        if (first != NULL && command->words[1] != NULL && strcmp(first, last) != 0) {
            fprintf(out, "    '%s') echo '|", first);
            put_second_words(first, out);
            fputs("' ;;\n", out);
            last = first;
        }
        if (command->operand != NULL && (command->option != NULL || first != NULL))
            put_kind(command_text(command, text, sizeof text), "", command->operand, out);
    }
}

/* --- zsh ------------------------------------------------------------------------------------ */

static void put_action(const char *kind, FILE *out)
{
    static const struct {
        const char *kind, *action;
    } actions[] = {
        {"INVENTORY", "_files -g \"*.(yaml|yml)\""},
        {"REPORT", "_files -g \"*.(html|xml|json)\""},
        {"DIR", "_files -/"},
        {"PATTERN", "_fleetflash_targets"},
        {"RUN", "_fleetflash_runs"},
        {"TARGET", "_fleetflash_targets"},
        {"FILE.so", "_files -g \"*.so\""},
        {"FILE.csv", "_files -g \"*.csv\""},
        {"FILE", "_files"},
        {"KEY", "_files"},
        {"IMAGE", "_files"},
    };
    if (strchr(kind, '|') != NULL) {
        fputc('(', out);
        for (; *kind != '\0'; kind++)
            fputc(*kind == '|' ? ' ' : *kind, out);
        fputc(')', out);
        return;
    }
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].kind, kind) == 0)
            fputs(actions[i].action, out);
    }
}

/* [help], in which zsh wants some characters quoted. */
static void put_description(const char *help, FILE *out)
{
    fputc('[', out);
    for (const char *c = help; *c != '\0'; c++) {
        if (*c == '[' || *c == ']' || *c == ':' || *c == '\\')
            fputc('\\', out);
        fputs(*c == '\'' ? "'\\''" : (char[]){*c, '\0'}, out);
    }
    fputc(']', out);
}

static void put_spec(const char *but, const char *name, const char *help, const char *kind,
                     bool optional, FILE *out)
{
    fprintf(out, "        '%s%s", but, name);
    put_description(help != NULL ? help : "how to flash", out);
    if (kind != NULL) {
        fprintf(out, "%s", optional ? "::" : ":");
        for (const char *c = strchr(kind, '|') != NULL ? "VALUE" : kind; *c != '\0'; c++)
            fputc(*c, out);
        fputc(':', out);
        put_action(kind, out);
    }
    fputs("' \\\n", out);
}

static void put_specs(FILE *out)
{
    size_t count;
    const struct option_info *options = option_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct option_info *option = &options[i];
        const char *kind = option->argument != NULL ? kind_of(option) : NULL;
        char name[64], but[64] = ""; /* what it excludes; or that it does not exclude itself */
        if (option->is_repeatable)
            snprintf(but, sizeof but, "*");
        else if (option->letter != 0)
            snprintf(but, sizeof but, "(-%c --%s)", option->letter, option->name);
        snprintf(name, sizeof name, "--%s%s", option->name, kind != NULL ? "=" : "");
        put_spec(but, name, option->help, kind, false, out);
        snprintf(name, sizeof name, "-%c%s", option->letter, kind != NULL ? "+" : "");
        if (option->letter != 0)
            put_spec(but, name, option->help, kind, false, out);
    }
    const struct command_info *commands = command_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct command_info *command = &commands[i];
        char name[64];
        if (command->option == NULL)
            continue;
        /* An image may stand anywhere, so it is no value of --check. */
        bool has_run = command->operand != NULL && strcmp(command->operand, "RUN") == 0;
        snprintf(name, sizeof name, "--%s", command->option);
        put_spec("", name, command->help, has_run ? "RUN" : NULL,
                 command->operands == OPERANDS_OPTIONAL, out);
    }
}

static void put_seconds(FILE *out)
{
    size_t count;
    const struct command_info *commands = command_table(&count);
    const char *last = "";
    for (size_t i = 0; i < count; i++) {
        const char *first = commands[i].words[0];
        if (first == NULL || strcmp(first, last) == 0)
            continue;
        last = first;
        fprintf(out, "        %s) ", first);
        if (commands[i].words[1] != NULL) {
            fputs("compadd ", out);
            put_second_words(first, out);
        } else {
            put_action(commands[i].operand, out);
        }
        fputs(" ;;\n", out);
    }
}

/* --- templates ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*put)(FILE *out);
    bool is_lines; /* ends its last line itself */
} slots[] = {
    {"@options@", put_options, false}, {"@words@", put_words, false},
    {"@kinds@", put_kinds, true},      {"@specs@", put_specs, true},
    {"@seconds@", put_seconds, true},
};

static void put_line(char *line, FILE *out)
{
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        char *at = strstr(line, slots[i].name);
        if (at == NULL)
            continue;
        fprintf(out, "%.*s", (int)(at - line), line);
        slots[i].put(out);
        if (!slots[i].is_lines)
            fputs(at + strlen(slots[i].name), out);
        return;
    }
    fputs(line, out);
}

int main(int argc, char **argv)
{
    char line[1000];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (file == NULL) {
        fprintf(stderr, "completion: a template is needed\n");
        return 2;
    }
    while (fgets(line, sizeof line, file) != NULL)
        put_line(line, stdout);
    fclose(file);
    return fflush(stdout) == 0 ? 0 : 1;
}
