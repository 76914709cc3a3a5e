/* SPDX-License-Identifier: Apache-2.0 */
/* One run for a device: whoever works on it holds its lock, and says who it is. */
#ifndef RUN_LOCKS_H
#define RUN_LOCKS_H

#include "base/error.h"
#include "run/jumps.h"

struct device_locks;

/* Locks the first count targets of jumps, all or none, in state_dir. holder: who takes them, as
 * told to others ("run 1234"). Returns NULL and ERROR_BUSY with who holds one of them since when,
 * or ERROR_IO. device_locks_free or the end of the process lets go. */
struct device_locks *device_locks_take(const char *state_dir, const char *holder,
                                       const struct jumps *jumps, size_t count, struct error *err);
void device_locks_free(struct device_locks *locks);

#endif
