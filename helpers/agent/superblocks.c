/* SPDX-License-Identifier: Apache-2.0 */
#include "superblocks.h"

#include "fault.h"
#include "process.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ext4, xfs (there XFS_IOC_GOINGDOWN) and f2fs agree on it; nothing is flushed any more. */
#define FS_IOC_SHUTDOWN_    _IOR('X', 125, uint32_t)
#define SHUTDOWN_NOLOGFLUSH 2u

#define NAMESPACES_MAX 128u

bool superblock_can_shut(const char *fstype)
{
    return strcmp(fstype, "ext4") == 0 || strcmp(fstype, "ext3") == 0 ||
           strcmp(fstype, "xfs") == 0 || strcmp(fstype, "f2fs") == 0;
}

/* --- finding ------------------------------------------------------------------------------ */

static struct superblock *find(struct superblocks *list, dev_t device)
{
    for (unsigned i = 0; i < list->count; i++)
        if (list->items[i].device == device)
            return &list->items[i];
    return NULL;
}

static bool has(const struct superblocks *list, dev_t device)
{
    for (unsigned i = 0; i < list->count; i++)
        if (list->items[i].device == device)
            return true;
    return false;
}

/* The mount point, unless another file system hides it. */
static int open_inside(const struct mount *mount, pid_t seen_by)
{
    char path[4200], text[1024];
    unsigned flags;
    int id = -1;
    text_format(path, sizeof path, "/proc/%d/root%s", seen_by == 0 ? (int)getpid() : (int)seen_by,
                mount->point);
    int fd = open(seen_by == 0 ? mount->point : path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    text_format(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    struct stat st;
    bool right =
        text_read(path, text, sizeof text) > 0 && process_parse_fdinfo(text, &flags, &id) && id >= 0
            ? id == mount->id
            : fstat(fd, &st) == 0 && st.st_dev == mount->device;
    if (right)
        return fd;
    close(fd);
    return -1;
}

static void set_flags(struct superblock *sb, const struct mount *mount)
{
    sb->flags = mount_flags(mount->options) | mount_super_flags(mount->super);
    sb->mount_ro = mount_has_option(mount->options, "ro");
}

static int add(struct superblocks *list, const struct mount *mount, pid_t seen_by, bool on_disk,
               struct fail *fail)
{
    struct superblock *sb = find(list, mount->device);
    if (on_disk && list->mount_count < MOUNT_IDS_MAX)
        list->mount_ids[list->mount_count++] = mount->id;
    if (sb != NULL) {
        if (sb->fd < 0) { /* seen before, but hidden there */
            sb->fd = open_inside(mount, seen_by);
            sb->seen_by = sb->fd >= 0 ? seen_by : sb->seen_by;
            set_flags(sb, mount);
        }
        return 0;
    }
    if (list->count == SUPERBLOCKS_MAX)
        return fault_set(fail, FAILCODE_REFUSED, "more than %u file systems are mounted",
                         SUPERBLOCKS_MAX);
    sb = &list->items[list->count++];
    memset(sb, 0, sizeof *sb);
    sb->device = mount->device;
    text_copy(sb->fstype, sizeof sb->fstype, mount->fstype);
    text_copy(sb->point, sizeof sb->point, mount->point);
    sb->fd = open_inside(mount, seen_by);
    sb->seen_by = seen_by;
    set_flags(sb, mount);
    sb->on_disk = on_disk;
    sb->is_overlay = strcmp(mount->fstype, "overlay") == 0;
    sb->can_shut = superblock_can_shut(mount->fstype);
    sb->was_writable = !mount_has_option(mount->super, "ro");
    sb->panics = mount_has_option(mount->super, "errors=panic");
    if (on_disk)
        device_set_add(&list->devices, mount->device);
    layers_claimed_by_mount(mount, &list->grounds);
    return 0;
}

/* What writes to block devices, but nobody knows to which, may write to this one. */
static int unknown_fault(const struct mount *mount, struct fail *fail)
{
    fault_set(fail, FAILCODE_REFUSED, "what %s at %s (%s) rests on cannot be seen", mount->fstype,
              mount->point, mount->source);
    return fault_remedy(fail, "unmount it first (a pool: export it), or use netboot mode");
}

/* known: those listed before, or NULL. */
static int find_in(struct superblocks *list, const struct superblocks *known,
                   const struct mount_table *table, dev_t disk, pid_t seen_by, struct fail *fail)
{
    for (unsigned i = 0; i < table->count; i++) {
        const struct mount *mount = &table->items[i];
        struct device_set disks = {.count = 0};
        if (known != NULL && has(known, mount->device))
            continue;
        if (find(list, mount->device) == NULL) {
            layers_of_mount(table, mount, &disks);
        } else {
            disks.count = 1; /* known: only its mount id is of interest */
            disks.items[0] = find(list, mount->device)->on_disk ? disk : 0;
        }
        bool on_disk = device_set_has(&disks, disk);
        if (disks.unknown && !on_disk && layers_writes_devices(mount->fstype))
            return unknown_fault(mount, fail);
        if (on_disk && disks.count > 1) {
            fault_set(fail, FAILCODE_REFUSED, "%s (%s) spreads over this disk and another one",
                      mount->point, mount->fstype);
            return fault_remedy(fail, "unmount it first");
        }
        bool other =
            disks.count > 0 && (major(mount->device) != 0 || strcmp(mount->fstype, "btrfs") == 0);
        if ((on_disk || other) && add(list, mount, seen_by, on_disk, fail) != 0)
            return -1;
    }
    return 0;
}

struct namespace_walk {
    struct superblocks *list;
    const struct superblocks *known;
    dev_t disk;
    struct fail *fail;
    ino_t seen[NAMESPACES_MAX];
    unsigned count;
    int status;
};

static void visit_namespace(pid_t pid, void *arg)
{
    struct namespace_walk *walk = arg;
    struct mount_table table;
    struct stat st;
    char path[64];
    text_format(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    if (walk->status != 0 || stat(path, &st) != 0)
        return;
    for (unsigned i = 0; i < walk->count; i++)
        if (walk->seen[i] == st.st_ino)
            return;
    if (walk->count < NAMESPACES_MAX)
        walk->seen[walk->count++] = st.st_ino;
    if (mounts_read(&table, pid) != 0)
        return;
    walk->status = find_in(walk->list, walk->known, &table, walk->disk, pid, walk->fail);
    mounts_free(&table);
}

static int find_all(struct superblocks *list, const struct superblocks *known, dev_t disk,
                    struct fail *fail)
{
    struct mount_table table;
    struct namespace_walk walk = {.list = list, .known = known, .disk = disk, .fail = fail};
    struct stat st;
    memset(list, 0, sizeof *list);
    if (mounts_read(&table, 0) != 0)
        return fault_set(fail, FAILCODE_FENCE, "cannot read /proc/self/mountinfo");
    int status = find_in(list, known, &table, disk, 0, fail);
    mounts_free(&table);
    if (status != 0)
        return -1;
    if (stat("/proc/self/ns/mnt", &st) == 0)
        walk.seen[walk.count++] = st.st_ino;
    process_each(visit_namespace, &walk);
    for (unsigned i = 0; walk.status == 0 && i < list->count; i++) {
        const struct superblock *sb = &list->items[i];
        if (sb->on_disk && sb->fd < 0 && !sb->is_overlay && sb->was_writable) {
            fault_set(fail, FAILCODE_REFUSED, "%s at %s is hidden by another mount", sb->fstype,
                      sb->point);
            walk.status = fault_remedy(fail, "unmount what hides it, or the file system itself");
        }
    }
    return walk.status;
}

int superblocks_find(struct superblocks *list, dev_t disk, struct fail *fail)
{
    return find_all(list, NULL, disk, fail);
}

/* Mounted read-only by us, and not so any more. */
static unsigned mark_writable(struct superblocks *list)
{
    unsigned count = 0;
    struct mount_table table;
    if (mounts_read(&table, 0) != 0)
        return 1;
    for (unsigned i = 0; i < list->count; i++) {
        struct superblock *sb = &list->items[i];
        const struct mount *mount = mounts_find_device(&table, sb->device);
        if (!sb->on_disk || sb->is_overlay || sb->down || mount == NULL ||
            mount_has_option(mount->super, "ro") || (sb->was_writable && !sb->remounted))
            continue;
        sb->was_writable = true;
        sb->remounted = false;
        count++;
    }
    mounts_free(&table);
    return count;
}

int superblocks_update(struct superblocks *list, dev_t disk, unsigned *news, struct fail *fail)
{
    *news = 0;
    struct superblocks *fresh = malloc(sizeof *fresh);
    if (fresh == NULL)
        return fault_set(fail, FAILCODE_MEMORY, "out of memory");
    int status = find_all(fresh, list, disk, fail);
    for (unsigned i = 0; status == 0 && i < fresh->count; i++) {
        struct superblock *sb = &fresh->items[i];
        if (list->count == SUPERBLOCKS_MAX) {
            status = fault_set(fail, FAILCODE_REFUSED, "more than %u file systems are mounted",
                               SUPERBLOCKS_MAX);
            break;
        }
        list->items[list->count++] = *sb;
        *news += sb->on_disk && !sb->is_overlay;
        if (sb->on_disk)
            device_set_add(&list->devices, sb->device);
        sb->fd = -1; /* the list has it now */
    }
    for (unsigned i = 0; status == 0 && i < fresh->mount_count; i++)
        if (list->mount_count < MOUNT_IDS_MAX)
            list->mount_ids[list->mount_count++] = fresh->mount_ids[i];
    superblocks_close(fresh);
    free(fresh);
    *news += mark_writable(list);
    return status;
}

void superblocks_close(struct superblocks *list)
{
    for (unsigned i = 0; i < list->count; i++)
        if (list->items[i].fd >= 0)
            close(list->items[i].fd);
    memset(list, 0, sizeof *list);
}

/* --- read-only ---------------------------------------------------------------------------- */

void superblocks_sync(const struct superblocks *list)
{
    for (unsigned i = list->count; i-- > 0;)
        if (list->items[i].on_disk && list->items[i].fd >= 0)
            syncfs(list->items[i].fd);
}

static int remount(const struct superblock *sb, unsigned long flags, const char *data)
{
    char path[64];
    if (sb->fd < 0 || sb->seen_by != 0) { /* the kernel only remounts in one's own namespace */
        errno = EXDEV;
        return -1;
    }
    text_format(path, sizeof path, "/proc/self/fd/%d", sb->fd);
    return mount(NULL, path, NULL, MS_REMOUNT | sb->flags | flags, data);
}

unsigned superblocks_remount(struct superblocks *list, const struct superblock **stubborn,
                             const struct report *report)
{
    unsigned refused = 0;
    *stubborn = NULL;
    for (unsigned i = list->count; i-- > 0;) {
        struct superblock *sb = &list->items[i];
        if (!sb->on_disk || !sb->was_writable || sb->remounted)
            continue;
        if (sb->panics)
            remount(sb, 0, "errors=continue");
        if (remount(sb, MS_RDONLY, NULL) == 0) {
            sb->remounted = true;
        } else if (!sb->is_overlay) {
            report_log(report, LOG_DEBUG, "%s on %s does not become read-only by itself: %s",
                       sb->fstype, sb->point, strerror(errno));
            refused++;
            if (!sb->can_shut)
                *stubborn = sb;
        }
    }
    return refused;
}

const struct superblock *superblocks_find_writable(const struct superblocks *list)
{
    const struct superblock *found = NULL;
    struct mount_table table;
    if (mounts_read(&table, 0) != 0)
        return &list->items[0];
    for (unsigned i = 0; i < list->count && found == NULL; i++) {
        const struct superblock *sb = &list->items[i];
        const struct mount *mount = mounts_find_device(&table, sb->device);
        struct statvfs st;
        if (!sb->on_disk || sb->is_overlay)
            continue;
        if (mount != NULL) {
            if (!mount_has_option(mount->super, "ro"))
                found = sb;
        } else if (fstatvfs(sb->fd, &st) != 0 || !(st.f_flag & ST_RDONLY)) {
            found = sb; /* in another namespace */
        }
    }
    mounts_free(&table);
    return found;
}

/* --- shutdown ----------------------------------------------------------------------------- */

const struct superblock *superblocks_shut(struct superblocks *list, bool *any,
                                          const struct report *report)
{
    /* The root comes first in the table, so it is the last to go. */
    for (unsigned i = list->count; i-- > 0;) {
        struct superblock *sb = &list->items[i];
        uint32_t flags = SHUTDOWN_NOLOGFLUSH;
        if (!sb->on_disk || sb->is_overlay || sb->down || sb->fd < 0)
            continue;
        sb->down = ioctl(sb->fd, FS_IOC_SHUTDOWN_, &flags) == 0;
        *any = *any || sb->down;
        if (sb->down || !sb->can_shut)
            continue;
        if (sb->was_writable && !sb->remounted)
            return sb;
        report_log(report, LOG_WARNING, "%s on %s cannot be shut down (%s), but is read-only",
                   sb->fstype, sb->point, strerror(errno));
    }
    return NULL;
}

void superblocks_restore(struct superblocks *list, bool forced)
{
    for (unsigned i = 0; i < list->count; i++) {
        struct superblock *sb = &list->items[i];
        char path[64];
        bool ours = sb->on_disk && (sb->remounted || sb->panics);
        if (!sb->was_writable || sb->down || !(ours || forced))
            continue;
        int status = remount(sb, 0, sb->panics ? "errors=panic" : NULL);
        sb->remounted = false;
        if (status != 0 || !sb->mount_ro)
            continue;
        text_format(path, sizeof path, "/proc/self/fd/%d", sb->fd);
        mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | sb->flags, NULL);
    }
}

unsigned superblocks_others(const struct superblocks *list, int *fds, unsigned max)
{
    unsigned count = 0;
    for (unsigned i = 0; i < list->count && count < max; i++)
        if (!list->items[i].on_disk && !list->items[i].is_overlay && list->items[i].was_writable &&
            list->items[i].fd >= 0)
            fds[count++] = list->items[i].fd;
    return count;
}
