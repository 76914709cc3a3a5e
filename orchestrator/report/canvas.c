/* SPDX-License-Identifier: Apache-2.0 */
#include "report/canvas.h"

#include "report/terminal.h"
#include "report/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define SCROLL_MAX (256u * 1024u)

void canvas_measure(const struct canvas *canvas, unsigned *columns, unsigned *rows)
{
    struct winsize size = {0};
    ioctl(canvas->fd, TIOCGWINSZ, &size);
    *columns = size.ws_col > 0 ? size.ws_col : 80;
    *rows = size.ws_row > 0 ? size.ws_row : 24;
}

/* Columns of a line of the picture, which may hold colours. */
static unsigned painted_columns(const char *line, size_t size)
{
    unsigned columns = 0;
    const char *at = line;
    while (at < line + size) {
        if (*at == '\x1b') {
            at += strcspn(at, "m") + 1;
            continue;
        }
        const char *start = at;
        char one[8];
        text_next(&at);
        snprintf(one, sizeof one, "%.*s", (int)(at - start), start);
        columns += text_columns(one);
    }
    return columns;
}

/* Rows from the first to the last of the picture as the terminal shows it now: one that became
 * narrower has broken the long lines. */
static unsigned picture_height(const struct canvas *canvas, unsigned columns)
{
    unsigned height = 0;
    for (const char *line = canvas->picture; line != NULL;) {
        size_t size = strcspn(line, "\n");
        unsigned width = columns < canvas->columns ? painted_columns(line, size) : 0;
        height += width > columns ? (width + columns - 1) / columns : 1;
        line = line[size] == '\n' ? line + size + 1 : NULL;
    }
    return height;
}

/* Removes the picture; the cursor stands where it began. */
static void erase(struct canvas *canvas, FILE *out)
{
    if (canvas->picture == NULL)
        return;
    unsigned columns, rows;
    canvas_measure(canvas, &columns, &rows);
    unsigned height = picture_height(canvas, columns);
    fputc('\r', out);
    if (height > 1)
        fprintf(out, "\x1b[%uA", height - 1);
    fputs("\x1b[J", out);
    free(canvas->picture);
    canvas->picture = NULL;
}

/* "\n" in text as a terminal in any mode wants it. */
static void put_lines(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputc('\r', out);
        fputc(*text, out);
    }
}

static void put_scroll(struct canvas *canvas, FILE *out)
{
    if (canvas->scroll_size == 0)
        return;
    put_lines(out, canvas->scroll);
    free(canvas->scroll);
    canvas->scroll = NULL;
    canvas->scroll_size = 0;
}

/* Draws picture over the old one of as many lines, touching only the lines that differ. The cursor
 * rests at the last line. */
static void put_changes(const struct canvas *canvas, const char *picture, unsigned height,
                        FILE *out)
{
    const char *old = canvas->picture;
    unsigned at = height - 1;
    for (unsigned i = 0; i < height; i++) {
        size_t size = strcspn(picture, "\n");
        size_t old_size = strcspn(old, "\n");
        if (size != old_size || memcmp(picture, old, size) != 0) {
            fputc('\r', out);
            if (i < at)
                fprintf(out, "\x1b[%uA", at - i);
            else if (i > at)
                fprintf(out, "\x1b[%uB", i - at);
            at = i;
            fprintf(out, "%.*s\x1b[K", (int)size, picture);
        }
        picture += size + (picture[size] == '\n');
        old += old_size + (old[old_size] == '\n');
    }
    if (at < height - 1)
        fprintf(out, "\x1b[%uB", height - 1 - at);
}

static unsigned line_count(const char *text)
{
    unsigned count = 1;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

static void hand_over(struct canvas *canvas, FILE *out, char **text, const size_t *size)
{
    fclose(out);
    if (*text != NULL && *size > 0)
        outbox_add(canvas->outbox, *text, *size);
    free(*text);
}

void canvas_draw(struct canvas *canvas, char *picture, unsigned columns, unsigned rows)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        free(picture);
        return;
    }
    if (!terminal_is_hidden()) {
        terminal_note_hidden(canvas->fd);
        fputs(TERMINAL_HIDE, out);
    }
    unsigned height = line_count(picture);
    if (canvas->picture == NULL || canvas->scroll_size > 0 || columns != canvas->columns ||
        rows != canvas->rows || height != line_count(canvas->picture)) {
        erase(canvas, out);
        put_scroll(canvas, out);
        put_lines(out, picture);
    } else {
        put_changes(canvas, picture, height, out);
    }
    free(canvas->picture);
    canvas->picture = picture;
    canvas->columns = columns;
    canvas->rows = rows;
    hand_over(canvas, out, &text, &size);
}

void canvas_put_away(struct canvas *canvas, const char *extra)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return;
    erase(canvas, out);
    put_scroll(canvas, out);
    if (extra != NULL)
        put_lines(out, extra);
    if (terminal_is_hidden())
        fputs(TERMINAL_SHOW, out);
    hand_over(canvas, out, &text, &size);
    outbox_flush(canvas->outbox);
    terminal_note_shown();
}

void canvas_scroll(struct canvas *canvas, const char *line, size_t size)
{
    char *scroll = canvas->scroll_size + size < SCROLL_MAX
                       ? realloc(canvas->scroll, canvas->scroll_size + size + 1)
                       : NULL;
    if (scroll == NULL)
        return;
    memcpy(scroll + canvas->scroll_size, line, size);
    scroll[canvas->scroll_size + size] = '\0';
    canvas->scroll = scroll;
    canvas->scroll_size += size;
}
