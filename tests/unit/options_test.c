/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines, right and wrong. */
#include "cli/directories.h"
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 40

/* A command line from one text; words are parted by blanks, "''" is the empty word. */
struct line {
    char text[400];
    char *argv[WORDS_MAX + 1];
    int argc;
    struct options options;
    struct error err;
    int result;
};

static void parse(struct line *line, const char *text)
{
    *line = (struct line){.argc = 1};
    snprintf(line->text, sizeof line->text, "%s", text);
    for (char *word = strtok(line->text, " "); word != NULL; word = strtok(NULL, " ")) {
        assert_true(line->argc < WORDS_MAX);
        line->argv[line->argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    }
    line->argv[0] = (char *)"fleetflash";
    line->result = options_parse(line->argc, line->argv, &line->options, &line->err);
}

static void parse_good(struct line *line, const char *text)
{
    parse(line, text);
    if (line->result != 0)
        fail_msg("%s: %s", text, line->err.text);
}

static void test_commands(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum command command;
        const char *image, *run, *target, *file, *argument;
    } lines[] = {
        {"-i x img", COMMAND_FLASH, .image = "img"},
        {"-i x -", COMMAND_FLASH, .image = "-"},
        {"-i x -- -img", COMMAND_FLASH, .image = "-img"},
        {"img -i x", COMMAND_FLASH, .image = "img"},
        {"-i x https://h/a.img.xz", COMMAND_FLASH, .image = "https://h/a.img.xz"},
        {"-i x --check", COMMAND_CHECK, .image = NULL},
        {"-i x --check img", COMMAND_CHECK, .image = "img"},
        {"img --check -i x", COMMAND_CHECK, .image = "img"},
        {"-i x --check reset", COMMAND_CHECK, .image = "reset"},
        {"-i x --list", COMMAND_LIST, .image = NULL},
        {"--local img", COMMAND_LOCAL, .image = "img"},
        {"--resume", COMMAND_RESUME, .image = NULL},
        {"--resume r7", COMMAND_RESUME, .run = "r7"},
        {"--resume=r7", COMMAND_RESUME, .run = "r7"},
        {"--retry-failed", COMMAND_RETRY, .image = NULL},
        {"--retry-failed r7 -i x", COMMAND_RETRY, .run = "r7"},
        {"--history", COMMAND_HISTORY, .image = NULL},
        {"--show r7", COMMAND_SHOW, .run = "r7"},
        {"inventory import a.csv", COMMAND_IMPORT, .file = "a.csv"},
        {"reset -i x pi-25", COMMAND_RESET, .target = "pi-25"},
        {"-i x reset pi-25", COMMAND_RESET, .target = "pi-25"},
        {"recovery image -i x a b", COMMAND_RECOVERY_IMAGE, .argument = "a"},
        {"recovery script -i x c", COMMAND_RECOVERY_SCRIPT, .argument = "c"},
        {"policy list", COMMAND_POLICY_LIST, .image = NULL},
        {"policy check p.so", COMMAND_POLICY_CHECK, .file = "p.so"},
        {"--help", COMMAND_HELP, .image = NULL},
        {"--list --help --unknown", COMMAND_HELP, .image = NULL},
        {"--version", COMMAND_VERSION, .image = NULL},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct line line;
        parse_good(&line, lines[i].text);
        const char *got[] = {line.options.image, line.options.run, line.options.target,
                             line.options.file, line.options.arguments[0]};
        const char *wanted[] = {lines[i].image, lines[i].run, lines[i].target, lines[i].file,
                                lines[i].argument};
        assert_int_equal(line.options.command, lines[i].command);
        for (size_t k = 0; k < 5; k++) {
            if (wanted[k] == NULL)
                assert_null(got[k]);
            else
                assert_string_equal(got[k], wanted[k]);
        }
        options_free(&line.options);
    }
}

#define HEX "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"

static void test_every_option(void **state)
{
    (void)state;
    struct line line;
    parse_good(&line,
               "--inventory=inv --limit a,!b --mode=netboot --parallel=7 --yes --accept-once "
               "--force --strict --json --no-cache --report r.json --report d/r.html --sha256 " HEX
               " --minisign key.pub --keyring ring.gpg --rate 10M/s --state-dir /s "
               "--cache-dir /c -vv img");
    const struct options *options = &line.options;
    assert_string_equal(options->inventory, "inv");
    assert_string_equal(options->limit, "a,!b");
    assert_true(options->mode_given);
    assert_int_equal(options->mode, INVENTORY_NETBOOT);
    assert_int_equal(options->parallel, 7);
    assert_true(options->yes && options->accept_once && options->force && options->strict &&
                options->json && options->no_cache);
    assert_int_equal(options->report_count, 2);
    assert_string_equal(options->reports[0].path, "r.json");
    assert_int_equal(options->reports[0].format, REPORT_JSON);
    assert_int_equal(options->reports[1].format, REPORT_HTML);
    assert_string_equal(options->sha256,
                        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    assert_string_equal(options->minisign, "key.pub");
    assert_string_equal(options->keyring, "ring.gpg");
    assert_int_equal(options->rate, 10u << 20);
    assert_string_equal(options->state_dir, "/s");
    assert_string_equal(options->cache_dir, "/c");
    assert_int_equal(options->verbosity, 2);
    options_free(&line.options);
}

static void test_letters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int verbosity;
    } lines[] = {{"-ix img", 0},      {"-vix img", 1},        {"-v -i x img -v", 2},
                 {"-vvv -ix img", 2}, {"-i x img -q", -1},    {"-i x --verbose img", 1},
                 {"-qix img", -1},    {"--quiet -ix img", -1}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct line line;
        parse_good(&line, lines[i].text);
        assert_int_equal(line.options.verbosity, lines[i].verbosity);
        assert_string_equal(line.options.inventory, "x");
        options_free(&line.options);
    }
}

static const struct {
    const char *text, *message, *remedy;
} misuses[] = {
    {"", "no image and no command is given",
     "write fleetflash -i INVENTORY IMAGE; fleetflash --help lists everything"},
    {"img", "no inventory is given", "write -i INVENTORY; fleetflash-inventory(5) shows one"},
    {"lab.yaml", "no inventory is given", "is 'lab.yaml' one? Then write -i lab.yaml"},
    {"--list", "--list needs an inventory",
     "write -i INVENTORY; fleetflash-inventory(5) shows one"},
    {"--check", "--check needs an inventory",
     "write -i INVENTORY; fleetflash-inventory(5) shows one"},
    {"-i x a b", "two images are given: 'a' and 'b'", "flash one image at a time"},
    {"-i x --check a b", "two images are given: 'a' and 'b'", "flash one image at a time"},
    {"-i x ''", "an empty IMAGE is given", "is a variable of a script unset?"},
    {"-i '' a", "--inventory is given an empty FILE", "write --inventory FILE"},
    {"-i x --lits", "there is no option --lits", "did you mean --list?"},
    {"-i x --stritc a", "there is no option --stritc", "did you mean --strict?"},
    {"-i x --f a", "there is no option --f", "fleetflash --help lists everything"},
    {"-i x -z a", "there is no option -z", "fleetflash --help lists everything"},
    {"-inventory x a", "there is no option -inventory", "with two dashes there is: --inventory"},
    {"-limit=x", "there is no option -limit=x", "with two dashes there is: --limit"},
    {"-i", "-i needs a value", "write -i FILE"},
    {"-i x --limit", "--limit needs a value", "write --limit PATTERN"},
    {"-i x --limit --check", "--limit needs a value", "write --limit PATTERN"},
    {"--yes=1", "--yes takes no value, but '1' is given", "write --yes alone"},
    {"--list=x", "--list takes no value, but 'x' is given", "write --list alone"},
    {"-i x -i y a", "--inventory is given twice", "leave one out"},
    {"-i x --list --check", "--list and --check exclude each other", "leave one out"},
    {"-i x --list a", "--list takes nothing more, but 'a' follows", "leave 'a' out"},
    {"--local", "--local needs an IMAGE", "write fleetflash --local IMAGE"},
    {"--local a -i x", "--inventory does not go with --local", "leave --inventory out"},
    {"--show", "--show needs a RUN", "write fleetflash --show RUN"},
    {"--show a b", "--show takes one RUN, but 'a' and 'b' are given", "give one"},
    {"--history --force", "--force does not go with --history", "leave --force out"},
    {"--list -i x --report a.json", "--report does not go with --list", "leave --report out"},
    {"policy", "'policy' is half a command",
     "write policy list or policy check; an image of that name is ./policy"},
    {"policy lst", "there is no command 'policy lst'",
     "write policy list or policy check; an image of that name is ./policy"},
    {"policy check", "policy check needs a FILE.so", "write fleetflash policy check FILE.so"},
    {"inventory", "'inventory' is half a command",
     "write inventory import; an image of that name is ./inventory"},
    {"reset -i x", "reset needs a TARGET", "write fleetflash reset TARGET"},
    {"reset pi", "reset needs an inventory",
     "write -i INVENTORY; fleetflash-inventory(5) shows one"},
    {"--mode stge", "there is no mode 'stge' (did you mean 'stage'?)",
     "--mode is auto, stage, stream, netboot or local"},
    {"--parallel 0", "--parallel must be 1…4096, not '0'", "leave it out for the default"},
    {"--parallel 5000", "--parallel must be 1…4096, not '5000'", "leave it out for the default"},
    {"--parallel -1", "--parallel must be 1…4096, not '-1'", "leave it out for the default"},
    {"--parallel 4x", "--parallel must be 1…4096, not '4x'", "leave it out for the default"},
    {"--parallel=", "--parallel must be 1…4096, not ''", "leave it out for the default"},
    {"--rate fast", "--rate must be bytes a second like 500K or 10M, not 'fast'",
     "leave it out for no limit"},
    {"--rate 0", "--rate 0 is less than 1K a second", "leave it out for no limit"},
    {"--sha256 abc", "--sha256 must be 64 hex digits, not 3",
     "copy the first word that sha256sum prints for the image"},
    {"--sha256 abx", "--sha256: the character at place 3 of 'abx' is no hex digit",
     "copy the first word that sha256sum prints for the image"},
    {"--report a.pdf", "--report a.pdf: the name's ending does not say which format",
     "let it end in .json, .xml (JUnit) or .html"},
    {"--report d.json/a", "--report d.json/a: the name's ending does not say which format",
     "let it end in .json, .xml (JUnit) or .html"},
    {"--report .json", "--report .json: the name's ending does not say which format",
     "let it end in .json, .xml (JUnit) or .html"},
    {"--report a.xml --report a.xml", "--report a.xml is given twice", "leave one out"},
    {"-i x -q -v a", "--quiet and --verbose exclude each other", "leave one out"},
};

static void test_misuse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof misuses / sizeof *misuses; i++) {
        struct line line;
        parse(&line, misuses[i].text);
        assert_int_equal(line.result, -1);
        assert_int_equal(line.err.cls, ERROR_USAGE);
        assert_string_equal(line.err.text, misuses[i].message);
        assert_string_equal(line.err.remedy, misuses[i].remedy);
        options_free(&line.options);
    }
}

static void test_directories(void **state)
{
    (void)state;
    static const struct {
        enum directory directory;
        uid_t uid;
        const char *xdg, *home, *path;
    } places[] = {
        {DIRECTORY_STATE, 0, NULL, "/root", "/var/lib/fleetflash"},
        {DIRECTORY_CACHE, 0, NULL, "/root", "/var/cache/fleetflash"},
        {DIRECTORY_STATE, 5, NULL, "/home/u", "/home/u/.local/state/fleetflash"},
        {DIRECTORY_CACHE, 5, NULL, "/home/u/", "/home/u/.cache/fleetflash"},
        {DIRECTORY_STATE, 5, "/x", "/home/u", "/x/fleetflash"},
        {DIRECTORY_STATE, 0, "/x", NULL, "/x/fleetflash"},
        {DIRECTORY_STATE, 5, "relative", "/home/u", "/home/u/.local/state/fleetflash"},
        {DIRECTORY_STATE, 5, "", "/home/u", "/home/u/.local/state/fleetflash"},
        {DIRECTORY_STATE, 5, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *path =
            directory_default(places[i].directory, places[i].uid, places[i].xdg, places[i].home);
        if (places[i].path == NULL)
            assert_null(path);
        else
            assert_string_equal(path, places[i].path);
        free(path);
    }
}

static void test_directories_of_the_environment(void **state)
{
    (void)state;
    struct line line;
    setenv("XDG_STATE_HOME", "/somewhere/state", 1);
    setenv("XDG_CACHE_HOME", "/somewhere/cache", 1);
    parse_good(&line, "--history --state-dir mine");
    assert_string_equal(line.options.state_dir, "mine");
    assert_string_equal(line.options.cache_dir, "/somewhere/cache/fleetflash");
    options_free(&line.options);
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_CACHE_HOME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),    cmocka_unit_test(test_every_option),
        cmocka_unit_test(test_letters),     cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_directories), cmocka_unit_test(test_directories_of_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
