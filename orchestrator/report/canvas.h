/* SPDX-License-Identifier: Apache-2.0 */
/* A picture on a terminal that is redrawn in place, below lines that scroll by. */
#ifndef REPORT_CANVAS_H
#define REPORT_CANVAS_H

#include "report/outbox.h"

struct canvas {
    int fd;                /* the terminal */
    struct outbox *outbox; /* writes to it */
    char *scroll;          /* lines that wait to go above the picture */
    size_t scroll_size;
    char *picture;          /* what is on the screen, NULL: nothing */
    unsigned columns, rows; /* of the terminal when it was drawn */
};

/* The terminal's size, 80 x 24 when it does not say. */
void canvas_measure(const struct canvas *canvas, unsigned *columns, unsigned *rows);

/* Draws a picture (lines parted by '\n'; taken over) over the last one, and what has to scroll
 * above it; columns and rows are the terminal's. Hides the cursor. */
void canvas_draw(struct canvas *canvas, char *picture, unsigned columns, unsigned rows);

/* A line, with its end, for above the picture; seen with the next drawing. */
void canvas_scroll(struct canvas *canvas, const char *line, size_t size);

/* Removes the picture and shows the cursor; extra (may be NULL) comes after what waits to scroll.
 * Waits until all is written. */
void canvas_put_away(struct canvas *canvas, const char *extra);

#endif
