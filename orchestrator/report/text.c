/* SPDX-License-Identifier: Apache-2.0 */
#include "report/text.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

struct paint paint_for(int fd)
{
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    return (struct paint){
        .utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
        .colour = isatty(fd) && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0 &&
                  (no_color == NULL || no_color[0] == '\0'),
    };
}

const char *paint_begin(const struct paint *paint, enum colour colour)
{
    static const char *const codes[] = {"",         "\x1b[1m",  "\x1b[2m",
                                        "\x1b[31m", "\x1b[32m", "\x1b[33m"};
    return paint->colour ? codes[colour] : "";
}

const char *paint_end(const struct paint *paint, enum colour colour)
{
    return paint->colour && colour != COLOUR_NONE ? "\x1b[0m" : "";
}

uint32_t text_next(const char **at)
{
    const unsigned char *c = (const unsigned char *)*at;
    unsigned more = 0;
    uint32_t code = c[0];
    uint32_t least = 0;
    (*at)++;
    if (c[0] < 0x80)
        return code;
    if (c[0] >= 0xc2 && c[0] <= 0xdf) {
        more = 1, code &= 0x1f, least = 0x80;
    } else if ((c[0] & 0xf0) == 0xe0) {
        more = 2, code &= 0x0f, least = 0x800;
    } else if (c[0] >= 0xf0 && c[0] <= 0xf4) {
        more = 3, code &= 0x07, least = 0x10000;
    } else {
        return TEXT_INVALID;
    }
    for (unsigned i = 1; i <= more; i++) {
        if ((c[i] & 0xc0) != 0x80) /* also stops at the end */
            return TEXT_INVALID;
        code = code << 6 | (c[i] & 0x3f);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return TEXT_INVALID;
    *at += more;
    return code;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

/* Invisible ones that turn the direction of what follows, or hide. */
static bool is_trickery(uint32_t code)
{
    return (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || code == 0xad ||
           (code >= 0xe0000 && code <= 0xe0fff);
}

/* Punctuation of our own sentences, for terminals without UTF-8. */
static const char *ascii_for(uint32_t code)
{
    static const struct {
        uint32_t code;
        const char *ascii;
    } table[] = {{0x2026, "..."}, {0x2014, "-"},  {0x2013, "-"}, {0x2019, "'"},
                 {0xd7, "x"},     {0x2192, "->"}, {0xb7, ","}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].code == code)
            return table[i].ascii;
    }
    return NULL;
}

/* One character as it may be shown; start is where it stands in the text. */
static void show(uint32_t code, const char *start, size_t bytes, bool utf8, char out[static 16])
{
    const char *ascii = utf8 || code < 0x80 ? NULL : ascii_for(code);
    if (code == '\n' || code == '\t' || code == '\r')
        memcpy(out, " ", 2);
    else if (code == TEXT_INVALID || is_control(code))
        snprintf(out, 16, "\\x%02x",
                 code == TEXT_INVALID ? (unsigned)(unsigned char)*start : (unsigned)code);
    else if (ascii != NULL)
        snprintf(out, 16, "%s", ascii);
    else if (code >= 0x80 && (!utf8 || is_trickery(code) || wcwidth((wchar_t)code) < 0))
        snprintf(out, 16, "\\u%04x", (unsigned)code);
    else
        snprintf(out, 16, "%.*s", (int)bytes, start);
}

char *text_clean(const char *text, bool utf8, char *out, size_t out_size)
{
    size_t length = 0;
    const char *at = text != NULL ? text : "";
    while (*at != '\0') {
        const char *start = at;
        char shown[16];
        uint32_t code = text_next(&at);
        show(code, start, (size_t)(at - start), utf8, shown);
        size_t size = strlen(shown);
        if (length + size >= out_size)
            break;
        memcpy(out + length, shown, size);
        length += size;
    }
    out[length] = '\0';
    return out;
}

void text_put_markup(FILE *out, const char *text)
{
    static const char *const entities[128] = {
        ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;"};
    const char *at = text != NULL ? text : "";
    while (*at != '\0') {
        const char *start = at;
        uint32_t code = text_next(&at);
        if (code == '\n' || code == '\t' || code == '\r')
            fputc(' ', out);
        else if (code < 128 && entities[code] != NULL)
            fputs(entities[code], out);
        else if (code == TEXT_INVALID || is_control(code))
            fprintf(out, "\\x%02x", code == TEXT_INVALID ? (unsigned char)*start : (unsigned)code);
        else if (is_trickery(code) || (code & 0xfffe) == 0xfffe)
            fprintf(out, "\\u%04x", (unsigned)code);
        else
            fwrite(start, 1, (size_t)(at - start), out);
    }
}

char *text_valid(const char *text, char *out, size_t out_size)
{
    size_t length = 0;
    const char *at = text != NULL ? text : "";
    while (*at != '\0') {
        const char *start = at;
        uint32_t code = text_next(&at);
        size_t size = (size_t)(at - start);
        if (code == TEXT_INVALID || (code >= 0x7f && code <= 0x9f)) {
            start = "\xef\xbf\xbd";
            size = 3;
        }
        if (length + size >= out_size)
            break;
        memcpy(out + length, start, size);
        length += size;
    }
    out[length] = '\0';
    return out;
}

static unsigned columns_of(uint32_t code)
{
    int width = code < 0x80 || code == TEXT_INVALID ? 1 : wcwidth((wchar_t)code);
    return width < 0 ? 1 : (unsigned)width;
}

unsigned text_columns(const char *clean)
{
    unsigned columns = 0;
    while (*clean != '\0')
        columns += columns_of(text_next(&clean));
    return columns;
}

/* The longest beginning of at most that many columns. */
static const char *cut_at(const char *clean, unsigned columns)
{
    while (*clean != '\0') {
        const char *next = clean;
        unsigned width = columns_of(text_next(&next));
        if (width > columns)
            break;
        columns -= width;
        clean = next;
    }
    return clean;
}

char *text_fit(const char *clean, unsigned columns, bool utf8, char *out, size_t out_size)
{
    if (text_columns(clean) <= columns)
        snprintf(out, out_size, "%s", clean);
    else if (columns == 0)
        out[0] = '\0';
    else
        snprintf(out, out_size, "%.*s%s", (int)(cut_at(clean, columns - 1) - clean), clean,
                 utf8 ? "…" : "~");
    return out;
}

void text_wrap(FILE *out, const char *clean, unsigned column, unsigned indent, unsigned width)
{
    if (width == 0) {
        fputs(clean, out);
        return;
    }
    if (indent + 8 > width)
        indent = 0;
    while (text_columns(clean) + column > width) {
        const char *limit = cut_at(clean, width > column ? width - column : 0);
        const char *end = limit;
        if (end == clean && column <= indent)
            break; /* a character wider than the line */
        while (end > clean && *end != ' ')
            end--;
        if (end == clean && column <= indent)
            end = limit; /* a word longer than the line */
        while (end > clean + 1 && end[-1] == ' ')
            end--;
        fprintf(out, "%.*s\n%*s", (int)(end - clean), clean, (int)indent, "");
        clean = end + strspn(end, " ");
        column = indent;
    }
    fputs(clean, out);
}

char *text_time(uint64_t unix_ms, char out[static TEXT_TIME_SIZE])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t length = strftime(out, TEXT_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + length, TEXT_TIME_SIZE - length, ".%03uZ", (unsigned)(unix_ms % 1000));
    return out;
}
