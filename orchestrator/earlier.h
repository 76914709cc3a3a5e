/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a command, and the earlier run that it goes on with or does again. */
#ifndef EARLIER_H
#define EARLIER_H

#include "base/error.h"
#include "cli/options.h"
#include "inventory.h"
#include "journal/journal.h"

#include <stdbool.h>
#include <stddef.h>

/* What a run goes on with or does again. */
struct earlier {
    struct journal *journal;
    struct journal_run run; /* id "": this is a new one */
    struct journal_target *targets;
    size_t count;
};

/* Opens the journal in the state directory, which is made where there is none; --check makes none,
 * and then has no journal. 0, or -1 with err; earlier_close in both cases. */
int earlier_open(struct earlier *earlier, const struct options *options, struct error *err);
void earlier_close(struct earlier *earlier);

/* Of the selected targets of the inventory, those stay selected that are left (failed: that have
 * failed); how many they are. */
size_t earlier_select_left(const struct earlier *earlier, const struct inventory *inventory,
                           bool failed, bool *selected);

/* Complains of each that is left and no more in the inventory; how many they are. */
size_t earlier_complain_missing(const struct earlier *earlier, const struct inventory *inventory,
                                bool failed);

/* What stood in the image's address and is not kept has to come from the user again. 0, or -1 with
 * err. */
int earlier_complete_image(struct journal_run *run, struct error *err);

#endif
