/* SPDX-License-Identifier: Apache-2.0 */
#include "footing.h"

#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUPS    "/sys/fs/cgroup"
#define OWN_GROUP "/fleetflash"
#define OOM_SCORE "/proc/self/oom_score_adj"
#define OOM_NEVER "-1000" /* OOM_SCORE_ADJ_MIN of include/uapi/linux/oom.h */

static void leave_cgroup(void)
{
    char path[512];
    if (access(GROUPS "/cgroup.controllers", F_OK) == 0) {
        if (mkdir(GROUPS OWN_GROUP, 0755) == 0 || errno == EEXIST)
            text_write(GROUPS OWN_GROUP "/cgroup.procs", "0");
        return;
    }
    DIR *dir = opendir(GROUPS);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        /* The root of a v1 hierarchy has no limits and belongs to nobody. */
        text_format(path, sizeof path, GROUPS "/%s/cgroup.procs", entry->d_name);
        text_write(path, "0");
    }
    if (dir != NULL)
        closedir(dir);
}

void footing_take(const struct switches *switches)
{
    if (switch_is_on(switches, SWITCH_NO_FOOTING))
        return;
    leave_cgroup();
    text_write(OOM_SCORE, OOM_NEVER);
}

bool footing_find_foreign(const char *text, char *out, size_t size)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        const char *path = memchr(text, ':', length); /* ID:CONTROLLERS:PATH */
        path = path == NULL ? NULL : memchr(path + 1, ':', length - (size_t)(path + 1 - text));
        if (path != NULL) {
            text_format(out, size, "%.*s", (int)(length - (size_t)(path + 1 - text)), path + 1);
            if (strcmp(out, "/") != 0 && strcmp(out, OWN_GROUP) != 0)
                return true;
        }
        text += length + (text[length] == '\n');
    }
    out[0] = '\0';
    return false;
}

void footing_check(void (*warn)(const char *sentence, void *arg), void *arg)
{
    char found[128], sentence[256];
    char *groups = text_read_all("/proc/self/cgroup"); /* NULL: a kernel without them */
    if (groups != NULL && footing_find_foreign(groups, found, sizeof found))
        warn(text_format(sentence, sizeof sentence,
                         "the agent could not leave the control group %s: what ends that group "
                         "ends the agent",
                         found),
             arg);
    free(groups);
    if (text_read(OOM_SCORE, found, sizeof found) > 0 && strcmp(found, OOM_NEVER) != 0)
        warn(text_format(sentence, sizeof sentence,
                         "the kernel may end the agent when memory runs short: its oom_score_adj "
                         "stays %s",
                         found),
             arg);
    ssize_t n = readlink("/proc/self/exe", found, sizeof found - 1);
    found[n > 0 ? n : 0] = '\0';
    if (n > 0 && !text_starts(found, "/memfd:"))
        warn(text_format(sentence, sizeof sentence,
                         "this kernel runs no programs from sealed memory: the agent is %s", found),
             arg);
}
