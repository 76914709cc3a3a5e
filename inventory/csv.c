/* SPDX-License-Identifier: Apache-2.0 */
#include "csv.h"

#include <stdio.h>
#include <string.h>

#define BLANKS " \t"

char csv_separator(const char *line)
{
    static const char separators[] = ";\t,|";
    for (const char *s = separators; *s != '\0'; s++) {
        int quoted = 0;
        for (const char *c = line; *c != '\0'; c++) {
            if (*c == '"')
                quoted = !quoted;
            else if (*c == *s && !quoted)
                return *s;
        }
    }
    return ' ';
}

static char *skip_blanks(char *at, char separator)
{
    while (*at != '\0' && *at != separator && strchr(BLANKS, *at) != NULL)
        at++;
    return at;
}

/* A cell in quotes, written over itself without them. Returns what follows its last quote. */
static char *take_quoted(char *at, char **cell)
{
    char *to = *cell = at + 1;
    for (at++; *at != '\0'; at++) {
        if (*at == '"' && at[1] != '"') {
            *to = '\0';
            return at + 1;
        }
        if (*at == '"')
            at++;
        *to++ = *at;
    }
    return NULL;
}

/* A bare cell. Returns the separator behind it, or the line's end; the cell is not terminated yet,
 * since its end may be that separator. */
static char *take_bare(char *at, char separator, char **cell, char **cell_end)
{
    *cell = at;
    while (*at != '\0' && *at != separator && !(separator == ' ' && *at == '\t'))
        at++;
    *cell_end = at;
    while (*cell_end > *cell && strchr(BLANKS, (*cell_end)[-1]) != NULL)
        (*cell_end)--;
    return at;
}

static char *take_cell(char *at, char separator, struct csv_line *out)
{
    char **cell = &out->cells[out->count++];
    if (*at == '"') {
        at = take_quoted(at, cell);
        return at == NULL ? NULL : skip_blanks(at, separator);
    }
    char *end;
    at = take_bare(at, separator, cell, &end);
    if (end < at)
        *end = '\0';
    return at;
}

int csv_split(char *line, char separator, struct csv_line *out, char *why, size_t why_size)
{
    memset(out, 0, sizeof *out);
    char *at = line;
    while (1) {
        at = separator == ' ' ? at + strspn(at, BLANKS) : skip_blanks(at, separator);
        if (separator == ' ' && *at == '\0')
            return 0;
        if (out->count == CSV_CELLS_MAX) {
            snprintf(why, why_size, "more than %d cells", CSV_CELLS_MAX);
            return -1;
        }
        out->columns[out->count] = (unsigned)(at - line) + 1;
        at = take_cell(at, separator, out);
        if (at == NULL) {
            snprintf(why, why_size, "the quote does not end in this line");
            return -1;
        }
        if (*at == '\0')
            return 0;
        if (*at != separator && !(separator == ' ' && *at == '\t')) {
            snprintf(why, why_size, "'%c' follows the end of a quoted cell", *at);
            return -1;
        }
        *at++ = '\0';
    }
}
