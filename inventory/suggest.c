/* SPDX-License-Identifier: Apache-2.0 */
#include "suggest.h"

#include <stdio.h>
#include <string.h>

#define WORD_MAX 40

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned d = a < b ? a : b;
    return d < c ? d : c;
}

/* Optimal string alignment distance. */
unsigned suggest_distance(const char *one, const char *other)
{
    size_t n = strlen(one), m = strlen(other);
    if (n > WORD_MAX || m > WORD_MAX)
        return (unsigned)(n > m ? n : m);
    unsigned rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned change = one[i - 1] == other[j - 1] ? 0 : 1;
            row[j] = least(above[j] + 1, row[j - 1] + 1, above[j - 1] + change);
            if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] &&
                higher[j - 2] + 1 < row[j])
                row[j] = higher[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

void suggest_consider(struct suggestion *suggestion, const char *candidate)
{
    size_t length = strlen(suggestion->word);
    unsigned bound = length < 3 ? 1 : (unsigned)(length + 2) / 3;
    unsigned distance = suggest_distance(suggestion->word, candidate);
    if (distance > bound || distance >= strlen(candidate))
        return;
    if (suggestion->nearest == NULL || distance < suggestion->distance) {
        suggestion->nearest = candidate;
        suggestion->distance = distance;
    }
}

char *suggest_text(const struct suggestion *suggestion, char *out, size_t out_size)
{
    if (suggestion->nearest == NULL)
        out[0] = '\0';
    else
        snprintf(out, out_size, " (did you mean '%s'?)", suggestion->nearest);
    return out;
}
