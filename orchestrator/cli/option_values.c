/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/option_values.h"

#include "base/units.h"
#include "suggest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PARALLEL_MAX 4096u
#define RATE_MIN     1024u
#define SHA256_HEX   64u

static int no_memory(struct error *err)
{
    return error_set(err, ERROR_USAGE, "out of memory");
}

static int take_text(const struct option_info *option, const char *value, const char **out,
                     struct error *err)
{
    if (*value == '\0') {
        error_set(err, ERROR_USAGE, "--%s is given an empty %s", option->name, option->argument);
        return error_remedy(err, "write --%s %s", option->name, option->argument);
    }
    *out = value;
    return 0;
}

static int take_directory(const struct option_info *option, const char *value, char **out,
                          struct error *err)
{
    const char *text = NULL;
    if (take_text(option, value, &text, err) != 0)
        return -1;
    *out = strdup(text);
    return *out == NULL ? no_memory(err) : 0;
}

/* The modes' names stand in the option's argument, in the order of enum inventory_mode. */
static int take_mode(const struct option_info *option, const char *value, struct options *out,
                     struct error *err)
{
    char words[64], hint[80], *rest = words, *word;
    struct suggestion suggestion = {.word = value};
    snprintf(words, sizeof words, "%s", option->argument);
    for (unsigned mode = 0; (word = strsep(&rest, "|")) != NULL; mode++) {
        if (strcmp(word, value) == 0) {
            out->mode = (enum inventory_mode)mode;
            out->mode_given = true;
            return 0;
        }
        suggest_consider(&suggestion, word);
    }
    error_set(err, ERROR_USAGE, "there is no mode '%s'%s", value,
              suggest_text(&suggestion, hint, sizeof hint));
    return error_remedy(err, "--mode is auto, stage, stream, netboot or local");
}

static int take_parallel(const char *value, struct options *out, struct error *err)
{
    size_t length = strlen(value);
    unsigned long number = length > 0 && length < 9 ? strtoul(value, NULL, 10) : 0;
    if (strspn(value, "0123456789") != length || number < 1 || number > PARALLEL_MAX) {
        error_set(err, ERROR_USAGE, "--parallel must be 1…%u, not '%s'", PARALLEL_MAX, value);
        return error_remedy(err, "leave it out for the default");
    }
    out->parallel = (unsigned)number;
    return 0;
}

static int take_rate(const char *value, struct options *out, struct error *err)
{
    char text[32];
    size_t length = strlen(value);
    if (length > 2 && strcmp(value + length - 2, "/s") == 0)
        length -= 2;
    snprintf(text, sizeof text, "%.*s", (int)length, value);
    if (length >= sizeof text || units_parse_size(text, &out->rate) != 0) {
        error_set(err, ERROR_USAGE, "--rate must be bytes a second like 500K or 10M, not '%s'",
                  value);
        return error_remedy(err, "leave it out for no limit");
    }
    if (out->rate < RATE_MIN) {
        error_set(err, ERROR_USAGE, "--rate %s is less than 1K a second", value);
        return error_remedy(err, "leave it out for no limit");
    }
    return 0;
}

static int take_sha256(const char *value, struct options *out, struct error *err)
{
    size_t length = strlen(value), good = strspn(value, "0123456789abcdefABCDEF");
    if (good < length)
        error_set(err, ERROR_USAGE, "--sha256: the character at place %zu of '%s' is no hex digit",
                  good + 1, value);
    else if (length != SHA256_HEX)
        error_set(err, ERROR_USAGE, "--sha256 must be %u hex digits, not %zu", SHA256_HEX, length);
    if (good < length || length != SHA256_HEX)
        return error_remedy(err, "copy the first word that sha256sum prints for the image");
    out->sha256 = strdup(value);
    if (out->sha256 == NULL)
        return no_memory(err);
    for (char *c = out->sha256; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

static int take_report(const char *value, struct options *out, struct error *err)
{
    static const char *const endings[] = {
        [REPORT_JSON] = ".json", [REPORT_XML] = ".xml", [REPORT_HTML] = ".html"};
    const size_t count = sizeof endings / sizeof *endings;
    const char *slash = strrchr(value, '/'), *base = slash == NULL ? value : slash + 1;
    const char *dot = strrchr(base, '.');
    size_t format = 0;
    while (format < count && (dot == NULL || dot == base || strcmp(dot, endings[format]) != 0))
        format++;
    if (format == count) {
        error_set(err, ERROR_USAGE, "--report %s: the name's ending does not say which format",
                  value);
        return error_remedy(err, "let it end in .json, .xml (JUnit) or .html");
    }
    for (size_t i = 0; i < out->report_count; i++) {
        if (strcmp(out->reports[i].path, value) == 0) {
            error_set(err, ERROR_USAGE, "--report %s is given twice", value);
            return error_remedy(err, "leave one out");
        }
    }
    struct report_request *reports =
        realloc(out->reports, (out->report_count + 1) * sizeof *reports);
    if (reports == NULL)
        return no_memory(err);
    out->reports = reports;
    reports[out->report_count++] = (struct report_request){value, (enum report_format)format};
    return 0;
}

int option_take(const struct option_info *option, const char *value, struct options *out,
                struct error *err)
{
    switch (option->id) {
    case OPTION_INVENTORY:
        return take_text(option, value, &out->inventory, err);
    case OPTION_LIMIT:
        return take_text(option, value, &out->limit, err);
    case OPTION_MODE:
        return take_mode(option, value, out, err);
    case OPTION_PARALLEL:
        return take_parallel(value, out, err);
    case OPTION_YES:
        out->yes = true;
        return 0;
    case OPTION_ACCEPT_ONCE:
        out->accept_once = true;
        return 0;
    case OPTION_FORCE:
        out->force = true;
        return 0;
    case OPTION_STRICT:
        out->strict = true;
        return 0;
    case OPTION_SHA256:
        return take_sha256(value, out, err);
    case OPTION_OUTPUT:
        return take_text(option, value, &out->output, err);
    case OPTION_MINISIGN:
        return take_text(option, value, &out->minisign, err);
    case OPTION_KEYRING:
        return take_text(option, value, &out->keyring, err);
    case OPTION_RATE:
        return take_rate(value, out, err);
    case OPTION_JSON:
        out->json = true;
        return 0;
    case OPTION_REPORT:
        return take_report(value, out, err);
    case OPTION_STATE_DIR:
        return take_directory(option, value, &out->state_dir, err);
    case OPTION_CACHE_DIR:
        return take_directory(option, value, &out->cache_dir, err);
    case OPTION_NO_CACHE:
        out->no_cache = true;
        return 0;
    case OPTION_VERBOSE:
        out->verbosity = out->verbosity < 1 ? 1 : 2;
        return 0;
    case OPTION_QUIET:
        out->verbosity = -1;
        return 0;
    case OPTION_HELP:
    case OPTION_VERSION:
    case OPTION_COUNT:
        break;
    }
    return 0;
}
