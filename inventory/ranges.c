/* SPDX-License-Identifier: Apache-2.0 */
#include "ranges.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 9u /* fits 32 bits */

static size_t digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* Reads "[02:24]" at text into range number n. Returns its length or 0 with a reason. */
static size_t parse_one(const char *text, struct range_pattern *out, unsigned n, char *why,
                        size_t why_size)
{
    size_t first = digits(text + 1);
    size_t second = text[1 + first] == ':' ? digits(text + first + 2) : 0;
    size_t close = strcspn(text, "]");
    int shown = (int)(close < 24 ? close + (text[close] == ']' ? 1 : 0) : 24);
    if (first == 0 || second == 0 || text[first + second + 2] != ']') {
        snprintf(why, why_size, "'%.*s' is no range of numbers like [02:24]", shown, text);
        return 0;
    }
    if (first > DIGITS_MAX || second > DIGITS_MAX) {
        snprintf(why, why_size, "the numbers of '%.*s' are too large", shown, text);
        return 0;
    }
    uint32_t from = (uint32_t)strtoul(text + 1, NULL, 10);
    uint32_t to = (uint32_t)strtoul(text + first + 2, NULL, 10);
    if (to < from) {
        snprintf(why, why_size, "the range '%.*s' runs backwards", shown, text);
        return 0;
    }
    bool is_padded = (first > 1 && text[1] == '0') || (second > 1 && text[first + 2] == '0');
    if (is_padded && first != second) {
        snprintf(why, why_size, "the numbers of '%.*s' are padded to different widths", shown,
                 text);
        return 0;
    }
    out->range[n].first = from;
    out->range[n].size = to - from + 1;
    out->range[n].width = is_padded ? (int)first : 0;
    return first + second + 3;
}

int range_parse(const char *text, struct range_pattern *out, char *why, size_t why_size)
{
    *out = (struct range_pattern){.total = 1};
    for (;;) {
        size_t length = strcspn(text, "[]");
        out->literal[out->count].text = text;
        out->literal[out->count].length = length;
        text += length;
        if (*text == '\0')
            return 0;
        if (*text == ']') {
            snprintf(why, why_size, "a ']' without '['");
            return -1;
        }
        if (out->count == RANGES_MAX) {
            snprintf(why, why_size, "more than %u ranges in one text", RANGES_MAX);
            return -1;
        }
        size_t used = parse_one(text, out, out->count, why, why_size);
        if (used == 0)
            return -1;
        if (__builtin_mul_overflow(out->total, (size_t)out->range[out->count].size, &out->total))
            out->total = SIZE_MAX;
        out->count++;
        text += used;
    }
}

int range_expand(const struct range_pattern *pattern, size_t index, char *out, size_t out_size)
{
    uint32_t numbers[RANGES_MAX] = {0};
    for (unsigned i = pattern->count; i-- > 0;) {
        numbers[i] = pattern->range[i].first + (uint32_t)(index % pattern->range[i].size);
        index /= pattern->range[i].size;
    }
    size_t used = 0;
    for (unsigned i = 0; i <= pattern->count; i++) {
        int n = snprintf(out + used, out_size - used, "%.*s", (int)pattern->literal[i].length,
                         pattern->literal[i].text);
        if (n < 0 || (size_t)n >= out_size - used)
            return -1;
        used += (size_t)n;
        if (i == pattern->count)
            break;
        n = snprintf(out + used, out_size - used, "%0*u", pattern->range[i].width, numbers[i]);
        if (n < 0 || (size_t)n >= out_size - used)
            return -1;
        used += (size_t)n;
    }
    return 0;
}

int range_goes_along(const struct range_pattern *names, const struct range_pattern *value)
{
    if (value->count == 0)
        return 1;
    if (value->total != names->total)
        return 0;
    if (value->count == 1)
        return 1;
    if (value->count != names->count)
        return 0;
    for (unsigned i = 0; i < value->count; i++) {
        if (value->range[i].size != names->range[i].size)
            return 0;
    }
    return 1;
}
