/* SPDX-License-Identifier: Apache-2.0 */
#include "claims.h"

#include "fault.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void claims_list_layers(const struct mount_table *table, dev_t disk, struct device_set *layers)
{
    char path[320];
    DIR *dir = opendir("/sys/class/block");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct device_set disks = {.count = 0};
        text_format(path, sizeof path, "/sys/class/block/%s/dev", entry->d_name);
        dev_t device = entry->d_name[0] == '.' ? 0 : layers_read_number(path);
        if (device == 0 || device == disk)
            continue;
        layers_of_device(table, device, &disks);
        if (device_set_has(&disks, disk))
            device_set_add(layers, device);
    }
    if (dir != NULL)
        closedir(dir);
}

/* A kernel user above it (LVM, dm-crypt, md, bcache) is a layer of its own. */
static bool has_holder(dev_t device)
{
    char path[128];
    bool found = false;
    text_format(path, sizeof path, "/sys/dev/block/%u:%u/holders", major(device), minor(device));
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (!found && dir != NULL && (entry = readdir(dir)) != NULL)
        found = entry->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return found;
}

/* Swap files are the file system's; zram may write back to a device, which it keeps. */
static void add_swap_devices(const struct swap_table *swaps, struct device_set *users)
{
    struct stat st;
    char path[320], text[512];
    for (unsigned i = 0; i < swaps->count; i++)
        if (stat(swaps->items[i].path, &st) == 0 && S_ISBLK(st.st_mode))
            device_set_add(users, st.st_rdev);
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        text_format(path, sizeof path, "/sys/block/%s/backing_dev", entry->d_name);
        if (text_starts(entry->d_name, "zram") && text_read(path, text, sizeof text) > 0 &&
            stat(text, &st) == 0 && S_ISBLK(st.st_mode))
            device_set_add(users, st.st_rdev);
    }
    if (dir != NULL)
        closedir(dir);
}

static bool is_claimed(dev_t device)
{
    char node[256];
    layers_node(device, node, sizeof node);
    int fd = open(node, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd < 0 && errno == EBUSY;
}

static int claim_fault(dev_t device, struct fail *fail)
{
    char node[256];
    layers_node(device, node, sizeof node);
    fault_set(fail, FAILCODE_REFUSED,
              "the kernel uses %s, but no mount, swap or layer above shows for what", node);
    return fault_remedy(fail, "export the pool, end what holds a file system that was unmounted "
                              "lazily, or use netboot mode");
}

int claims_check(const struct mount_table *table, dev_t disk, const struct superblocks *superblocks,
                 const struct swap_table *swaps, struct fail *fail)
{
    struct device_set layers = {.count = 0}, users = superblocks->grounds;
    bool any = device_set_has(&users, disk) || has_holder(disk);
    add_swap_devices(swaps, &users);
    claims_list_layers(table, disk, &layers);
    for (unsigned i = 0; i < layers.count; i++) {
        dev_t device = layers.items[i];
        bool known = device_set_has(&users, device) || has_holder(device);
        any = any || known;
        if (!known && is_claimed(device))
            return claim_fault(device, fail);
    }
    /* A claim on a partition is one on the whole disk as well. */
    if (!any && !device_set_has(&users, disk) && is_claimed(disk))
        return claim_fault(disk, fail);
    return 0;
}
