/* SPDX-License-Identifier: Apache-2.0 */
/* A policy's table as its shared object gives it, checked and brought to the size this host knows.
 */
#ifndef POLICY_TABLE_H
#define POLICY_TABLE_H

#include <fleetflash/policy.h>
#include <stddef.h>

/* Bounds of what is believed of a table. */
#define TABLE_SIZE_MAX       4096u
#define TABLE_PARAMETERS_MAX 64u

struct policy_table {
    struct ff_policy policy; /* fields that the object's maker did not know are 0 */
    struct ff_parameter parameters[TABLE_PARAMETERS_MAX + 1];
};

/* Checks what fleetflash_policy() returned against the file it came from (whose base name without
 * ".so" must be the policy's name) and fills table; strings and functions stay in the object. Reads
 * every string, so that a wild pointer shows in the probe's child. Returns 0, or -1 with the reason
 * (without the file's name) in why. */
int policy_table_read(const struct ff_policy *given, const char *file, struct policy_table *table,
                      char *why, size_t why_size);

#endif
