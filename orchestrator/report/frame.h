/* SPDX-License-Identifier: Apache-2.0 */
/* One picture of a run: the lines of the live screen as text, without any drawing. */
#ifndef REPORT_FRAME_H
#define REPORT_FRAME_H

#include "report/fleet.h"
#include "report/tail.h"
#include "report/text.h"

struct frame_options {
    unsigned columns, rows; /* what the picture may take */
    struct paint paint;
    uint64_t elapsed;       /* ms since the run began */
    bool keys;              /* keys are read: says which */
    const size_t *chosen;   /* the target, as its place in run->targets, whose log is shown … */
    const struct tail *log; /* … NULL: nothing happened yet */
};

/* What earlier changes said of a target (in slots, by index): whether the bar or the activity is
 * the newer news. */
struct glimpse {
    char activity[96];
    uint32_t blocks_done, blocks_total;
    bool bar_is_newer;
};

/* Notes a change of a target. */
void glimpse_update(struct glimpse *glimpse, const struct target_status *target);

/* The order in which targets are shown, as places in run->targets: the inventory's where there is
 * room for all of them, else the failed ones first, then the slowest that are under way, skipped
 * ones, those that wait, and those that are done. For the caller to free; NULL when memory is
 * short. */
size_t *frame_order(const struct run_view *run, unsigned rows);

/* The picture: lines parted (not ended) by '\n', at most options->rows, none wider than
 * options->columns; the caller frees. NULL when memory is short. glimpses holds struct glimpse. */
char *frame_compose(const struct run_view *run, const struct slots *glimpses,
                    const struct frame_options *options);

#endif
