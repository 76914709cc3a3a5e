/* SPDX-License-Identifier: Apache-2.0 */
/* The live screen on a pseudo-terminal that remembers all that was written to it. */
#ifndef SCREEN_SCENE_H
#define SCREEN_SCENE_H

#include "report/screen.h"
#include "report_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uv.h>

/* --- the terminal -------------------------------------------------------------------------- */

struct terminal {
    int master, slave;
    uv_thread_t reader;
    uv_mutex_t mutex; /* of what follows */
    char *text;
    size_t size;
};

void terminal_open(struct terminal *terminal, unsigned short columns, unsigned short rows);
void terminal_resize(struct terminal *terminal, unsigned short columns, unsigned short rows);

/* Bytes that were written so far. */
size_t terminal_size(struct terminal *terminal);

/* Waits until all that was written has been read. */
void terminal_sync(struct terminal *terminal);

/* Everything that was written is in text then, which the caller frees. */
void terminal_close(struct terminal *terminal);

/* Another descriptor of the slave, for keys. */
int terminal_open_again(const struct terminal *terminal);

/* Does it echo, and wait for whole lines? */
bool terminal_is_cooked(const struct terminal *terminal);

/* After terminal_close: the cursor was hidden, and shown after that. */
void assert_cursor_restored(const struct terminal *terminal);

/* --- a run on it --------------------------------------------------------------------------- */

struct scene {
    struct terminal terminal;
    struct fake *fake;
    uv_loop_t loop;
    struct screen *screen;
    struct run_observer see;
};

/* A clock of which each look takes a second: every tick has something to draw. */
uint64_t scene_now(void);

/* A screen without keys, that of a run of so many targets which has started. */
void scene_begin(struct scene *scene, size_t targets, unsigned short columns, unsigned short rows);

/* The same, 80 columns wide, with keys, of a run whose image is known. */
void scene_begin_with_keys(struct scene *scene, size_t targets);

/* Targets in every state there is, with hostile texts; turn 0, 1, … makes others of them. */
void scene_stir(struct scene *scene, unsigned turn);

/* Runs a loop that long. */
void scene_wait(uv_loop_t *loop, unsigned milliseconds);

/* Lets the screen draw what it has, if it differs from what is there. */
void scene_draw(struct scene *scene);

/* Ends the screen; the terminal's text stays until scene_free. */
void scene_end(struct scene *scene);
void scene_free(struct scene *scene);

#endif
