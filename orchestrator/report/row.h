/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the live picture that grows until its columns are used up: nothing put into it can make
 * it too wide. */
#ifndef REPORT_ROW_H
#define REPORT_ROW_H

#include "report/text.h"

struct row {
    FILE *out;
    const struct paint *paint;
    unsigned left; /* columns */
};

/* Begins the next line, of that many columns. */
void row_next(struct row *row, unsigned columns);

/* Puts a text cut (and, with pad, filled up) to width columns. */
void row_put(struct row *row, enum colour colour, const char *text, unsigned width, bool pad);

/* Puts as much of a text as there is room for. */
void row_rest(struct row *row, enum colour colour, const char *text);

void row_gap(struct row *row, unsigned width);

/* Puts a text at the right end of width columns. */
void row_right(struct row *row, const char *text, unsigned width);

void row_bar(struct row *row, enum colour colour, uint64_t done, uint64_t total, unsigned width);

/* " 47%", five columns. */
void row_percent(struct row *row, uint64_t done, uint64_t total);

/* "3 words  ", nothing for 0. */
void row_count(struct row *row, enum colour colour, size_t count, const char *words);

#endif
