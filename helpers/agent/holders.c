/* SPDX-License-Identifier: Apache-2.0 */
#include "holders.h"

#include "text.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#define TERM_PATIENCE 30 /* tenths of a second */
#define KILL_PATIENCE 20

static bool scope_has_mount(const struct holder_scope *scope, int id)
{
    for (unsigned i = 0; i < scope->mount_count; i++)
        if (scope->mounts[i] == id)
            return true;
    return false;
}

static bool descriptor_counts(const struct holder_scope *scope, pid_t pid, const char *number)
{
    char path[128], text[2048];
    struct statx st;
    unsigned flags;
    int mount_id;
    text_format(path, sizeof path, "/proc/%d/fdinfo/%s", (int)pid, number);
    if (text_read(path, text, sizeof text) <= 0 || !process_parse_fdinfo(text, &flags, &mount_id) ||
        (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) != 0)
        return false;
    text_format(path, sizeof path, "/proc/%d/fd/%s", (int)pid, number);
    /* A file on a server that is gone must not be asked for: that may take for ever. */
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &st) != 0)
        return false;
    if (S_ISBLK(st.stx_mode))
        return device_set_has(scope->devices, makedev(st.stx_rdev_major, st.stx_rdev_minor));
    dev_t device = makedev(st.stx_dev_major, st.stx_dev_minor);
    return S_ISREG(st.stx_mode) &&
           (device_set_has(scope->filesystems, device) || scope_has_mount(scope, mount_id));
}

static bool has_descriptor(const struct holder_scope *scope, pid_t pid)
{
    char path[64];
    bool found = false;
    text_format(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (!found && dir != NULL && (entry = readdir(dir)) != NULL)
        found = entry->d_name[0] != '.' && descriptor_counts(scope, pid, entry->d_name);
    if (dir != NULL)
        closedir(dir);
    return found;
}

static bool has_mapping(const struct holder_scope *scope, pid_t pid)
{
    char path[64], *save = NULL;
    bool found = false;
    text_format(path, sizeof path, "/proc/%d/maps", (int)pid);
    char *text = text_read_all(path);
    for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &save); line != NULL && !found;
         line = strtok_r(NULL, "\n", &save)) {
        struct process_map map;
        /* A mapping may be made writable later if the file was opened so: any shared one counts
         * when it is writable now; the others are caught by the shutdown of the file system, or by
         * its refusing the remount. */
        found = process_parse_map(line, &map) && map.shared && map.writable && map.inode != 0 &&
                device_set_has(scope->filesystems, map.device);
    }
    free(text);
    return found;
}

bool holders_holds(const struct holder_scope *scope, pid_t pid)
{
    return has_descriptor(scope, pid) || has_mapping(scope, pid);
}

struct search {
    const struct holder_scope *scope;
    const struct pid_set *spared;
    struct pid_set *found;
};

static void visit(pid_t pid, void *arg)
{
    struct search *search = arg;
    if (!pid_set_has(search->spared, pid) && !process_is_kernel_thread(pid) &&
        holders_holds(search->scope, pid))
        pid_set_add(search->found, pid);
}

void holders_find(const struct holder_scope *scope, const struct pid_set *spared,
                  struct pid_set *found)
{
    struct search search = {.scope = scope, .spared = spared, .found = found};
    process_each(visit, &search);
}

/* Waits until all are gone or the time (tenths of a second) is over. */
static void wait_gone(struct pid_set *set, int patience)
{
    for (int i = 0; i < patience && set->count > 0; i++) {
        unsigned left = 0;
        for (unsigned k = 0; k < set->count; k++)
            if (process_is_alive(set->items[k]))
                set->items[left++] = set->items[k];
        set->count = left;
        if (left > 0)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

static void signal_all(const struct pid_set *set, int number)
{
    for (unsigned i = 0; i < set->count; i++)
        kill(set->items[i], number);
}

/* Each name once: what is started again and again would fill the list. */
static void note_ended(struct ended *ended, const char *name)
{
    size_t used = strlen(ended->names), size = strlen(name);
    ended->count++;
    if (size == 0)
        return;
    for (const char *at = ended->names; (at = strstr(at, name)) != NULL; at += size)
        if ((at == ended->names || at[-1] == ' ') && (at[size] == ',' || at[size] == '\0'))
            return;
    text_format(ended->names + used, sizeof ended->names - used, "%s%s", used > 0 ? ", " : "",
                name);
}

void holders_end(const struct holder_scope *scope, const struct pid_set *spared,
                 struct ended *ended, const struct report *report)
{
    struct pid_set found = {.count = 0};
    char comm[32];
    pid_t parent;
    holders_find(scope, spared, &found);
    for (unsigned i = 0; i < found.count; i++)
        if (process_stat(found.items[i], comm, &parent)) {
            note_ended(ended, comm);
            report_log(report, LOG_INFO, "ending %s (%d): it writes to the disk", comm,
                       (int)found.items[i]);
        }
    signal_all(&found, SIGTERM);
    wait_gone(&found, TERM_PATIENCE);
    signal_all(&found, SIGKILL);
    wait_gone(&found, KILL_PATIENCE);
}
