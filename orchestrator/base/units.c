/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit durations[] = {{"ms", 1},       {"s", 1000},    {"", 1000},
                                        {"m", 60000},    {"min", 60000}, {"h", 3600000},
                                        {"d", 86400000}, {NULL, 0}};

static const struct unit sizes[] = {
    {"", 1},          {"B", 1},       {"K", 1 << 10},   {"KiB", 1 << 10},  {"M", 1 << 20},
    {"MiB", 1 << 20}, {"G", 1 << 30}, {"GiB", 1 << 30}, {"T", 1ULL << 40}, {"TiB", 1ULL << 40},
    {NULL, 0}};

/* A whole number followed by one of the units. */
static int parse_with_unit(const char *text, const struct unit *units, uint64_t *out)
{
    if (text[0] < '0' || text[0] > '9')
        return -1;
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0)
        return -1;
    for (const struct unit *unit = units; unit->suffix != NULL; unit++) {
        if (strcmp(end, unit->suffix) == 0)
            return __builtin_mul_overflow((uint64_t)number, unit->factor, out) ? -1 : 0;
    }
    return -1;
}

int units_parse_duration(const char *text, uint64_t *milliseconds)
{
    return parse_with_unit(text, durations, milliseconds);
}

int units_parse_size(const char *text, uint64_t *bytes)
{
    return parse_with_unit(text, sizes, bytes);
}

char *units_format_size(uint64_t bytes, char *out, size_t out_size)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof names / sizeof *names) {
        value /= 1024;
        unit++;
    }
    snprintf(out, out_size, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, names[unit]);
    return out;
}

char *units_format_duration(uint64_t milliseconds, char *out, size_t out_size)
{
    uint64_t seconds = (milliseconds + 500) / 1000;
    if (seconds < 60)
        snprintf(out, out_size, "%" PRIu64 "s", seconds);
    else if (seconds < 3600)
        snprintf(out, out_size, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
    else
        snprintf(out, out_size, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
    return out;
}
