/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices that the kernel itself has a claim on (bd_claim: a mount, swap, a layer above)
 * though nobody can be seen who uses them: a pool, a file system unmounted lazily, another one's
 * journal. Such a user would go on writing to the new image, so the disk is refused. */
#ifndef CLAIMS_H
#define CLAIMS_H

#include "superblocks.h"
#include "swap.h"

/* Adds the partitions and layers that rest on the disk, not the disk itself. Those that have a
 * number but went away meanwhile are left out. Sets layers->unknown when there are too many. */
void claims_list_layers(const struct mount_table *table, dev_t disk, struct device_set *layers);

/* Nothing is changed. -1 and a fault (FAILCODE_REFUSED) for a claim without a visible owner.
 * superblocks and swaps: those known, of any disk. */
int claims_check(const struct mount_table *table, dev_t disk, const struct superblocks *superblocks,
                 const struct swap_table *swaps, struct fail *fail);

#endif
