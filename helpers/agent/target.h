/* SPDX-License-Identifier: Apache-2.0 */
/* Which disk is meant. */
#ifndef TARGET_H
#define TARGET_H

#include "protocol/protocol.h"

#include <sys/types.h>

struct target {
    char name[64];  /* as in /sys/block: "mmcblk0"; "" for a file that stands in for a disk */
    char path[256]; /* "/dev/mmcblk0" */
    dev_t device;
    bool has_root;       /* "/" is on it */
    struct fail refusal; /* code 0: none; why this disk must not be flashed */
    uint64_t lifeline;   /* bytes that pinning the lifeline will take, estimated */
};

/* request: "auto" (the disk under "/"), a path ("/dev/disk/by-id/…"), "serial:…" or "model:…".
 * Exactly one whole disk must answer. Faults: FAILCODE_DISK, FAILCODE_REFUSED. */
int target_resolve(struct target *target, const char *request, struct fail *fail);

#endif
