/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that could still write to the disk: writable descriptors and shared writable mappings
 * of files on it. DESIGN: such writes land on the new image even after a read-only remount. */
#ifndef HOLDERS_H
#define HOLDERS_H

#include "layers.h"
#include "process.h"
#include "report.h"

/* What counts as "on the disk". */
struct holder_scope {
    const struct device_set *filesystems; /* their st_dev */
    const struct device_set *devices; /* block devices: the disk, its partitions, what is above */
    const int *mounts;                /* mount ids, where st_dev says nothing (btrfs) */
    unsigned mount_count;
};

/* Those that were ended, for who must be told. */
struct ended {
    unsigned count;
    char names[192]; /* "postgres, tail": each once, as many as fit */
};

/* Adds each process that holds such a file, but for those to be spared. */
void holders_find(const struct holder_scope *scope, const struct pid_set *spared,
                  struct pid_set *found);
bool holders_holds(const struct holder_scope *scope, pid_t pid);
/* Ends them: SIGTERM, three seconds, SIGKILL. Adds them to ended. */
void holders_end(const struct holder_scope *scope, const struct pid_set *spared,
                 struct ended *ended, const struct report *report);

#endif
