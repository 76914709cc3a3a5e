/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent knows of the device, as the JSON object that answers PROBE. */
#ifndef FACTS_H
#define FACTS_H

#include "disk.h"
#include "target.h"
#include "watchdog.h"

struct facts_config {
    struct target *target; /* refusal and lifeline are filled in */
    struct disk *disk;     /* open, or fd -1: disk_fail says why */
    const struct fail *disk_fail;
    const struct watchdog *watchdog;
    bool is_file; /* a file stands in for the disk: no rule refuses it */
    pid_t relay;
    uid_t uid;
};

/* The caller frees the text. NULL: out of memory. */
char *facts_collect(const struct facts_config *config);

#endif
