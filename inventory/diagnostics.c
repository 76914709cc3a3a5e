/* SPDX-License-Identifier: Apache-2.0 */
#include "inventory.h"

#include "utf8.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Texts quote the file and go to a terminal: no escape sequence may come through, and no byte that
 * some terminals take for the beginning of one because it is no UTF-8. */
static void defuse(char *text)
{
    size_t left = strlen(text), length;
    for (unsigned char *c = (unsigned char *)text; left > 0; c += length, left -= length) {
        length = utf8_length(c, left);
        bool is_c1 = length == 2 && c[0] == 0xc2 && c[1] < 0xa0; /* controls, too */
        if (length == 0)
            length = 1;
        else if (!is_c1 && c[0] >= 0x20 && c[0] != 0x7f)
            continue;
        memset(c, '?', length);
    }
}

/* "file:12:9: " or, without a place, "file: ". */
static int print_place(char **out, const char *file, struct position at)
{
    if (at.line == 0)
        return asprintf(out, "%s: ", file);
    return asprintf(out, "%s:%u:%u: ", file, at.line, at.column);
}

/* The list with room for one more: it doubles whenever its count is a power of two. */
static char **with_room(struct diagnostics *list)
{
    if ((list->count & (list->count - 1)) != 0)
        return list->texts;
    size_t room = list->count == 0 ? 1 : list->count * 2;
    return realloc(list->texts, room * sizeof *list->texts);
}

void diagnostics_add(struct diagnostics *list, const char *file, struct position at,
                     const char *format, ...)
{
    char *place = NULL, *text = NULL, *line = NULL;
    va_list args;
    va_start(args, format);
    int printed = vasprintf(&text, format, args);
    va_end(args);
    if (printed < 0)
        text = NULL;
    if (print_place(&place, file, at) < 0)
        place = NULL;
    if (text != NULL && place != NULL && asprintf(&line, "%s%s", place, text) < 0)
        line = NULL;
    free(place);
    free(text);
    char **texts = line == NULL ? NULL : with_room(list);
    if (texts == NULL) {
        free(line);
        return;
    }
    defuse(line);
    list->texts = texts;
    list->texts[list->count++] = line;
}

void diagnostics_free(struct diagnostics *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->texts[i]);
    free(list->texts);
    *list = (struct diagnostics){0};
}
