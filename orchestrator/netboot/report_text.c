/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/report_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WORD_SIZE 24u

/* Cuts the next word off. False: there is none, or it is too long. */
static bool word_next(const char **text, char separator, char word[WORD_SIZE])
{
    size_t length = 0;
    while ((*text)[length] != '\0' && (*text)[length] != separator && (*text)[length] != '\n' &&
           (*text)[length] != '\r')
        length++;
    if (length == 0 || length >= WORD_SIZE)
        return false;
    memcpy(word, *text, length);
    word[length] = '\0';
    *text += length;
    if (**text == separator)
        ++*text;
    return true;
}

/* Digits only, in base 10, or 16 where they begin with 0x. */
static bool number_parse(const char *word, int base, uint64_t max, uint64_t *number)
{
    if (base == 10 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
        base = 16;
        word += 2;
    }
    size_t digits = strspn(word, base == 16 ? "0123456789abcdefABCDEF" : "0123456789");
    if (digits == 0 || digits > 16 || word[digits] != '\0')
        return false;
    *number = strtoull(word, NULL, base);
    return *number <= max;
}

static bool crc_parse(const char **text, char separator, struct netboot_report *report)
{
    char word[WORD_SIZE];
    uint64_t crc;
    if (!word_next(text, separator, word) || !number_parse(word, 16, UINT32_MAX, &crc))
        return false;
    report->has_crc = true;
    report->crc = (uint32_t)crc;
    return true;
}

static bool bytes_parse(const char **text, char separator, struct netboot_report *report)
{
    char word[WORD_SIZE];
    return word_next(text, separator, word) &&
           number_parse(word, 10, UINT64_MAX >> 1, &report->bytes);
}

static bool at_end(const char *text)
{
    return text[strspn(text, "\r\n")] == '\0';
}

static bool ok_parse(const char **text, char separator, struct netboot_report *report)
{
    return bytes_parse(text, separator, report) &&
           (at_end(*text) || crc_parse(text, separator, report)) && at_end(*text);
}

/* Words are parted by spaces, or in a report sent as a file by what the script put there. */
static bool ends_with_word(const char *text, const char *word)
{
    size_t length = strlen(text), tail = strlen(word);
    return length >= tail && strcmp(text + length - tail, word) == 0 &&
           (length == tail || strchr(" -", text[length - tail - 1]) != NULL);
}

/* What is behind the number of bytes is the reason, whatever it is. */
static bool failed_parse(const char **text, char separator, struct netboot_report *report)
{
    if (!bytes_parse(text, separator, report))
        return false;
    size_t length = 0;
    for (const char *c = *text; *c != '\0' && *c != '\n' && *c != '\r'; c++) {
        if (length + 1 == sizeof report->reason)
            break;
        report->reason[length++] = *c == separator ? ' ' : isprint((unsigned char)*c) ? *c : '?';
    }
    report->no_fetch = ends_with_word(report->reason, REPORT_FETCH);
    return true;
}

static bool part_parse(const char **text, char separator, struct netboot_report *report)
{
    char word[WORD_SIZE];
    uint64_t part;
    if (!word_next(text, separator, word) || !number_parse(word, 10, 99999, &part))
        return false;
    report->part = (unsigned)part;
    return bytes_parse(text, separator, report) && crc_parse(text, separator, report) &&
           at_end(*text);
}

int report_text_parse(const char *text, char separator, struct netboot_report *report)
{
    static const struct {
        const char *word;
        enum report_kind kind;
        bool (*parse)(const char **text, char separator, struct netboot_report *report);
    } kinds[] = {
        {"OK", REPORT_OK, ok_parse},
        {"FAILED", REPORT_FAILED, failed_parse},
        {"PART", REPORT_PART, part_parse},
    };
    char word[WORD_SIZE];
    memset(report, 0, sizeof *report);
    if (!word_next(&text, separator, word))
        return -1;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(word, kinds[i].word) != 0)
            continue;
        report->kind = kinds[i].kind;
        return kinds[i].parse(&text, separator, report) ? 0 : -1;
    }
    return -1;
}

bool report_crc_equals(const struct netboot_report *report, uint32_t crc)
{
    return report->has_crc && (report->crc == crc || report->crc == __builtin_bswap32(crc));
}
