/* SPDX-License-Identifier: Apache-2.0 */
#include "layers.h"

#include "text.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEPTH_MAX 8 /* layers upon each other; a loop in them ends here */

bool device_set_has(const struct device_set *set, dev_t device)
{
    for (unsigned i = 0; i < set->count; i++)
        if (set->items[i] == device)
            return true;
    return false;
}

void device_set_add(struct device_set *set, dev_t device)
{
    if (device_set_has(set, device))
        return;
    if (set->count == DEVICES_MAX)
        set->unknown = true;
    else
        set->items[set->count++] = device;
}

static const char *device_path(dev_t device, const char *rest, char *out, size_t size)
{
    return text_format(out, size, "/sys/dev/block/%u:%u%s", major(device), minor(device), rest);
}

dev_t layers_read_number(const char *path)
{
    char text[64];
    unsigned first, second;
    if (text_read(path, text, sizeof text) <= 0 || sscanf(text, "%u:%u", &first, &second) != 2)
        return 0;
    return makedev(first, second);
}

static void follow_mount(const struct mount_table *table, const struct mount *mount,
                         struct device_set *disks, int depth);

/* How many components at the ends of two paths are equal. */
static unsigned common_end(const char *one, size_t one_size, const char *other, size_t other_size)
{
    unsigned count = 0;
    while (one_size > 0 && other_size > 0 && one[one_size - 1] == other[other_size - 1]) {
        one_size--;
        other_size--;
        count += one[one_size] == '/';
    }
    return count;
}

/* Layers are often mounted by an initial RAM disk and moved below the root afterwards, so that the
 * overlay's options name paths that are no more: "/layers/upper/files" is now below
 * "/media/layers/upper". The mount point that ends most like the path is it, if the directory is
 * there and no other is as alike. */
static const struct mount *find_moved(const struct mount_table *table, const char *path,
                                      dev_t not_this)
{
    const struct mount *best = NULL;
    unsigned best_score = 0;
    bool tie = false;
    for (unsigned i = 0; i < table->count; i++) {
        const struct mount *mount = &table->items[i];
        for (size_t end = strlen(path); end > 1; end--) {
            char moved[PATH_MAX];
            if (path[end] != '\0' && path[end] != '/')
                continue;
            unsigned score = common_end(path, end, mount->point, strlen(mount->point));
            if (score == 0 || score < best_score || mount->device == not_this)
                continue;
            text_format(moved, sizeof moved, "%s%s", mount->point, path + end);
            if (access(moved, F_OK) != 0)
                continue;
            tie = score == best_score && best != NULL && best->device != mount->device;
            best = mount;
            best_score = score;
        }
    }
    return tie ? NULL : best;
}

/* btrfs gives each subvolume a number of its own: go by the longest mount point. */
static const struct mount *find_above(const struct mount_table *table, const char *path,
                                      dev_t not_this)
{
    const struct mount *best = NULL;
    size_t longest = 0;
    for (unsigned i = 0; i < table->count; i++) {
        size_t n = strlen(table->items[i].point);
        bool below = strncmp(path, table->items[i].point, n) == 0 &&
                     (n == 1 || path[n] == '/' || path[n] == '\0');
        if (below && n >= longest && table->items[i].device != not_this) {
            longest = n;
            best = &table->items[i];
        }
    }
    return best;
}

static void follow_path(const struct mount_table *table, const char *path, dev_t not_this,
                        struct device_set *disks, int depth)
{
    const struct mount *mount = NULL;
    struct stat st;
    if (stat(path, &st) != 0 || st.st_dev == not_this)
        mount = not_this == 0 ? NULL : find_moved(table, path, not_this);
    else if ((mount = mounts_find_device(table, st.st_dev)) == NULL)
        mount = find_above(table, path, not_this);
    if (mount == NULL)
        disks->unknown = true;
    else
        follow_mount(table, mount, disks, depth + 1);
}

static void follow_device(const struct mount_table *table, dev_t device, struct device_set *disks,
                          int depth)
{
    char path[PATH_MAX], text[PATH_MAX];
    if (depth > DEPTH_MAX || access(device_path(device, "", path, sizeof path), F_OK) != 0) {
        disks->unknown = true;
        return;
    }
    if (access(device_path(device, "/partition", path, sizeof path), F_OK) == 0) {
        dev_t parent = layers_read_number(device_path(device, "/../dev", path, sizeof path));
        if (parent == 0)
            disks->unknown = true;
        else
            follow_device(table, parent, disks, depth + 1);
        return;
    }
    if (text_read(device_path(device, "/loop/backing_file", path, sizeof path), text, sizeof text) >
        0) {
        follow_path(table, text, 0, disks, depth + 1);
        return;
    }
    unsigned below = 0;
    DIR *dir = opendir(device_path(device, "/slaves", path, sizeof path));
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        below++;
        text_format(text, sizeof text, "%s/%s/dev", path, entry->d_name);
        dev_t slave = layers_read_number(text);
        if (slave == 0)
            disks->unknown = true;
        else
            follow_device(table, slave, disks, depth + 1);
    }
    if (dir != NULL)
        closedir(dir);
    if (below == 0)
        device_set_add(disks, device);
}

/* lowerdir may be a list; upperdir is absent in read-only overlays. */
static void follow_overlay(const struct mount_table *table, const struct mount *mount,
                           struct device_set *disks, int depth)
{
    char list[PATH_MAX];
    bool any = false;
    if (mount_option_value(mount->super, "upperdir", list, sizeof list)) {
        follow_path(table, list, mount->device, disks, depth);
        any = true;
    }
    if (mount_option_value(mount->super, "lowerdir", list, sizeof list)) {
        char *save = NULL;
        for (char *p = strtok_r(list, ":", &save); p != NULL; p = strtok_r(NULL, ":", &save))
            follow_path(table, p, mount->device, disks, depth);
        any = true;
    }
    if (!any)
        disks->unknown = true;
}

/* "PARTUUID=…" and the like as the link that udev makes of it. */
static void find_tag(const char *value, char *path, size_t size)
{
    static const char *const tags[][2] = {{"PARTUUID=", "by-partuuid"},
                                          {"PARTLABEL=", "by-partlabel"},
                                          {"UUID=", "by-uuid"},
                                          {"LABEL=", "by-label"}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (text_starts(value, tags[i][0])) {
            text_format(path, size, "/dev/disk/%s/%s", tags[i][1], value + strlen(tags[i][0]));
            return;
        }
    text_copy(path, size, value);
}

/* "/dev/root" has no node: the kernel's command line says what it was told to mount. */
static dev_t find_source(const struct mount *mount)
{
    struct stat st;
    char line[4096], *save = NULL;
    if (stat(mount->source, &st) == 0 && S_ISBLK(st.st_mode))
        return st.st_rdev;
    if (strcmp(mount->source, "/dev/root") != 0 ||
        text_read("/proc/cmdline", line, sizeof line) <= 0)
        return 0;
    for (char *word = strtok_r(line, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        if (text_starts(word, "root=")) {
            char path[512];
            find_tag(word + 5, path, sizeof path);
            if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
                return st.st_rdev;
        }
    return 0;
}

/* Adds all members of the btrfs that has this device, itself included. */
static void add_btrfs_members(dev_t device, struct device_set *members)
{
    char path[PATH_MAX], name[64];
    layers_name(device, name, sizeof name);
    DIR *dir = opendir("/sys/fs/btrfs");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        text_format(path, sizeof path, "/sys/fs/btrfs/%s/devices/%s", entry->d_name, name);
        if (entry->d_name[0] == '.' || access(path, F_OK) != 0)
            continue;
        text_format(path, sizeof path, "/sys/fs/btrfs/%s/devices", entry->d_name);
        DIR *list = opendir(path);
        struct dirent *member;
        while (list != NULL && (member = readdir(list)) != NULL) {
            if (member->d_name[0] == '.')
                continue;
            text_format(path, sizeof path, "/sys/class/block/%s/dev", member->d_name);
            dev_t number = layers_read_number(path);
            if (number != 0)
                device_set_add(members, number);
        }
        if (list != NULL)
            closedir(list);
    }
    if (dir != NULL)
        closedir(dir);
}

static void follow_btrfs(const struct mount_table *table, dev_t device, struct device_set *disks,
                         int depth)
{
    struct device_set members = {.count = 0};
    add_btrfs_members(device, &members);
    for (unsigned i = 0; i < members.count; i++)
        if (members.items[i] != device)
            follow_device(table, members.items[i], disks, depth + 1);
}

static void follow_mount(const struct mount_table *table, const struct mount *mount,
                         struct device_set *disks, int depth)
{
    if (depth > DEPTH_MAX) {
        disks->unknown = true;
    } else if (major(mount->device) != 0) {
        follow_device(table, mount->device, disks, depth);
    } else if (strcmp(mount->fstype, "overlay") == 0) {
        follow_overlay(table, mount, disks, depth);
    } else if (text_starts(mount->source, "/dev/")) {
        dev_t device = find_source(mount);
        if (device == 0) {
            disks->unknown = true;
            return;
        }
        follow_device(table, device, disks, depth);
        if (strcmp(mount->fstype, "btrfs") == 0)
            follow_btrfs(table, device, disks, depth);
    } else if (strcmp(mount->fstype, "zfs") == 0) {
        disks->unknown = true;
    }
}

void layers_of_device(const struct mount_table *table, dev_t device, struct device_set *disks)
{
    follow_device(table, device, disks, 0);
}

void layers_of_mount(const struct mount_table *table, const struct mount *mount,
                     struct device_set *disks)
{
    follow_mount(table, mount, disks, 0);
}

void layers_of_path(const struct mount_table *table, const char *path, struct device_set *disks)
{
    follow_path(table, path, 0, disks, 0);
}

void layers_claimed_by_mount(const struct mount *mount, struct device_set *devices)
{
    dev_t device = mount->device;
    if (major(device) == 0 && strcmp(mount->fstype, "overlay") != 0 &&
        text_starts(mount->source, "/dev/"))
        device = find_source(mount);
    if (major(device) == 0)
        return;
    device_set_add(devices, device);
    if (strcmp(mount->fstype, "btrfs") == 0)
        add_btrfs_members(device, devices);
}

bool layers_writes_devices(const char *fstype)
{
    /* The last one writes to flash chips without a block layer. */
    static const char *const harmless[] = {"squashfs", "iso9660", "erofs",
                                           "cramfs",   "romfs",   "jffs2"};
    char line[64];
    if (strcmp(fstype, "zfs") == 0)
        return true;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strcmp(fstype, harmless[i]) == 0)
            return false;
    char *text = text_read_all("/proc/filesystems");
    text_format(line, sizeof line, "\t%s\n", fstype);
    const char *found = text == NULL ? NULL : strstr(text, line);
    /* "nodev\text" or "\text"; the line's start decides. */
    bool writes = found != NULL && (found == text || found[-1] == '\n');
    free(text);
    return writes;
}

bool layers_is_network(const char *fstype)
{
    static const char *const types[] = {
        "nfs",        "nfs4",      "cifs",  "smb3", "smbfs", "9p",     "ceph",          "virtiofs",
        "fuse.sshfs", "glusterfs", "ocfs2", "afs",  "gfs2",  "hostfs", "fuse.glusterfs"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(fstype, types[i]) == 0)
            return true;
    return false;
}

void layers_name(dev_t device, char *out, size_t size)
{
    char path[128], link[PATH_MAX];
    out[0] = '\0';
    ssize_t n = readlink(device_path(device, "", path, sizeof path), link, sizeof link - 1);
    if (n <= 0)
        return;
    link[n] = '\0';
    const char *slash = strrchr(link, '/');
    text_copy(out, size, slash == NULL ? link : slash + 1);
}

void layers_node(dev_t device, char *out, size_t size)
{
    char path[128], text[1024];
    if (text_read(device_path(device, "/uevent", path, sizeof path), text, sizeof text) > 0) {
        const char *name = strstr(text, "DEVNAME=");
        if (name != NULL) {
            text_format(out, size, "/dev/%.*s", (int)strcspn(name + 8, "\n"), name + 8);
            return;
        }
    }
    layers_name(device, text, sizeof text);
    text_format(out, size, "/dev/%s", text);
}

const char *layers_kind(dev_t device)
{
    char path[128], text[128];
    if (text_read(device_path(device, "/dm/uuid", path, sizeof path), text, sizeof text) >= 0)
        return text_starts(text, "LVM-") ? "lvm" : text_starts(text, "CRYPT-") ? "crypt" : "dm";
    if (access(device_path(device, "/md", path, sizeof path), F_OK) == 0)
        return "md";
    if (access(device_path(device, "/loop", path, sizeof path), F_OK) == 0)
        return "loop";
    return "plain";
}
