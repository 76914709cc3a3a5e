/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include "choose.h"
#include "claims.h"
#include "fault.h"
#include "filesystem.h"
#include "footing.h"
#include "json.h"
#include "layers.h"
#include "loader.h"
#include "network.h"
#include "partitions.h"
#include "pin.h"
#include "superblocks.h"
#include "swap.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

struct survey {
    const struct facts_config *config;
    struct json json;
    struct mount_table mounts;
    struct superblocks superblocks;
    struct swap_table swaps;
};

/* --- the machine -------------------------------------------------------------------------- */

static void write_model(struct json *json)
{
    char text[256], vendor[128];
    if (text_read("/proc/device-tree/model", text, sizeof text) > 0) {
        json_string(json, "model", text);
    } else if (text_read("/sys/class/dmi/id/product_name", text, sizeof text) > 0) {
        char both[400];
        text_read("/sys/class/dmi/id/sys_vendor", vendor, sizeof vendor);
        json_string(json, "model", text_format(both, sizeof both, "%s %s", vendor, text));
    } else {
        json_string(json, "model", "");
    }
}

static const char *find_init(void)
{
    char comm[32], exe[256] = "";
    text_read("/proc/1/comm", comm, sizeof comm);
    ssize_t n = readlink("/proc/1/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    if (strcmp(comm, "systemd") == 0 || access("/run/systemd/system", F_OK) == 0)
        return "systemd";
    if (access("/run/openrc", F_OK) == 0)
        return "openrc";
    if (strstr(exe, "busybox") != NULL)
        return "busybox";
    return strcmp(comm, "init") == 0 ? "sysv" : "other";
}

static void write_machine(struct survey *s)
{
    struct json *json = &s->json;
    struct utsname name;
    struct memory_info memory = {0};
    char text[128];
    uname(&name);
    memory_read(&memory);
    json_string(json, "machine", name.machine);
    json_string(json, "kernel", name.release);
    json_string(json, "hostname", name.nodename);
    write_model(json);
    text_read("/proc/sys/kernel/random/boot_id", text, sizeof text);
    json_string(json, "boot_id", text);
    json_string(json, "init", find_init());
    json_number(json, "memory_total", memory.total);
    json_number(json, "memory_available", memory.available);
    json_number(json, "stage_room", choose_room(&memory, s->config->target->lifeline));
    json_number(json, "lifeline", s->config->target->lifeline);
    json_number(json, "uid_attached", s->config->uid);
}

/* --- the disk ----------------------------------------------------------------------------- */

static void write_property(struct json *json, const char *key, const char *disk,
                           const char *const *files)
{
    char path[256], text[256];
    for (; *files != NULL; files++) {
        text_format(path, sizeof path, "/sys/block/%s/%s", disk, *files);
        if (*disk != '\0' && text_read(path, text, sizeof text) > 0) {
            json_string(json, key, text);
            return;
        }
    }
    json_string(json, key, "");
}

static void write_disk(struct survey *s)
{
    static const char *const serials[] = {"device/serial", "serial", "device/cid", NULL};
    static const char *const models[] = {"device/model", "device/name", NULL};
    const struct target *target = s->config->target;
    struct disk *disk = s->config->disk;
    struct json *json = &s->json;
    struct partition_table table = {.kind = ""};
    char path[160];
    json_open(json, "disk", '{');
    json_string(json, "path", target->path);
    text_format(path, sizeof path, "/sys/block/%s/size", target->name);
    int64_t sectors = text_read_number(path);
    json_number(json, "size",
                disk->fd >= 0 ? disk->size
                : sectors > 0 ? (uint64_t)sectors * 512
                              : 0);
    write_property(json, "serial", target->name, serials);
    write_property(json, "model", target->name, models);
    json_number(json, "logical_sector", disk->fd >= 0 ? disk->logical_sector : 512);
    text_format(path, sizeof path, "/sys/block/%s/removable", target->name);
    json_bool(json, "removable", text_read_number(path) == 1);
    json_bool(json, "has_root", target->has_root);
    if (disk->fd >= 0)
        partition_table_read(disk->fd, disk->logical_sector, &table);
    json_string(json, "table", table.kind);
    json_string(json, "signature", table.signature);
    json_string(json, "guid", table.guid);
    json_bool(json, "stale_table", loader_is_stale(disk));
    json_close(json, '{');
}

static void write_layer(struct json *json, dev_t device)
{
    char node[256];
    layers_node(device, node, sizeof node);
    json_string(json, NULL, node);
}

static void write_root(struct survey *s)
{
    const struct mount *root = mounts_root(&s->mounts);
    struct json *json = &s->json;
    struct stat st;
    if (root == NULL)
        return;
    dev_t device = root->device;
    if (major(device) == 0 && stat(root->source, &st) == 0 && S_ISBLK(st.st_mode))
        device = st.st_rdev;
    bool overlay = strcmp(root->fstype, "overlay") == 0;
    json_open(json, "root", '{');
    json_string(json, "fstype", root->fstype);
    json_string(json, "kind", overlay ? "overlay" : layers_kind(device));
    json_open(json, "layers", '[');
    if (major(device) != 0)
        write_layer(json, device);
    for (unsigned i = 0; overlay && i < s->superblocks.count; i++)
        if (s->superblocks.items[i].on_disk && major(s->superblocks.items[i].device) != 0)
            write_layer(json, s->superblocks.items[i].device);
    json_close(json, '[');
    json_close(json, '{');
}

static void write_swaps(struct survey *s)
{
    struct json *json = &s->json;
    json_open(json, "swaps", '[');
    for (unsigned i = 0; i < s->swaps.count; i++) {
        const struct swap *swap = &s->swaps.items[i];
        json_open(json, NULL, '{');
        json_string(json, "path", swap->path);
        json_number(json, "size", swap->size);
        json_number(json, "used", swap->used);
        json_bool(json, "on_disk", swap->on_disk);
        json_close(json, '{');
    }
    json_close(json, '[');
}

static void write_surroundings(struct survey *s)
{
    const struct watchdog *watchdog = s->config->watchdog;
    struct json *json = &s->json;
    struct network network;
    network_look(s->config->relay, &network);
    json_open(json, "network", '{');
    json_string(json, "interface", network.interface);
    json_bool(json, "wifi", network.wifi);
    if (network.lease >= 0)
        json_number(json, "lease", (uint64_t)network.lease);
    else
        json_null(json, "lease");
    json_close(json, '{');
    json_open(json, "watchdog", '{');
    json_bool(json, "present", watchdog->present);
    json_string(json, "owner", watchdog->owner == 0 ? NULL : watchdog->owner_name);
    json_number(json, "owner_pid", (uint64_t)watchdog->owner);
    json_close(json, '{');
}

/* --- rules -------------------------------------------------------------------------------- */

/* The first one is also what BEGIN will be refused with. */
static void refuse(struct survey *s, const char *rule, const struct fail *fail)
{
    struct fail *first = &s->config->target->refusal;
    if (first->code == 0)
        *first = *fail;
    json_open(&s->json, NULL, '{');
    json_string(&s->json, "rule", rule);
    json_string(&s->json, "text", fail->text);
    json_string(&s->json, "remedy", fail->remedy);
    json_close(&s->json, '{');
}

static void refuse_busy_filesystems(struct survey *s)
{
    for (unsigned i = 0; i < s->superblocks.count; i++) {
        const struct superblock *sb = &s->superblocks.items[i];
        struct fail fail;
        if (!sb->on_disk || !sb->was_writable || strcmp(sb->fstype, "bcachefs") != 0)
            continue;
        fault_set(&fail, FAILCODE_REFUSED, "no way is known to silence %s (%s)", sb->fstype,
                  sb->point);
        fault_remedy(&fail, "use netboot mode");
        refuse(s, "filesystem", &fail);
    }
}

/* The first PID namespace has this number (include/linux/proc_ns.h, PROC_PID_INIT_INO). */
static bool is_in_container(void)
{
    char link[64];
    ssize_t n = readlink("/proc/self/ns/pid", link, sizeof link - 1);
    if (n <= 0)
        return false; /* a kernel without them */
    link[n] = '\0';
    return strcmp(link, "pid:[4026531836]") != 0;
}

static void write_refusals(struct survey *s, const struct fail *mount_fail)
{
    const struct facts_config *config = s->config;
    const struct mount *root = mounts_root(&s->mounts);
    struct fail fail;
    json_open(&s->json, "refusals", '[');
    if (root != NULL && layers_is_network(root->fstype)) {
        fault_set(&fail, FAILCODE_REFUSED, "the root file system is %s from %s, not a disk",
                  root->fstype, root->source);
        fault_remedy(&fail, "use netboot mode for devices with a network root");
        refuse(s, "network-root", &fail);
    }
    if (config->disk->fd < 0)
        refuse(s, "disk", config->disk_fail);
    if (mount_fail->code != 0)
        refuse(s, "mounts", mount_fail);
    refuse_busy_filesystems(s);
    if (is_in_container()) {
        fault_set(&fail, FAILCODE_REFUSED,
                  "this is a container: who else writes to the disk cannot "
                  "be seen, and the machine cannot be rebooted");
        fault_remedy(&fail, "flash the machine that it runs on");
        refuse(s, "container", &fail);
    }
    if (config->disk->fd >= 0 && mount_fail->code == 0 &&
        claims_check(&s->mounts, config->target->device, &s->superblocks, &s->swaps, &fail) != 0)
        refuse(s, "in-use", &fail);
    if (config->watchdog->owner == 1 && strcmp(find_init(), "systemd") != 0) {
        fault_set(&fail, FAILCODE_REFUSED, "the watchdog is held by PID 1, which is not systemd");
        fault_remedy(&fail, "switch the watchdog off in init's configuration");
        refuse(s, "watchdog", &fail);
    }
    if (watchdog_is_foreign(config->watchdog, &fail))
        refuse(s, "watchdog", &fail);
    json_close(&s->json, '[');
}

static void warn(struct survey *s, const char *format, const char *first, const char *second)
{
    char text[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    text_format(text, sizeof text, format, first, second);
#pragma GCC diagnostic pop
    json_string(&s->json, NULL, text);
}

static void footing_warn(const char *sentence, void *arg)
{
    json_string(arg, NULL, sentence);
}

static void write_warnings(struct survey *s)
{
    const struct watchdog *watchdog = s->config->watchdog;
    json_open(&s->json, "warnings", '[');
    if (!s->config->target->has_root)
        warn(s, "%s is not the disk that this system runs from%s", s->config->target->path, "");
    if (watchdog->owner == 1)
        warn(s, "the watchdog held by %s is taken over while the disk is written%s",
             watchdog->owner_name, "");
    if (access("/proc/sysrq-trigger", W_OK) != 0)
        warn(s, "this kernel has no SysRq: file systems must become read-only by themselves%s%s",
             "", "");
    footing_check(footing_warn, &s->json);
    for (unsigned i = 0; i < s->superblocks.count; i++) {
        const struct superblock *sb = &s->superblocks.items[i];
        /* A FAT /boot is what every board has: the fence deals with it, nobody needs to be told. */
        if (sb->on_disk && sb->was_writable && !sb->can_shut && !sb->is_overlay &&
            strcmp(sb->fstype, "vfat") != 0)
            warn(s, "%s on %s has no shutdown ioctl: nothing may write there at commit", sb->fstype,
                 sb->point);
    }
    json_close(&s->json, '[');
}

/* --- all of it ---------------------------------------------------------------------------- */

/* Memory that the fence will take: pinned files, and swap that comes back. */
static uint64_t measure_lifeline(const struct survey *s)
{
    struct pid_set lifeline = {.count = 0};
    process_lifeline(s->config->relay, s->config->watchdog->owner, &lifeline);
    uint64_t bytes = pin_estimate(&s->superblocks.devices, &lifeline);
    for (unsigned i = 0; i < s->swaps.count; i++)
        if (s->swaps.items[i].on_disk)
            bytes += s->swaps.items[i].used;
    return bytes;
}

char *facts_collect(const struct facts_config *config)
{
    struct fail mount_fail = {0};
    struct survey *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->config = config;
    memset(&config->target->refusal, 0, sizeof config->target->refusal);
    mounts_read(&s->mounts, 0);
    if (!config->is_file) {
        superblocks_find(&s->superblocks, config->target->device, &mount_fail);
        swaps_read(&s->swaps, &s->mounts, config->target->device);
        config->target->lifeline = measure_lifeline(s);
    }
    json_open(&s->json, NULL, '{');
    write_machine(s);
    write_disk(s);
    partitions_write(&s->json, &s->mounts, config->target->name);
    write_root(s);
    write_swaps(s);
    write_surroundings(s);
    if (config->is_file) {
        json_open(&s->json, "refusals", '[');
        json_close(&s->json, '[');
        json_open(&s->json, "warnings", '[');
        json_string(&s->json, NULL, "a file stands in for the disk");
        json_close(&s->json, '[');
    } else {
        write_refusals(s, &mount_fail);
        write_warnings(s);
    }
    json_close(&s->json, '{');
    char *text = json_take(&s->json);
    superblocks_close(&s->superblocks);
    mounts_free(&s->mounts);
    free(s);
    return text;
}
