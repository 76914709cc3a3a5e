/* SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include "address.h"
#include "base/units.h"
#include "suggest.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_SIZE 400
#define ELLIPSIS "…"

/* What a reader of one type works on. */
struct reading {
    const struct context *context;
    const struct key *key;
    const char *text;
    struct position at;
    char *member; /* where the value goes */
    void *base;
};

#define COMPLAIN(reading, ...)                                                                     \
    mistakes_add((reading)->context->mistakes, (reading)->at, __VA_ARGS__)

static bool has_controls(const char *text, const char *allowed)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if ((*c < 0x20 || *c == 0x7f) && strchr(allowed, *c) == NULL)
            return true;
    }
    return false;
}

static int store_text(const struct reading *reading, const char *text)
{
    const char *copy = arena_copy(reading->context->arena, text, strlen(text));
    memcpy(reading->member, &copy, sizeof copy);
    return 0;
}

/* Lines of a text must be printable; whether there may be several is the caller's. */
static int read_lines(const struct reading *reading, const char *allowed)
{
    if (reading->text[strspn(reading->text, " \t\n")] == '\0')
        return COMPLAIN(reading, "%s is empty", reading->key->name);
    if (has_controls(reading->text, allowed))
        return COMPLAIN(reading, "%s has a control character in it", reading->key->name);
    return store_text(reading, reading->text);
}

static int read_text(const struct reading *reading)
{
    return read_lines(reading, "");
}

static int read_command(const struct reading *reading)
{
    return read_lines(reading, "\t\n");
}

static int read_name(const struct reading *reading)
{
    char why[WHY_SIZE];
    if (value_check_name(reading->text, why, sizeof why) != 0)
        return COMPLAIN(reading, "%s %s", reading->key->name, why);
    return store_text(reading, reading->text);
}

static int read_address(const struct reading *reading)
{
    char why[WHY_SIZE];
    if (address_check(reading->text, why, sizeof why) != 0)
        return COMPLAIN(reading, "%s: %s", reading->key->name, why);
    return store_text(reading, reading->text);
}

static int read_user(const struct reading *reading)
{
    const char *text = reading->text;
    if (text[0] == '\0' || text[0] == '-' || strpbrk(text, " @:/'\"$`;&|<>") != NULL ||
        has_controls(text, ""))
        return COMPLAIN(reading, "'%s' is no user name", text);
    return store_text(reading, text);
}

/* A plain decimal number and nothing else. */
static int parse_number(const char *text, unsigned long *out)
{
    size_t length = strlen(text);
    if (length == 0 || length > 9 || strspn(text, "0123456789") != length)
        return -1;
    *out = strtoul(text, NULL, 10);
    return 0;
}

static const char *range_end(const struct key *key)
{
    return strstr(key->range, ELLIPSIS) + strlen(ELLIPSIS);
}

static int read_number(const struct reading *reading)
{
    unsigned long number, least = strtoul(reading->key->range, NULL, 10);
    unsigned long most = strtoul(range_end(reading->key), NULL, 10);
    if (parse_number(reading->text, &number) != 0 || number < least || number > most)
        return COMPLAIN(reading, "%s must be %s, not %s", reading->key->name, reading->key->range,
                        reading->text[0] == '\0' ? "''" : reading->text);
    unsigned value = (unsigned)number;
    memcpy(reading->member, &value, sizeof value);
    return 0;
}

/* A number with a unit, between the ends of the key's range. */
static int read_measure(const struct reading *reading,
                        int (*parse)(const char *text, uint64_t *out), const char *example)
{
    const struct key *key = reading->key;
    char first[16];
    snprintf(first, sizeof first, "%.*s", (int)(strstr(key->range, ELLIPSIS) - key->range),
             key->range);
    uint64_t value, least = 0, most = 0;
    parse(first, &least);
    parse(range_end(key), &most);
    if (parse(reading->text, &value) != 0)
        return COMPLAIN(reading, "%s must be %s, not '%s'", key->name, example, reading->text);
    if (value < least || value > most)
        return COMPLAIN(reading, "%s must be %s, not %s", key->name, key->range, reading->text);
    memcpy(reading->member, &value, sizeof value);
    return 0;
}

static int read_duration(const struct reading *reading)
{
    return read_measure(reading, units_parse_duration, "a duration like 90s, 5m or 1h");
}

static int read_size(const struct reading *reading)
{
    return read_measure(reading, units_parse_size, "a size like 512K, 64M or 1G");
}

/* --- choices ------------------------------------------------------------------------------ */

#define CHOICES_MAX 8

struct choices {
    unsigned count;
    char words[CHOICES_MAX][32];
};

static void split_choices(const char *range, struct choices *out)
{
    out->count = 0;
    while (*range != '\0' && out->count < CHOICES_MAX) {
        size_t length = strcspn(range, "|");
        snprintf(out->words[out->count++], sizeof *out->words, "%.*s", (int)length, range);
        range += length + (range[length] == '|' ? 1 : 0);
    }
}

/* "mode must be auto, stage or local, not 'stge' (did you mean 'stage'?)"; a hint, when there is
 * one, takes the suggestion's place. */
static int complain_choice(const struct reading *reading, const struct choices *choices,
                           const char *hint)
{
    char list[WHY_SIZE] = "", nearest[80];
    size_t used = 0;
    struct suggestion suggestion = {.word = reading->text};
    for (unsigned i = 0; i < choices->count; i++) {
        const char *separator = i == 0 ? "" : i + 1 == choices->count ? " or " : ", ";
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", separator, choices->words[i]);
        suggest_consider(&suggestion, choices->words[i]);
    }
    return COMPLAIN(reading, "%s must be %s, not '%s'%s", reading->key->name, list, reading->text,
                    hint != NULL ? hint : suggest_text(&suggestion, nearest, sizeof nearest));
}

static int read_choice(const struct reading *reading)
{
    struct choices choices;
    split_choices(reading->key->range, &choices);
    unsigned chosen = 0;
    while (chosen < choices.count && strcmp(choices.words[chosen], reading->text) != 0)
        chosen++;
    if (chosen == choices.count)
        return complain_choice(reading, &choices, NULL);
    if (reading->key->size == sizeof(bool)) {
        bool value = chosen != 0;
        memcpy(reading->member, &value, sizeof value);
    } else {
        memcpy(reading->member, &chosen, sizeof chosen);
    }
    return 0;
}

/* ssh's notation: the hash's 32 bytes in base64 without the final '='. */
static bool is_fingerprint(const char *text)
{
    const char *hash = text + strlen("SHA256:");
    size_t length = 0;
    while (isalnum((unsigned char)hash[length]) || hash[length] == '+' || hash[length] == '/')
        length++;
    return length == 43 && hash[length] == '\0';
}

static int read_hostkey(const struct reading *reading)
{
    static const struct {
        const char *word;
        enum inventory_hostkey kind;
    } words[] = {{"strict", KEY_STRICT},
                 {"accept-new", KEY_ACCEPT_NEW},
                 {"accept-once", KEY_ACCEPT_ONCE},
                 {"keep", KEY_KEEP}};
    struct hostkey_spec value = {.kind = KEY_UNSET, .at = reading->at};
    struct choices choices;
    const char *hint = NULL;
    split_choices(reading->key->range, &choices);
    if (strncmp(reading->text, "SHA256:", 7) == 0) {
        if (!is_fingerprint(reading->text))
            return COMPLAIN(reading,
                            "'%s' is no fingerprint: SHA256: and 43 characters, as ssh-keygen -l "
                            "prints it",
                            reading->text);
        value.kind = KEY_FINGERPRINT;
        value.fingerprint =
            arena_copy(reading->context->arena, reading->text, strlen(reading->text));
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].word, reading->text) != 0)
            continue;
        hint = (reading->key->levels & LEVEL_AFTER) != 0 ? " (that is for before the flash)"
                                                         : " (that is for after.host_key)";
        for (unsigned j = 0; j < choices.count; j++) {
            if (strcmp(choices.words[j], reading->text) == 0)
                value.kind = words[i].kind;
        }
    }
    if (value.kind == KEY_UNSET)
        return complain_choice(reading, &choices, hint);
    memcpy(reading->member, &value, sizeof value);
    return 0;
}

/* --- the rest ----------------------------------------------------------------------------- */

static int read_device(const struct reading *reading)
{
    static const char *const prefixes[] = {"/dev/", "serial:", "model:"};
    const char *text = reading->text;
    if (has_controls(text, "") || strlen(text) > 255)
        return COMPLAIN(reading, "device is no name of a disk");
    if (strcmp(text, "auto") == 0)
        return store_text(reading, text);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(text, prefixes[i], length) == 0 && text[length] != '\0')
            return store_text(reading, text);
    }
    return COMPLAIN(reading, "device must be auto, /dev/…, serial:… or model:…, not '%s'", text);
}

/* Both go into the scripts that boards run. */
static int read_ipv4(const struct reading *reading)
{
    if (address_is_ipv4(reading->text))
        return store_text(reading, reading->text);
    return COMPLAIN(reading, "%s must be an IPv4 address like 10.0.0.1, not '%s'",
                    reading->key->name, reading->text);
}

bool value_is_disk(const char *text)
{
    size_t interface = strspn(text, "abcdefghijklmnopqrstuvwxyz");
    if (interface == 0 || interface > 15 || text[interface] != ' ')
        return false;
    const char *number = text + interface + 1;
    size_t digits = strspn(number, "0123456789");
    return digits > 0 && digits <= 3 && number[digits] == '\0';
}

static int read_disk(const struct reading *reading)
{
    if (value_is_disk(reading->text))
        return store_text(reading, reading->text);
    return COMPLAIN(reading, "%s must be what U-Boot calls it, like 'mmc 0' or 'usb 0', not '%s'",
                    reading->key->name, reading->text);
}

static int read_mac(const struct reading *reading)
{
    char mac[MAC_TEXT_SIZE], why[WHY_SIZE];
    if (mac_canonical(reading->text, mac, why, sizeof why) != 0)
        return COMPLAIN(reading, "mac: %s", why);
    return store_text(reading, mac);
}

static int read_limit(const struct reading *reading)
{
    char digits[16];
    size_t length = strlen(reading->text);
    struct failure_limit value = {.present = true};
    value.is_percent = length > 0 && reading->text[length - 1] == '%';
    unsigned long number;
    snprintf(digits, sizeof digits, "%.*s", (int)(length - (value.is_percent ? 1 : 0)),
             reading->text);
    if (length > 10 || parse_number(digits, &number) != 0)
        return COMPLAIN(reading, "%s must be a number like 3 or a share like 10%%, not '%s'",
                        reading->key->name, reading->text);
    if (value.is_percent && number > 100)
        return COMPLAIN(reading, "%s must be 0%%…100%%, not %s", reading->key->name, reading->text);
    value.value = (unsigned)number;
    memcpy(reading->member, &value, sizeof value);
    return 0;
}

/* "HH:MM" into minutes; returns the text behind it or NULL. */
static const char *parse_clock(const char *text, int *minutes)
{
    size_t hour = strspn(text, "0123456789");
    if (hour < 1 || hour > 2 || text[hour] != ':')
        return NULL;
    const char *minute = text + hour + 1;
    if (strspn(minute, "0123456789") != 2)
        return NULL;
    int h = (int)strtol(text, NULL, 10), m = (int)strtol(minute, NULL, 10);
    if (h > 23 || m > 59)
        return NULL;
    *minutes = h * 60 + m;
    return minute + 2;
}

static int read_window(const struct reading *reading)
{
    int from = 0, to = 0;
    const char *rest = parse_clock(reading->text, &from);
    if (rest != NULL && *rest == '-')
        rest = parse_clock(rest + 1, &to);
    else
        rest = NULL;
    if (rest == NULL || *rest != '\0')
        return COMPLAIN(reading, "window must be two times like 01:00-05:00, not '%s'",
                        reading->text);
    if (from == to)
        return COMPLAIN(reading, "the window '%s' is never open", reading->text);
    struct wave_spec *wave = reading->base;
    wave->window_from = from;
    wave->window_to = to;
    return 0;
}

int value_check_name(const char *text, char *why, size_t why_size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    size_t length = strlen(text), good = strspn(text, letters);
    if (length == 0)
        snprintf(why, why_size, "is an empty name");
    else if (length > 253)
        snprintf(why, why_size, "is longer than 253 characters");
    else if (good < length && ((unsigned char)text[good] <= ' ' || (unsigned char)text[good] > '~'))
        snprintf(why, why_size,
                 "'%s' has a character at place %zu that is no letter, digit, '-', '_' or '.'",
                 text, good + 1);
    else if (good < length)
        snprintf(why, why_size, "'%s' has a '%c' in it; letters, digits, '-', '_' and '.' are fine",
                 text, text[good]);
    else if (text[0] == '-' || text[0] == '.')
        snprintf(why, why_size, "'%s' begins with '%c'; begin with a letter or digit", text,
                 text[0]);
    else
        return 0;
    return -1;
}

int value_read(const struct context *context, const struct key *key, const char *text,
               struct position at, void *base)
{
    static int (*const readers[TYPE_COUNT])(const struct reading *) = {
        [TYPE_TEXT] = read_text,     [TYPE_COMMAND] = read_command,   [TYPE_FILE] = read_text,
        [TYPE_NAME] = read_name,     [TYPE_ADDRESS] = read_address,   [TYPE_USER] = read_user,
        [TYPE_NUMBER] = read_number, [TYPE_DURATION] = read_duration, [TYPE_SIZE] = read_size,
        [TYPE_CHOICE] = read_choice, [TYPE_HOSTKEY] = read_hostkey,   [TYPE_DEVICE] = read_device,
        [TYPE_IPV4] = read_ipv4,     [TYPE_DISK] = read_disk,         [TYPE_MAC] = read_mac,
        [TYPE_LIMIT] = read_limit,   [TYPE_WINDOW] = read_window,
    };
    struct reading reading = {context, key, text, at, (char *)base + key->offset, base};
    return readers[key->type](&reading);
}
