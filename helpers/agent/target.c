/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include "fault.h"
#include "layers.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int resolve_root(const struct mount_table *table, dev_t *device, struct fail *fail)
{
    const struct mount *root = mounts_root(table);
    struct device_set disks = {.count = 0};
    if (root == NULL)
        return fault_set(fail, FAILCODE_DISK, "no file system is mounted at /");
    if (layers_is_network(root->fstype)) {
        fault_set(fail, FAILCODE_REFUSED, "the root file system is %s from %s, not a disk",
                  root->fstype, root->source);
        return fault_remedy(fail, "use netboot mode for devices with a network root");
    }
    layers_of_mount(table, root, &disks);
    if (disks.unknown) {
        fault_set(fail, FAILCODE_REFUSED,
                  "what the root file system (%s on %s) rests on cannot be seen", root->fstype,
                  root->source);
        return fault_remedy(fail, "use netboot mode");
    }
    if (disks.count == 0) {
        fault_set(fail, FAILCODE_DISK, "the root file system (%s) is not on a disk", root->fstype);
        return fault_remedy(fail, "name the disk with 'device:'");
    }
    if (disks.count > 1) {
        fault_set(fail, FAILCODE_REFUSED, "the root file system spreads over %u disks",
                  disks.count);
        return fault_remedy(fail, "only roots on one disk can be flashed live; use netboot mode");
    }
    *device = disks.items[0];
    return 0;
}

/* True where one of the files below the disk in sysfs, or udev's record, has this value. */
static bool disk_has(const char *name, const char *const *files, const char *const *keys,
                     const char *wanted)
{
    char path[256], text[8192];
    for (; *files != NULL; files++) {
        text_format(path, sizeof path, "/sys/block/%s/%s", name, *files);
        if (text_read(path, text, sizeof text) > 0 && strcmp(text, wanted) == 0)
            return true;
    }
    text_format(path, sizeof path, "/sys/block/%s/dev", name);
    dev_t device = layers_read_number(path);
    text_format(path, sizeof path, "/run/udev/data/b%u:%u", major(device), minor(device));
    if (text_read(path, text, sizeof text) <= 0)
        return false;
    for (; *keys != NULL; keys++) {
        char line[512];
        text_format(line, sizeof line, "E:%s=%s", *keys, wanted);
        const char *found = strstr(text, line);
        if (found != NULL && strchr("\n", found[strlen(line)]) != NULL)
            return true;
    }
    return false;
}

static int resolve_property(const char *what, const char *wanted, dev_t *device, struct fail *fail)
{
    static const char *const serial_files[] = {"device/serial", "serial", "device/cid", "wwid",
                                               NULL};
    static const char *const serial_keys[] = {"ID_SERIAL_SHORT", "ID_SERIAL", "ID_WWN", NULL};
    static const char *const model_files[] = {"device/model", "device/name", NULL};
    static const char *const model_keys[] = {"ID_MODEL", "ID_NAME", NULL};
    bool serial = strcmp(what, "serial") == 0;
    unsigned matches = 0;
    char path[320];
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || !disk_has(entry->d_name, serial ? serial_files : model_files,
                                                 serial ? serial_keys : model_keys, wanted))
            continue;
        text_format(path, sizeof path, "/sys/block/%s/dev", entry->d_name);
        *device = layers_read_number(path);
        matches++;
    }
    if (dir != NULL)
        closedir(dir);
    if (matches == 1)
        return 0;
    fault_set(fail, FAILCODE_DISK, "%u disks have the %s '%s'", matches, what, wanted);
    return fault_remedy(fail, "exactly one must; look at --check, or use /dev/disk/by-id/…");
}

static int resolve_path(const struct mount_table *table, const char *path, dev_t *device,
                        struct fail *fail)
{
    struct stat st;
    char disk[256];
    if (stat(path, &st) != 0)
        return fault_set(fail, FAILCODE_DISK, "%s: %s", path, strerror(errno));
    if (!S_ISBLK(st.st_mode))
        return fault_set(fail, FAILCODE_DISK, "%s is not a block device", path);
    struct device_set disks = {.count = 0};
    layers_of_device(table, st.st_rdev, &disks);
    if (disks.count == 1 && disks.items[0] == st.st_rdev && !disks.unknown) {
        *device = st.st_rdev;
        return 0;
    }
    fault_set(fail, FAILCODE_DISK, "%s is not a whole disk", path);
    if (disks.count == 1) {
        layers_node(disks.items[0], disk, sizeof disk);
        fault_remedy(fail, "the disk below it is %s", disk);
    }
    return -1;
}

static int resolve(struct target *target, const struct mount_table *table, const char *request,
                   struct fail *fail)
{
    struct device_set under_root = {.count = 0};
    struct stat st;
    const struct mount *root = mounts_root(table);
    int status;
    if (strcmp(request, "auto") == 0 || *request == '\0')
        status = resolve_root(table, &target->device, fail);
    else if (text_starts(request, "serial:"))
        status = resolve_property("serial", request + 7, &target->device, fail);
    else if (text_starts(request, "model:"))
        status = resolve_property("model", request + 6, &target->device, fail);
    else
        status = resolve_path(table, request, &target->device, fail);
    if (status != 0)
        return -1;
    if (root != NULL)
        layers_of_mount(table, root, &under_root);
    target->has_root = device_set_has(&under_root, target->device);
    if (under_root.unknown && !target->has_root) {
        fault_set(fail, FAILCODE_REFUSED,
                  "what the root file system (%s on %s) rests on cannot be seen: perhaps this disk",
                  root->fstype, root->source);
        return fault_remedy(fail, "use netboot mode");
    }
    layers_name(target->device, target->name, sizeof target->name);
    layers_node(target->device, target->path, sizeof target->path);
    if (stat(target->path, &st) != 0 || !S_ISBLK(st.st_mode) || st.st_rdev != target->device)
        return fault_set(fail, FAILCODE_DISK, "the disk %s has no node %s", target->name,
                         target->path);
    return 0;
}

int target_resolve(struct target *target, const char *request, struct fail *fail)
{
    struct mount_table table;
    memset(target, 0, sizeof *target);
    if (mounts_read(&table, 0) != 0)
        return fault_set(fail, FAILCODE_DISK, "cannot read /proc/self/mountinfo");
    int status = resolve(target, &table, request, fail);
    mounts_free(&table);
    return status;
}
