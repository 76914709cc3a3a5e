/* SPDX-License-Identifier: Apache-2.0 */
/* What a file system or a block device rests on: partitions, LVM, dm-crypt, loop devices, overlays,
 * down to whole disks (/sys/dev/block, and its slaves). */
#ifndef LAYERS_H
#define LAYERS_H

#include "mounts.h"

#define DEVICES_MAX 128u

struct device_set {
    dev_t items[DEVICES_MAX];
    unsigned count;
    bool unknown; /* something could not be followed to its end */
};

bool device_set_has(const struct device_set *set, dev_t device);
void device_set_add(struct device_set *set, dev_t device);

/* Adds the whole disks below a block device. */
void layers_of_device(const struct mount_table *table, dev_t device, struct device_set *disks);
/* … below a mounted file system; memory and virtual file systems have none. */
void layers_of_mount(const struct mount_table *table, const struct mount *mount,
                     struct device_set *disks);
/* Adds the block devices that a mounted file system has claimed itself: its partition, the members
 * of a btrfs. */
void layers_claimed_by_mount(const struct mount *mount, struct device_set *devices);
/* … below whatever file system the path is on. */
void layers_of_path(const struct mount_table *table, const char *path, struct device_set *disks);
/* Is it a file system that comes over a network (or from a hypervisor's host)? */
bool layers_is_network(const char *fstype);
/* Does this kind of file system write to block devices (/proc/filesystems; zfs does and says it
 * does not)? Those that are read-only by nature do not. */
bool layers_writes_devices(const char *fstype);
/* The kernel's name of a block device ("mmcblk0p2"); "" when unknown. */
void layers_name(dev_t device, char *out, size_t size);
/* Its node, "/dev/…" as the kernel names it. */
void layers_node(dev_t device, char *out, size_t size);
/* "plain", "lvm", "crypt", "md", "loop" or "dm", by the topmost layer that is not a partition. */
const char *layers_kind(dev_t device);
/* A number such as "179:2" in a file; 0: none. */
dev_t layers_read_number(const char *path);

#endif
