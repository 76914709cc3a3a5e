/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of cells, as spreadsheets and scripts write them. Cells do not go over several lines. */
#ifndef INVENTORY_CSV_H
#define INVENTORY_CSV_H

#include <stddef.h>

#define CSV_CELLS_MAX 16

/* One line taken apart; the cells point into the line itself, which was changed for it. */
struct csv_line {
    size_t count;
    char *cells[CSV_CELLS_MAX];      /* without blanks and quotes around them */
    unsigned columns[CSV_CELLS_MAX]; /* where each began in the line, in bytes from 1 */
};

/* What separates the cells of a file: of ';', '\t', ',' and '|' the first one that the line has
 * outside quotes, else ' ' (any run of blanks). */
char csv_separator(const char *line);

/* Takes a line (without its end) apart. A doubled quote inside quotes is one. Returns 0, or -1 and
 * a sentence in why: a quote that does not end, or more than CSV_CELLS_MAX cells. */
int csv_split(char *line, char separator, struct csv_line *out, char *why, size_t why_size);

#endif
