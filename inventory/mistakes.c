/* SPDX-License-Identifier: Apache-2.0 */
#include "mistakes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int mistakes_add(struct mistakes *mistakes, struct position at, const char *format, ...)
{
    if (mistakes->count == mistakes->room) {
        size_t room = mistakes->room == 0 ? 16 : mistakes->room * 2;
        struct mistake *items = realloc(mistakes->items, room * sizeof *items);
        if (items == NULL)
            return -1;
        mistakes->items = items;
        mistakes->room = room;
    }
    struct mistake *mistake = &mistakes->items[mistakes->count];
    va_list args;
    va_start(args, format);
    int length = vasprintf(&mistake->text, format, args);
    va_end(args);
    if (length < 0)
        return -1;
    mistake->at = at;
    mistake->sequence = mistakes->count++;
    return -1;
}

static int compare_places(const void *a, const void *b)
{
    const struct mistake *one = a, *other = b;
    if (one->at.line != other->at.line)
        return one->at.line < other->at.line ? -1 : 1;
    if (one->at.column != other->at.column)
        return one->at.column < other->at.column ? -1 : 1;
    return one->sequence < other->sequence ? -1 : 1;
}

void mistakes_tell(struct mistakes *mistakes, const char *file, struct diagnostics *list)
{
    if (mistakes->count > 0)
        qsort(mistakes->items, mistakes->count, sizeof *mistakes->items, compare_places);
    for (size_t i = 0; i < mistakes->count; i++) {
        const struct mistake *mistake = &mistakes->items[i];
        const struct mistake *before = i == 0 ? NULL : mistake - 1;
        if (before == NULL || before->at.line != mistake->at.line ||
            before->at.column != mistake->at.column)
            diagnostics_add(list, file, mistake->at, "%s", mistake->text);
    }
    for (size_t i = 0; i < mistakes->count; i++)
        free(mistakes->items[i].text);
    free(mistakes->items);
    *mistakes = (struct mistakes){0};
}
