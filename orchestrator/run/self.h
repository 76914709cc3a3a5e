/* SPDX-License-Identifier: Apache-2.0 */
/* The machine that this program runs on as a target (mode local): the run ends with the old system,
 * so such a target is flashed alone, and only where it surely is this machine. */
#ifndef RUN_SELF_H
#define RUN_SELF_H

#include "base/error.h"
#include "inventory.h"

#include <stdbool.h>

/* What stands for the inventory's file in a run of --local. */
#define SELF_INVENTORY "--local"

/* The inventory of --local: one host with this machine's name, mode local. As inventory_load. */
struct inventory *self_inventory(struct diagnostics *mistakes);

struct self_question {
    const struct inventory *inventory;
    const bool *selected; /* for each of its targets */
    bool all_local;       /* --mode local */
    bool mode_given;      /* --mode: the inventory's are not used */
    bool check;           /* nothing will be touched: others may be there as well */
};

/* Refuses (ERROR_USAGE) a local target beside others, and one whose host is not this machine. Looks
 * names up, and may wait for that: before the loop runs. */
int self_check(const struct self_question *question, struct error *err);

/* Whether a host name or numeric address is one of this machine's own addresses. */
bool self_is_host(const char *host);

#endif
