/* SPDX-License-Identifier: Apache-2.0 */
/* Text on its way to a person or a machine. Whatever comes from a device is hostile: no control
 * character of it may reach a terminal, and no broken UTF-8 a JSON document. */
#ifndef REPORT_TEXT_H
#define REPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_MAX 2048u /* bytes that a cleaned text may take */

/* What the place where text goes can show. */
struct paint {
    bool utf8;
    bool colour;
};

/* For a file descriptor: UTF-8 by the locale (setlocale(LC_CTYPE, "") comes first, in main), colour
 * when it is a terminal, TERM is neither unset nor "dumb", and NO_COLOR (no-color.org) is not set.
 */
struct paint paint_for(int fd);

/* Escape sequences, "" without colour. */
enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_DIM, COLOUR_RED, COLOUR_GREEN, COLOUR_YELLOW };
const char *paint_begin(const struct paint *paint, enum colour colour);
const char *paint_end(const struct paint *paint, enum colour colour);

/* Decodes one character of UTF-8 (RFC 3629) at *at, which must not be at the end, and moves on.
 * Returns TEXT_INVALID, moving on by one byte, when it is none. */
#define TEXT_INVALID UINT32_MAX
uint32_t text_next(const char **at);

/* Copies text (NULL: nothing) fit for one line of a terminal: line breaks and tabs become a space,
 * control characters, those that turn the writing direction, broken UTF-8 and, without utf8, all
 * that is not ASCII become \x1b or \u202e. Cut at out_size. Returns out. */
char *text_clean(const char *text, bool utf8, char *out, size_t out_size);

/* Copies text (NULL: nothing) as valid UTF-8 for jansson, which escapes the C0 control characters
 * itself; DEL, C1 controls and broken bytes become U+FFFD. Returns out. */
char *text_valid(const char *text, char *out, size_t out_size);

/* Prints text (NULL: nothing) for XML and HTML, in elements as well as in quoted attributes:
 * cleaned as for a UTF-8 terminal, whatever the locale, without the characters that XML 1.0 does
 * not know, and with & < > " ' as entities. */
void text_put_markup(FILE *out, const char *text);

/* Terminal columns of a cleaned text. */
unsigned text_columns(const char *clean);

/* Copies a cleaned text cut to that many columns, its end marked with "…" (ASCII: "~") where
 * something was cut. Returns out. */
char *text_fit(const char *clean, unsigned columns, bool utf8, char *out, size_t out_size);

/* Prints a cleaned text broken at spaces so that no line exceeds width columns (0: not broken). The
 * cursor stands at column `column`; further lines begin with indent spaces. No line end at the end.
 */
void text_wrap(FILE *out, const char *clean, unsigned column, unsigned indent, unsigned width);

/* "2026-11-20T23:01:05.123Z" (RFC 3339, UTC) for a Unix time in ms. Returns out. */
#define TEXT_TIME_SIZE 32u
char *text_time(uint64_t unix_ms, char out[static TEXT_TIME_SIZE]);

#endif
