/* SPDX-License-Identifier: Apache-2.0 */
/* What of the terminal has to be undone however the program ends: a hidden cursor, and keys that
 * come one by one and without echo. One terminal for the whole process, because an exit and a
 * signal handler have nothing else to go by. */
#ifndef REPORT_TERMINAL_H
#define REPORT_TERMINAL_H

#include <stdbool.h>

/* True when fd is a terminal that can be drawn on (TERM is set and not "dumb"). */
bool terminal_is_possible(int fd);

/* Writing these is the caller's; the notes are what terminal_restore goes by. */
#define TERMINAL_HIDE "\x1b[?25l"
#define TERMINAL_SHOW "\x1b[0m\x1b[?25h"
void terminal_note_hidden(int fd);
void terminal_note_shown(void);
bool terminal_is_hidden(void);

/* True when fd is a terminal whose keys are ours: this process is in its foreground, or it is not
 * the one that controls us. */
bool terminal_is_ours(int fd);

/* Keys one by one and without echo; ^C and ^Z stay what they are. May be called again when a shell
 * has set the modes since. False when it is not ours. */
bool terminal_keys_begin(int fd);
/* As it was before; nothing when there was no begin. */
void terminal_keys_end(void);

/* Undoes all of the above: from atexit, from a signal handler (it only calls write and tcsetattr).
 * Does nothing when there is nothing to undo. */
void terminal_restore(void);

/* Signals of which the program dies (SIGSEGV, SIGABRT, SIGQUIT, …) restore the terminal first and
 * then do what they did before. Nested calls do not add up. */
void terminal_catch_crashes(void);
void terminal_release_crashes(void);

#endif
