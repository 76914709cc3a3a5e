/* SPDX-License-Identifier: Apache-2.0 */
/* What is on a disk, partition by partition, for the plan that the user sees. */
#ifndef PARTITIONS_H
#define PARTITIONS_H

#include "json.h"
#include "mounts.h"

/* Adds the array "partitions" for the disk (its name in /sys/block) to an open object. */
void partitions_write(struct json *json, const struct mount_table *table, const char *disk_name);

#endif
