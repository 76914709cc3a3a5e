/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the live picture: shared by frame.c, frame_head.c and frame_list.c. Nobody else
 * includes this. */
#ifndef REPORT_FRAME_PARTS_H
#define REPORT_FRAME_PARTS_H

#include "report/frame.h"
#include "report/row.h"

#define BAR_MAX     40u
#define FRAME_ROOMY 12u /* rows from which on there is more than the bare minimum */

/* Rows of the head when all targets have room below it, or not. */
unsigned frame_head_rows(const struct run_view *run, unsigned rows, bool all);

/* Title, totals, waves, states. */
void frame_head(struct row *row, const struct run_view *run, const struct frame_options *options,
                bool all);

/* Can a picture of that many rows show every target? */
bool frame_has_room_for_all(const struct run_view *run, unsigned rows);

/* The targets in room rows, at least 2. */
void frame_list(struct row *row, const struct run_view *run, const struct slots *glimpses,
                const struct frame_options *options, unsigned room);

#endif
