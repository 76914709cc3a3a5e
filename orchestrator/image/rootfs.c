/* SPDX-License-Identifier: Apache-2.0 */
/* What a root file system says: which system it is, who could log in, what happens at first boot.
 */
#include "image/extfs.h"
#include "image/hostkeys.h"
#include "image/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASSWD_MAX (256u * 1024u)

static bool any_exists(struct extfs *fs, const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (extfs_exists(fs, paths[i]))
            return true;
    }
    return false;
}
#define ANY_EXISTS(fs, paths) any_exists((fs), (paths), sizeof(paths) / sizeof *(paths))

unsigned rootfs_score(const struct image_reader *reader, const struct image_partition *partition)
{
    static const char *const release[] = {"/etc/os-release", "/usr/lib/os-release"};
    static const char *const shell[] = {"/bin/sh", "/usr/bin/sh"};
    static const char *const init[] = {"/sbin/init", "/usr/sbin/init", "/etc/inittab",
                                       "/usr/lib/systemd/systemd", "/lib/systemd/systemd"};
    struct extfs *fs = extfs_open(reader, partition);
    if (fs == NULL)
        return 0;
    unsigned score = 2 * ANY_EXISTS(fs, release) + 2 * ANY_EXISTS(fs, shell) +
                     2 * ANY_EXISTS(fs, init) + extfs_exists(fs, "/etc/passwd");
    extfs_close(fs);
    return score >= 2 ? score : 0;
}

/* A whole small file as a terminated text, NULL when it cannot be read. The caller frees. */
static char *read_text(struct extfs *fs, const char *path, size_t most)
{
    char *text = malloc(most + 1);
    int size = text != NULL ? extfs_read(fs, path, 0, text, most) : -1;
    if (size < 0) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

/* PRETTY_NAME of os-release(5), its quotes taken off. */
static void find_os_name(struct extfs *fs, struct image_facts *facts)
{
    char *text = read_text(fs, "/etc/os-release", 16384);
    if (text == NULL)
        text = read_text(fs, "/usr/lib/os-release", 16384);
    if (text == NULL)
        return;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(line, "PRETTY_NAME=", 12) != 0)
            continue;
        line += 12;
        size_t length = strlen(line);
        if (length >= 2 && (*line == '"' || *line == '\'') && line[length - 1] == *line) {
            line[length - 1] = '\0';
            line++;
        }
        image_copy_text(line, strlen(line), facts->os_name, sizeof facts->os_name);
    }
    free(text);
}

static bool has_keys(struct extfs *fs, const char *home, bool is_root)
{
    static const char *const names[] = {".ssh/authorized_keys", ".ssh/authorized_keys2"};
    char path[512];
    for (size_t i = 0; i < 2; i++) {
        int size = snprintf(path, sizeof path, "%s/%s", home, names[i]);
        if (size > 0 && (size_t)size < sizeof path && extfs_is_filled(fs, path))
            return true;
    }
    return is_root && extfs_is_filled(fs, "/etc/dropbear/authorized_keys");
}

static bool can_log_in(const char *shell)
{
    static const char *const barred[] = {"nologin", "false", "sync", "halt", "shutdown"};
    const char *slash = strrchr(shell, '/');
    const char *name = slash != NULL ? slash + 1 : shell;
    for (size_t i = 0; i < sizeof barred / sizeof *barred; i++) {
        if (strcmp(name, barred[i]) == 0)
            return false;
    }
    return true;
}

/* One line of passwd(5). */
static void add_user(struct extfs *fs, char *line, struct image_facts *facts)
{
    char *fields[7];
    for (unsigned i = 0; i < 7; i++) {
        fields[i] = strsep(&line, i < 6 ? ":" : "");
        if (fields[i] == NULL)
            return;
    }
    char *end;
    unsigned long uid = strtoul(fields[2], &end, 10);
    if (end == fields[2] || *end != '\0' || (uid != 0 && (uid < 1000 || uid >= 60000)) ||
        !can_log_in(fields[6]))
        return;
    struct image_user *user = &facts->users[facts->user_count++];
    image_copy_text(fields[0], strlen(fields[0]), user->name, sizeof user->name);
    user->has_keys = has_keys(fs, fields[5], uid == 0);
}

static void find_users(struct extfs *fs, struct image_facts *facts)
{
    char *text = read_text(fs, "/etc/passwd", PASSWD_MAX);
    if (text == NULL)
        return;
    char *rest = text;
    size_t most = sizeof facts->users / sizeof *facts->users;
    for (char *line; facts->user_count < most && (line = strsep(&rest, "\n")) != NULL;)
        add_user(fs, line, facts);
    free(text);
}

static bool finds_ssh_server(struct extfs *fs)
{
    static const char *const servers[] = {
        "/usr/sbin/sshd",           "/usr/bin/sshd",      "/usr/local/sbin/sshd", "/sbin/sshd",
        "/usr/sbin/dropbear",       "/usr/bin/dropbear",  "/sbin/dropbear",       "/bin/dropbear",
        "/usr/local/sbin/dropbear", "/usr/sbin/tinysshd",
    };
    return ANY_EXISTS(fs, servers);
}

/* machine-id(5): the word asks systemd to run its first-boot units. */
static bool machine_id_asks(struct extfs *fs)
{
    char text[16];
    return extfs_read(fs, "/etc/machine-id", 0, text, sizeof text) >= 13 &&
           memcmp(text, "uninitialized", 13) == 0;
}

static bool finds_first_boot(struct extfs *fs)
{
    static const char *const marks[] = {
        /* cloud-init */
        "/usr/bin/cloud-init",
        "/etc/cloud/cloud.cfg",
        /* Raspberry Pi OS */
        "/usr/lib/raspi-config/init_resize.sh",
        "/usr/lib/raspberrypi-sys-mods/firstboot",
        "/boot/firmware/firstrun.sh",
        "/boot/firstrun.sh",
        "/etc/init.d/resize2fs_once",
        "/etc/systemd/system/multi-user.target.wants/regenerate_ssh_host_keys.service",
        /* Armbian, OpenWrt, Ignition */
        "/root/.not_logged_in_yet",
        "/etc/uci-defaults",
        "/usr/lib/dracut/modules.d/30ignition",
    };
    return ANY_EXISTS(fs, marks) || machine_id_asks(fs);
}

/* Names that change with the partition's number or the disk's signature. */
static bool names_a_place(const char *device)
{
    return strncmp(device, "PARTUUID=", 9) == 0 ||
           (strncmp(device, "/dev/", 5) == 0 && strchr(device + 5, '/') == NULL &&
            device[strcspn(device, "0123456789")] != '\0');
}

static void find_fstab_partition(struct extfs *fs, struct image_facts *facts)
{
    char *text = read_text(fs, "/etc/fstab", 16384);
    char *rest = text;
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;) {
        line += strspn(line, " \t");
        line[strcspn(line, " \t")] = '\0';
        if (!names_a_place(line))
            continue;
        image_copy_text(line, strlen(line), facts->fstab_partition, sizeof facts->fstab_partition);
        break;
    }
    free(text);
}

void rootfs_inspect(const struct image_reader *reader, const struct image_partition *partition,
                    struct image_facts *facts)
{
    struct extfs *fs = extfs_open(reader, partition);
    if (fs == NULL)
        return;
    facts->looked_inside = true;
    machine_find(fs, facts);
    find_os_name(fs, facts);
    facts->has_ssh_server = finds_ssh_server(fs);
    hostkeys_find(fs, facts);
    find_users(fs, facts);
    facts->has_first_boot = finds_first_boot(fs);
    find_fstab_partition(fs, facts);
    extfs_close(fs);
}
