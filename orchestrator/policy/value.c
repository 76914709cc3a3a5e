/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/value.h"
#include "base/units.h"

#include <fleetflash/policy.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *word;
    uint64_t value;
} words[] = {{"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0}, {"on", 1}, {"off", 0}};

static int parse_bool(const char *text, uint64_t *number)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i].word) == 0) {
            *number = words[i].value;
            return 0;
        }
    }
    return -1;
}

int policy_value_parse(int type, const char *text, uint64_t *number)
{
    switch (type) {
    case FF_TYPE_DURATION:
        return units_parse_duration(text, number);
    case FF_TYPE_BOOL:
        return parse_bool(text, number);
    default:
        return -1;
    }
}

const char *policy_value_expected(int type)
{
    switch (type) {
    case FF_TYPE_DURATION:
        return "a duration such as 90s or 5m";
    case FF_TYPE_BOOL:
        return "yes or no";
    default:
        return NULL;
    }
}
