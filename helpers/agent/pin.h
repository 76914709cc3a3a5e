/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping in memory what the lifeline executes: a page read from the disk after it was overwritten
 * would be a piece of the new image. */
#ifndef PIN_H
#define PIN_H

#include "layers.h"
#include "process.h"

#include <stdint.h>

struct pin_file {
    dev_t device;
    unsigned long long inode;
    void *address;
    size_t size;
};

struct pins {
    struct pin_file *files;
    unsigned count, capacity;
    uint64_t bytes;
    unsigned missed; /* cannot be opened: deleted or replaced since, and no /proc/PID/map_files */
    char first_missed[128];
};

/* Maps and locks every file on these file systems (NULL: on all) that the processes have mapped
 * readable. -1: errno says why one could not be; those before it stay pinned. */
int pin_processes(struct pins *pins, const struct device_set *filesystems,
                  const struct pid_set *processes);
/* How many bytes that would take, nothing done. */
uint64_t pin_estimate(const struct device_set *filesystems, const struct pid_set *processes);
void pin_release(struct pins *pins);

#endif
