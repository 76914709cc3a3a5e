/* SPDX-License-Identifier: Apache-2.0 */
/* The parser is not getopt_long(3): that takes any beginning of a name for the name, and `--f` must
 * never mean --force. */
#include "cli/directories.h"
#include "cli/option_table.h"
#include "cli/option_values.h"
#include "suggest.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    int argc, next; /* argv[next] comes next */
    char **argv;
    struct options *out;
    struct error *err;
    const char **words; /* what is no option */
    size_t word_count;
    const struct command_info *command; /* by its option; later by its words */
    unsigned given[OPTION_COUNT];
    bool is_done; /* --help or --version: nothing after it matters */
};

#define TRY_HELP "fleetflash --help lists everything"

/* --- options ------------------------------------------------------------------------------ */

static const struct option_info *find_option(const char *name, size_t length)
{
    size_t count;
    const struct option_info *options = option_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(options[i].name, name, length) == 0 && options[i].name[length] == '\0')
            return &options[i];
    }
    return NULL;
}

static const struct option_info *find_letter(char letter)
{
    size_t count;
    const struct option_info *options = option_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (options[i].letter == letter)
            return &options[i];
    }
    return NULL;
}

static const struct command_info *find_command_option(const char *name, size_t length)
{
    size_t count;
    const struct command_info *commands = command_table(&count);
    for (size_t i = 0; i < count; i++) {
        const char *option = commands[i].option;
        if (option != NULL && strncmp(option, name, length) == 0 && option[length] == '\0')
            return &commands[i];
    }
    return NULL;
}

static int unknown_option(struct parser *parser, const char *name, size_t length)
{
    char word[64], nearest[64];
    size_t count;
    snprintf(word, sizeof word, "%.*s", (int)length, name);
    struct suggestion suggestion = {.word = word};
    const struct option_info *options = option_table(&count);
    for (size_t i = 0; i < count; i++)
        suggest_consider(&suggestion, options[i].name);
    const struct command_info *commands = command_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (commands[i].option != NULL)
            suggest_consider(&suggestion, commands[i].option);
    }
    error_set(parser->err, ERROR_USAGE, "there is no option --%s", word);
    if (suggestion.nearest == NULL)
        return error_remedy(parser->err, TRY_HELP);
    snprintf(nearest, sizeof nearest, "%s", suggestion.nearest);
    return error_remedy(parser->err, "did you mean --%s?", nearest);
}

/* Puts an option with its value (NULL: a flag) into the options. */
static int give(struct parser *parser, const struct option_info *option, const char *value)
{
    if (parser->given[option->id]++ > 0 && option->argument != NULL && !option->is_repeatable) {
        error_set(parser->err, ERROR_USAGE, "--%s is given twice", option->name);
        return error_remedy(parser->err, "leave one out");
    }
    if (option->id == OPTION_HELP || option->id == OPTION_VERSION) {
        parser->out->command = option->id == OPTION_HELP ? COMMAND_HELP : COMMAND_VERSION;
        parser->is_done = true;
        return 0;
    }
    return option_take(option, value, parser->out, parser->err);
}

/* Gives an option whose value is the next word. */
static int give_next(struct parser *parser, const struct option_info *option, const char *written)
{
    const char *value = parser->next < parser->argc ? parser->argv[parser->next] : NULL;
    if (value == NULL || strncmp(value, "--", 2) == 0) {
        error_set(parser->err, ERROR_USAGE, "%s needs a value", written);
        return error_remedy(parser->err, "write %s %s", written, option->argument);
    }
    parser->next++;
    return give(parser, option, value);
}

static int take_command(struct parser *parser, const struct command_info *command,
                        const char *operand)
{
    if (parser->command != NULL && parser->command != command) {
        error_set(parser->err, ERROR_USAGE, "--%s and --%s exclude each other",
                  parser->command->option, command->option);
        return error_remedy(parser->err, "leave one out");
    }
    if (operand != NULL && command->operands == OPERANDS_NONE) {
        error_set(parser->err, ERROR_USAGE, "--%s takes no value, but '%s' is given",
                  command->option, operand);
        return error_remedy(parser->err, "write --%s alone", command->option);
    }
    parser->command = command;
    if (operand != NULL)
        parser->words[parser->word_count++] = operand;
    return 0;
}

/* "--name" or "--name=value" */
static int take_long(struct parser *parser, const char *text)
{
    char written[64];
    size_t length = strcspn(text, "=");
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    const struct command_info *command = find_command_option(text, length);
    if (command != NULL)
        return take_command(parser, command, value);
    const struct option_info *option = find_option(text, length);
    if (option == NULL)
        return unknown_option(parser, text, length);
    if (option->argument == NULL && value != NULL) {
        error_set(parser->err, ERROR_USAGE, "--%s takes no value, but '%s' is given", option->name,
                  value);
        return error_remedy(parser->err, "write --%s alone", option->name);
    }
    if (option->argument == NULL || value != NULL)
        return give(parser, option, value);
    snprintf(written, sizeof written, "--%s", option->name);
    return give_next(parser, option, written);
}

/* "-vv", "-iFILE", "-i FILE" */
static int take_letters(struct parser *parser, const char *text)
{
    size_t length = strcspn(text, "=");
    if (length > 1 &&
        (find_option(text, length) != NULL || find_command_option(text, length) != NULL)) {
        error_set(parser->err, ERROR_USAGE, "there is no option -%s", text);
        return error_remedy(parser->err, "with two dashes there is: --%.*s", (int)length, text);
    }
    for (; *text != '\0' && !parser->is_done; text++) {
        const struct option_info *option = find_letter(*text);
        char written[3] = {'-', *text, '\0'};
        if (option == NULL) {
            error_set(parser->err, ERROR_USAGE, "there is no option %s", written);
            return error_remedy(parser->err, TRY_HELP);
        }
        if (option->argument == NULL) {
            if (give(parser, option, NULL) != 0)
                return -1;
            continue;
        }
        return text[1] == '\0' ? give_next(parser, option, written)
                               : give(parser, option, text + 1);
    }
    return 0;
}

static int take_arguments(struct parser *parser)
{
    bool only_words = false;
    while (parser->next < parser->argc && !parser->is_done) {
        const char *text = parser->argv[parser->next++];
        int result = 0;
        if (only_words || text[0] != '-' || text[1] == '\0')
            parser->words[parser->word_count++] = text;
        else if (strcmp(text, "--") == 0)
            only_words = true;
        else if (text[1] == '-')
            result = take_long(parser, text + 2);
        else
            result = take_letters(parser, text + 1);
        if (result != 0)
            return -1;
    }
    return 0;
}

/* --- commands ----------------------------------------------------------------------------- */

/* "policy" needs "list" or "check" after it. */
static int wrong_second_word(struct parser *parser, const char *first, const char *second)
{
    size_t count, used = 0;
    char list[100] = "";
    const struct command_info *commands = command_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (commands[i].words[0] != NULL && strcmp(commands[i].words[0], first) == 0)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s %s",
                                     used == 0 ? "" : " or ", first, commands[i].words[1]);
    }
    if (second == NULL)
        error_set(parser->err, ERROR_USAGE, "'%s' is half a command", first);
    else
        error_set(parser->err, ERROR_USAGE, "there is no command '%s %s'", first, second);
    return error_remedy(parser->err, "write %s; an image of that name is ./%s", list, first);
}

static void drop_words(struct parser *parser, size_t count)
{
    parser->word_count -= count;
    memmove(parser->words, parser->words + count, parser->word_count * sizeof *parser->words);
}

/* Finds the command among the words when no option named it. */
static int find_command(struct parser *parser)
{
    size_t count;
    const struct command_info *commands = command_table(&count);
    const char *first = parser->word_count > 0 ? parser->words[0] : "";
    const char *second = parser->word_count > 1 ? parser->words[1] : NULL;
    bool is_half = false;
    for (size_t i = 0; i < count; i++) {
        const char *const *words = commands[i].words;
        if (words[0] == NULL || strcmp(words[0], first) != 0)
            continue;
        if (words[1] == NULL || (second != NULL && strcmp(words[1], second) == 0)) {
            parser->command = &commands[i];
            drop_words(parser, words[1] == NULL ? 1 : 2);
            return 0;
        }
        is_half = true;
    }
    if (is_half)
        return wrong_second_word(parser, first, second);
    parser->command = &commands[COMMAND_FLASH];
    return 0;
}

static int check_belongs(struct parser *parser)
{
    char text[64];
    size_t count;
    const struct option_info *options = option_table(&count);
    command_text(parser->command, text, sizeof text);
    for (size_t i = 0; i < count; i++) {
        if (parser->given[options[i].id] == 0 ||
            (options[i].commands & COMMAND_BIT(parser->command->command)) != 0)
            continue;
        error_set(parser->err, ERROR_USAGE, "--%s does not go with %s", options[i].name, text);
        return error_remedy(parser->err, "leave --%s out", options[i].name);
    }
    if (parser->given[OPTION_QUIET] > 0 && parser->given[OPTION_VERBOSE] > 0) {
        error_set(parser->err, ERROR_USAGE, "--quiet and --verbose exclude each other");
        return error_remedy(parser->err, "leave one out");
    }
    return 0;
}

static int too_many_words(struct parser *parser, const char *text)
{
    const struct command_info *command = parser->command;
    if (command->operands == OPERANDS_NONE) {
        error_set(parser->err, ERROR_USAGE, "%s takes nothing more, but '%s' follows", text,
                  parser->words[0]);
        return error_remedy(parser->err, "leave '%s' out", parser->words[0]);
    }
    if (strcmp(command->operand, "IMAGE") == 0) {
        error_set(parser->err, ERROR_USAGE, "two images are given: '%s' and '%s'", parser->words[0],
                  parser->words[1]);
        return error_remedy(parser->err, "flash one image at a time");
    }
    error_set(parser->err, ERROR_USAGE, "%s takes one %s, but '%s' and '%s' are given", text,
              command->operand, parser->words[0], parser->words[1]);
    return error_remedy(parser->err, "give one");
}

static int check_words(struct parser *parser)
{
    const struct command_info *command = parser->command;
    char text[64];
    command_text(command, text, sizeof text);
    size_t most = command->operands == OPERANDS_NONE ? 0 : 1;
    if (command->operands != OPERANDS_ANY && parser->word_count > most)
        return too_many_words(parser, text);
    if (command->operands == OPERANDS_ONE && parser->word_count == 0) {
        if (command->command == COMMAND_FLASH) {
            error_set(parser->err, ERROR_USAGE, "no image and no command is given");
            return error_remedy(parser->err, "write fleetflash -i INVENTORY IMAGE; " TRY_HELP);
        }
        error_set(parser->err, ERROR_USAGE, "%s needs %s %s", text,
                  strcmp(command->operand, "IMAGE") == 0 ? "an" : "a", command->operand);
        return error_remedy(parser->err, "write fleetflash %s %s", text, command->operand);
    }
    for (size_t i = 0; i < parser->word_count; i++) {
        if (*parser->words[i] == '\0') {
            error_set(parser->err, ERROR_USAGE, "an empty %s is given",
                      command->operands == OPERANDS_ANY ? "argument" : command->operand);
            return error_remedy(parser->err, "is a variable of a script unset?");
        }
    }
    return 0;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), tail = strlen(ending);
    return length > tail && strcmp(text + length - tail, ending) == 0;
}

static int check_inventory(struct parser *parser)
{
    char text[64];
    const char *word = parser->word_count > 0 ? parser->words[0] : "";
    if (!parser->command->needs_inventory || parser->out->inventory != NULL)
        return 0;
    command_text(parser->command, text, sizeof text);
    if (parser->command->command == COMMAND_FLASH)
        error_set(parser->err, ERROR_USAGE, "no inventory is given");
    else
        error_set(parser->err, ERROR_USAGE, "%s needs an inventory", text);
    if (ends_with(word, ".yaml") || ends_with(word, ".yml"))
        return error_remedy(parser->err, "is '%s' one? Then write -i %s", word, word);
    return error_remedy(parser->err, "write -i INVENTORY; fleetflash-inventory(5) shows one");
}

/* The words to where the command wants them; the array goes to the options in any case. */
static void store_words(struct parser *parser)
{
    const struct command_info *command = parser->command;
    if (command->operands == OPERANDS_ANY || parser->word_count == 0)
        return;
    memcpy((char *)parser->out + command->member, &parser->words[0], sizeof parser->words[0]);
    parser->words[0] = NULL;
}

static int fill_directories(struct options *out, struct error *err)
{
    if (out->state_dir == NULL)
        out->state_dir = directory_mine(DIRECTORY_STATE);
    if (out->cache_dir == NULL)
        out->cache_dir = directory_mine(DIRECTORY_CACHE);
    if (out->state_dir != NULL && out->cache_dir != NULL)
        return 0;
    error_set(err, ERROR_USAGE, "there is no home directory for state and cache");
    return error_remedy(err, "set HOME, or give --state-dir and --cache-dir");
}

int options_parse(int argc, char **argv, struct options *out, struct error *err)
{
    *out = (struct options){0};
    struct parser parser = {.argc = argc, .next = 1, .argv = argv, .out = out, .err = err};
    parser.words = calloc((size_t)argc + 1, sizeof *parser.words);
    if (parser.words == NULL)
        return error_set(err, ERROR_USAGE, "out of memory");
    out->arguments = parser.words;
    if (take_arguments(&parser) != 0)
        return -1;
    if (parser.is_done) {
        parser.words[0] = NULL;
        return 0;
    }
    if (parser.command == NULL && find_command(&parser) != 0)
        return -1;
    out->command = parser.command->command;
    parser.words[parser.word_count] = NULL;
    if (check_belongs(&parser) != 0 || check_words(&parser) != 0 || check_inventory(&parser) != 0)
        return -1;
    store_words(&parser);
    return fill_directories(out, err);
}

void options_free(struct options *options)
{
    free(options->reports);
    free(options->sha256);
    free(options->state_dir);
    free(options->cache_dir);
    free((void *)options->arguments);
    *options = (struct options){0};
}
