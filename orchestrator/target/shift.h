/* SPDX-License-Identifier: Apache-2.0 */
/* A live flash that must not erase the boot loader which recovery needs: netboot's layout
 * `shifted`, in which it lives in the disk's first partition and the image's partitions are the
 * second one and those that follow. The table and the first partition are neither sent nor written;
 * all else of the image goes further on by as much as the disk's second partition is from the
 * image's first one. The agent is told of it in MANIFEST and looks at the disk's table itself. */
#ifndef TARGET_SHIFT_H
#define TARGET_SHIFT_H

#include "base/error.h"
#include "store/store.h"
#include "target/status.h"

struct shift {
    uint32_t first_block; /* of the image: those before it stay away from the disk; 0: none does */
    uint64_t bytes;       /* that the others are further on */
};

/* Whether a live flash of this target is shifted. NULL: no. */
bool shift_is_wanted(const struct target_spec *spec);

/* Blocks of the image that a live flash of this target leaves out. */
uint32_t shift_first_block(const struct target_spec *spec, const struct store_info *info);

/* Fills shift, with zeros where none is wanted. info NULL: no image is known yet, only the disk is
 * looked at. 0, or -1 with err (ERROR_REFUSED): there is no boot loader in front, or the image and
 * the disk's partitions do not go together. */
int shift_find(const struct target_status *status, const struct store_info *info,
               struct shift *shift, struct error *err);

/* The first partition where recovery counts on a boot loader elsewhere, and this one, which a live
 * flash erases, looks like having one; NULL: there is no such doubt. */
const struct fact_partition *shift_doubt(const struct target_status *status);

/* Which of the facts' partitions (bit n: partitions[n]) stay as they are. info may be NULL. */
uint32_t shift_kept(const struct target_status *status, const struct store_info *info);

#endif
