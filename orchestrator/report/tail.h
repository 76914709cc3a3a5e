/* SPDX-License-Identifier: Apache-2.0 */
/* The last lines of one target's log, for whoever wants to look at it on the screen. */
#ifndef REPORT_TAIL_H
#define REPORT_TAIL_H

#include "report/lines.h"

#define TAIL_LINES 48u

struct tail_line {
    enum line_kind kind;
    uint64_t elapsed; /* ms since the run began */
    char *text;       /* as it came, not cleaned */
};

/* All zero: empty. */
struct tail {
    struct tail_line lines[TAIL_LINES]; /* a ring */
    size_t count;                       /* of all that were ever added */
    char activity[96];                  /* that was added last */
    int state;                          /* the same, + 1 */
};

/* Adds a copy of text; does nothing when memory is short. */
void tail_add(struct tail *tail, enum line_kind kind, uint64_t elapsed, const char *text);

/* What is new in a target's state and activity. */
void tail_note(struct tail *tail, uint64_t elapsed, const struct target_status *target);

/* Its outcome with reason, remedy or proof. */
void tail_done(struct tail *tail, uint64_t elapsed, const struct target_status *target);

/* How many lines there are, and the i-th of them from the oldest. */
size_t tail_count(const struct tail *tail);
const struct tail_line *tail_at(const struct tail *tail, size_t i);

/* Frees the lines; tail itself is the caller's. */
void tail_clear(struct tail *tail);

#endif
