/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory of a command, and which of its targets are meant. All complain on stderr. */
#ifndef CHOICE_H
#define CHOICE_H

#include "cli/options.h"
#include "inventory.h"

#include <stdbool.h>

/* NULL after having complained. inventory_free. */
struct inventory *choice_load(const struct options *options);

/* For each target, whether --limit means it; without it all. NULL after having complained. free().
 */
bool *choice_select(const struct options *options, const struct inventory *inventory);

/* Whether those that are meant have what being flashed by a boot loader needs; how many have not,
 * after having said so. */
size_t choice_check_netboot(const struct options *options, const struct inventory *inventory,
                            const bool *selected);

#endif
