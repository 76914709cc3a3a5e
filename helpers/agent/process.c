/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include "text.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool pid_set_has(const struct pid_set *set, pid_t pid)
{
    for (unsigned i = 0; i < set->count; i++)
        if (set->items[i] == pid)
            return true;
    return false;
}

void pid_set_add(struct pid_set *set, pid_t pid)
{
    if (set->count < PIDS_MAX && !pid_set_has(set, pid))
        set->items[set->count++] = pid;
}

void process_each(void (*visit)(pid_t pid, void *arg), void *arg)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]))
            visit((pid_t)atoi(entry->d_name), arg);
    if (dir != NULL)
        closedir(dir);
}

bool process_parse_stat(const char *text, char comm[32], pid_t *parent)
{
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    char state;
    int ppid;
    if (open == NULL || close == NULL || close < open ||
        sscanf(close + 1, " %c %d", &state, &ppid) != 2)
        return false;
    text_format(comm, 32, "%.*s", (int)(close - open - 1), open + 1);
    *parent = ppid;
    return true;
}

static bool read_stat(pid_t pid, char *text, size_t size)
{
    char path[64];
    text_format(path, sizeof path, "/proc/%d/stat", (int)pid);
    return text_read(path, text, size) > 0;
}

bool process_stat(pid_t pid, char comm[32], pid_t *parent)
{
    char text[1024];
    return read_stat(pid, text, sizeof text) && process_parse_stat(text, comm, parent);
}

bool process_is_alive(pid_t pid)
{
    char text[1024];
    const char *close;
    return read_stat(pid, text, sizeof text) && (close = strrchr(text, ')')) != NULL &&
           strlen(close) > 2 && close[2] != 'Z' && close[2] != 'X';
}

/* Kernel threads are kthreadd (2) and its children; other PID namespaces have neither. */
bool process_is_kernel_thread(pid_t pid)
{
    char comm[32], path[64], link[8];
    pid_t parent;
    if (!process_stat(pid, comm, &parent) || (pid != 2 && parent != 2))
        return false;
    text_format(path, sizeof path, "/proc/%d/exe", (int)pid);
    return readlink(path, link, sizeof link) < 0;
}

static bool is_lifeline_name(const char *comm)
{
    /* As the kernel cuts them, at 15 bytes. */
    static const char *const names[] = {
        "sshd",       "sshd-session",   "sshd-auth", "dropbear",        "sudo",
        "doas",       "wpa_supplicant", "iwd",       "dhcpcd",          "dhclient",
        "udhcpc",     "NetworkManager", "connmand",  "systemd-network", "hostapd",
        "tailscaled", "netifd",         "odhcp6c",   "nm-dhcp-helper",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(comm, names[i], 15) == 0)
            return true;
    return false;
}

static void add_by_name(pid_t pid, void *arg)
{
    char comm[32];
    pid_t parent;
    if (process_stat(pid, comm, &parent) && is_lifeline_name(comm))
        pid_set_add(arg, pid);
}

void process_lifeline(pid_t relay, pid_t extra, struct pid_set *set)
{
    char comm[32];
    pid_t starts[2] = {relay, getpid()};
    pid_set_add(set, 1);
    if (extra > 0)
        pid_set_add(set, extra);
    for (int i = 0; i < 2; i++)
        for (pid_t pid = starts[i], parent = 0; pid > 1; pid = parent) {
            pid_set_add(set, pid);
            if (!process_stat(pid, comm, &parent))
                break;
        }
    process_each(add_by_name, set);
}

bool process_parse_map(const char *line, struct process_map *map)
{
    char perms[8];
    unsigned major, minor;
    unsigned long long offset;
    int at = 0;
    if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu %n", &map->start, &map->end, perms, &offset,
               &major, &minor, &map->inode, &at) != 7)
        return false;
    map->readable = perms[0] == 'r';
    map->writable = perms[1] == 'w';
    map->shared = perms[3] == 's';
    map->device = makedev(major, minor);
    map->path = line + at;
    return true;
}

bool process_parse_fdinfo(const char *text, unsigned *flags, int *mount_id)
{
    const char *line = strstr(text, "flags:");
    if (line == NULL || sscanf(line + 6, " %o", flags) != 1)
        return false;
    line = strstr(text, "mnt_id:");
    if (line == NULL || sscanf(line + 7, " %d", mount_id) != 1)
        *mount_id = -1;
    return true;
}
