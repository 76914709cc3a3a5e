/* SPDX-License-Identifier: Apache-2.0 */
#include "partitions.h"

#include "filesystem.h"
#include "layers.h"
#include "loader.h"
#include "text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The partition and what is stacked upon it: LVM, dm-crypt. */
static void add_holders(dev_t device, struct device_set *set, int depth)
{
    char path[512];
    device_set_add(set, device);
    text_format(path, sizeof path, "/sys/dev/block/%u:%u/holders", major(device), minor(device));
    DIR *dir = depth > 4 ? NULL : opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char file[800];
        text_format(file, sizeof file, "%s/%s/dev", path, entry->d_name);
        dev_t holder = entry->d_name[0] == '.' ? 0 : layers_read_number(file);
        if (holder != 0)
            add_holders(holder, set, depth + 1);
    }
    if (dir != NULL)
        closedir(dir);
}

static bool is_mount_of(const struct mount *mount, const struct device_set *set)
{
    struct stat st;
    if (major(mount->device) != 0)
        return device_set_has(set, mount->device);
    return text_starts(mount->source, "/dev/") && stat(mount->source, &st) == 0 &&
           S_ISBLK(st.st_mode) && device_set_has(set, st.st_rdev);
}

/* Returns whether there was one, and whether one of them is neither the root nor of the boot. */
static bool write_mountpoints(struct json *json, const struct mount_table *table,
                              const struct device_set *set, bool *holds_data)
{
    bool mounted = false;
    json_open(json, "mountpoints", '[');
    for (unsigned i = 0; i < table->count; i++) {
        const struct mount *mount = &table->items[i];
        if (!is_mount_of(mount, set))
            continue;
        mounted = true;
        json_string(json, NULL, mount->point);
        if (strcmp(mount->point, "/") != 0 && !text_starts(mount->point, "/boot") &&
            !text_starts(mount->point, "/efi"))
            *holds_data = true;
    }
    json_close(json, '[');
    return mounted;
}

static void write_partition(struct json *json, const struct mount_table *table,
                            const char *directory)
{
    char path[800], node[256];
    struct device_set set = {.count = 0};
    struct filesystem fs = {.type = ""};
    char loader[LOADER_NAME_MAX] = "";
    bool data = false;
    text_format(path, sizeof path, "%s/partition", directory);
    int64_t number = text_read_number(path);
    text_format(path, sizeof path, "%s/dev", directory);
    dev_t device = layers_read_number(path);
    layers_node(device, node, sizeof node);
    int fd = open(node, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        filesystem_read(fd, &fs);
        if (number == 1 && strcmp(fs.type, "vfat") == 0)
            loader_find(fd, loader);
        close(fd);
    }
    add_holders(device, &set, 0);
    json_open(json, NULL, '{');
    json_string(json, "path", node);
    json_number(json, "number", number > 0 ? (uint64_t)number : 0);
    text_format(path, sizeof path, "%s/start", directory);
    int64_t start = text_read_number(path);
    text_format(path, sizeof path, "%s/size", directory);
    int64_t size = text_read_number(path);
    json_number(json, "start", start > 0 ? (uint64_t)start * 512 : 0);
    json_number(json, "size", size > 0 ? (uint64_t)size * 512 : 0);
    json_string(json, "filesystem", fs.type);
    json_string(json, "boot_loader", loader);
    json_string(json, "label", fs.label);
    json_string(json, "uuid", fs.uuid);
    bool mounted = write_mountpoints(json, table, &set, &data);
    json_bool(json, "is_data",
              data || (!mounted && fs.type[0] != '\0' && strcmp(fs.type, "swap") != 0));
    json_close(json, '{');
}

void partitions_write(struct json *json, const struct mount_table *table, const char *disk_name)
{
    char path[400];
    struct dirent **entries = NULL;
    text_format(path, sizeof path, "/sys/block/%s", disk_name);
    int count = *disk_name == '\0' ? 0 : scandir(path, &entries, NULL, versionsort);
    json_open(json, "partitions", '[');
    for (int i = 0; i < count; i++) {
        text_format(path, sizeof path, "/sys/block/%s/%s/partition", disk_name, entries[i]->d_name);
        if (access(path, F_OK) == 0) {
            *strrchr(path, '/') = '\0';
            write_partition(json, table, path);
        }
        free(entries[i]);
    }
    free(entries);
    json_close(json, '[');
}
