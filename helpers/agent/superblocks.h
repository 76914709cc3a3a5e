/* SPDX-License-Identifier: Apache-2.0 */
/* The mounted file systems of one disk, in all mount namespaces: made read-only, shut down, brought
 * back. */
#ifndef SUPERBLOCKS_H
#define SUPERBLOCKS_H

#include "layers.h"
#include "protocol/protocol.h"
#include "report.h"

#define SUPERBLOCKS_MAX 64u
#define MOUNT_IDS_MAX   512u

struct superblock {
    dev_t device;
    char fstype[32];
    char point[256];
    int fd;              /* inside it, -1: not reachable */
    pid_t seen_by;       /* a process of another mount namespace that has it; 0: we do */
    unsigned long flags; /* of that mount: MS_NOSUID …, and of the super block: MS_SYNCHRONOUS … */
    bool mount_ro;       /* that mount is read-only, whatever the super block is */
    bool on_disk;        /* false: of another disk, listed because SysRq-u will hit it as well */
    bool is_overlay;     /* writes go to a layer, which is fenced itself */
    bool can_shut;       /* has FS_IOC_SHUTDOWN */
    bool was_writable;
    bool panics;    /* errors=panic */
    bool remounted; /* by us, without force */
    bool down;      /* shut down */
};

struct superblocks {
    struct superblock items[SUPERBLOCKS_MAX];
    unsigned count;
    struct device_set devices; /* st_dev of those on the disk */
    struct device_set
        grounds; /* block devices that a listed file system, of any disk, has claimed */
    int mount_ids[MOUNT_IDS_MAX];
    unsigned mount_count;
};

/* Finds and opens them. Fault (FAILCODE_REFUSED): one cannot be fenced by any means. */
int superblocks_find(struct superblocks *list, dev_t disk, struct fail *fail);
void superblocks_close(struct superblocks *list);
void superblocks_sync(const struct superblocks *list);
/* Unforced, youngest mount first. Returns how many refused; *stubborn: one of those that cannot be
 * shut down, or NULL. */
unsigned superblocks_remount(struct superblocks *list, const struct superblock **stubborn,
                             const struct report *report);
/* Those on the disk that the kernel still calls writable. */
const struct superblock *superblocks_find_writable(const struct superblocks *list);
/* FS_IOC_SHUTDOWN on all on the disk that are not down yet. NULL: done; else the one that should
 * have and did not (errno): what does not shut down must have become read-only without force. *any:
 * at least one is down, there is no way back. */
const struct superblock *superblocks_shut(struct superblocks *list, bool *any,
                                          const struct report *report);
/* Looks again: what was mounted on the disk since is added, what was made writable again is marked.
 * *news: how many of both (overlays do not count). Fault as superblocks_find. */
int superblocks_update(struct superblocks *list, dev_t disk, unsigned *news, struct fail *fail);
/* Writable again where they were and we (forced: SysRq-u, on all disks) made them read-only. */
void superblocks_restore(struct superblocks *list, bool forced);
/* Descriptors of file systems of other disks, to be synchronized before a reboot. Returns how many.
 */
unsigned superblocks_others(const struct superblocks *list, int *fds, unsigned max);
/* Does this kind of file system have the shutdown ioctl? */
bool superblock_can_shut(const char *fstype);

#endif
