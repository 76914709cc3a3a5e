/* SPDX-License-Identifier: Apache-2.0 */
#include "report/row.h"

void row_next(struct row *row, unsigned columns)
{
    fputc('\n', row->out);
    row->left = columns;
}

void row_put(struct row *row, enum colour colour, const char *text, unsigned width, bool pad)
{
    char clean[TEXT_MAX];
    char fitted[TEXT_MAX];
    if (width > row->left)
        width = row->left;
    text_clean(text, row->paint->utf8, clean, sizeof clean);
    text_fit(clean, width, row->paint->utf8, fitted, sizeof fitted);
    unsigned used = text_columns(fitted);
    if (used > 0)
        fprintf(row->out, "%s%s%s", paint_begin(row->paint, colour), fitted,
                paint_end(row->paint, colour));
    if (pad) {
        fprintf(row->out, "%*s", (int)(width - used), "");
        used = width;
    }
    row->left -= used;
}

void row_rest(struct row *row, enum colour colour, const char *text)
{
    row_put(row, colour, text, row->left, false);
}

void row_gap(struct row *row, unsigned width)
{
    row_put(row, COLOUR_NONE, "", width, true);
}

void row_right(struct row *row, const char *text, unsigned width)
{
    unsigned used = text_columns(text);
    if (used < width)
        row_gap(row, width - used);
    row_put(row, COLOUR_NONE, text, used, false);
}

void row_bar(struct row *row, enum colour colour, uint64_t done, uint64_t total, unsigned width)
{
    if (width > row->left)
        width = row->left;
    unsigned full = total > 0 && done < total ? (unsigned)(done * width / total) : width;
    fputs(paint_begin(row->paint, colour), row->out);
    for (unsigned i = 0; i < full; i++)
        fputs(row->paint->utf8 ? "━" : "#", row->out);
    fputs(paint_end(row->paint, colour), row->out);
    fputs(paint_begin(row->paint, COLOUR_DIM), row->out);
    for (unsigned i = full; i < width; i++)
        fputs(row->paint->utf8 ? "─" : ".", row->out);
    fputs(paint_end(row->paint, COLOUR_DIM), row->out);
    row->left -= width;
}

void row_percent(struct row *row, uint64_t done, uint64_t total)
{
    char text[16];
    uint64_t percent = total == 0 ? 0 : done >= total ? 100 : done * 100 / total;
    snprintf(text, sizeof text, "%3u%%", (unsigned)percent);
    row_right(row, text, 5);
}

void row_count(struct row *row, enum colour colour, size_t count, const char *words)
{
    char text[64];
    if (count == 0)
        return;
    snprintf(text, sizeof text, "%zu %s  ", count, words);
    row_rest(row, colour, text);
}
