/* SPDX-License-Identifier: Apache-2.0 */
#include "watchdog.h"

#include "fault.h"
#include "process.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WATCHDOG_MISC    130 /* minor of /dev/watchdog among the misc devices (major 10) */
#define WANTED_TIMEOUT   60  /* seconds */
#define FALLBACK_SETTING "60000000"
#define TAKE_PATIENCE    50 /* tenths of a second for PID 1 to let go */

struct owner_search {
    dev_t nodes[8];
    unsigned count;
    pid_t owner;
};

static void find_nodes(struct owner_search *search)
{
    char path[320];
    struct stat st;
    search->nodes[search->count++] = makedev(10, WATCHDOG_MISC);
    DIR *dir = opendir("/dev");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL && search->count < 8) {
        text_format(path, sizeof path, "/dev/%s", entry->d_name);
        if (text_starts(entry->d_name, "watchdog") && stat(path, &st) == 0 && S_ISCHR(st.st_mode))
            search->nodes[search->count++] = st.st_rdev;
    }
    if (dir != NULL)
        closedir(dir);
}

static void visit(pid_t pid, void *arg)
{
    struct owner_search *search = arg;
    char path[320];
    struct stat st;
    text_format(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = search->owner != 0 ? NULL : opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        text_format(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
        if (stat(path, &st) != 0 || !S_ISCHR(st.st_mode))
            continue;
        for (unsigned i = 0; i < search->count; i++)
            if (search->nodes[i] == st.st_rdev)
                search->owner = pid;
    }
    if (dir != NULL)
        closedir(dir);
}

void watchdog_look(struct watchdog *watchdog)
{
    struct owner_search search = {.count = 0};
    pid_t parent;
    if (watchdog->ours)
        return;
    watchdog->fd = -1;
    watchdog->present = access("/dev/watchdog", F_OK) == 0;
    find_nodes(&search);
    process_each(visit, &search);
    watchdog->owner = search.owner;
    watchdog->owner_name[0] = '\0';
    if (search.owner != 0)
        process_stat(search.owner, watchdog->owner_name, &parent);
}

/* busctl with these words; its output, if wanted, into out. -1: it failed. */
static int ask_systemd(const char *verb, const char *value, char *out, size_t size)
{
    int status = -1, pipes[2] = {-1, -1};
    if (out != NULL && pipe2(pipes, O_CLOEXEC) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        for (int i = 0; i < 3 && null >= 0; i++)
            dup2(i == 1 && out != NULL ? pipes[1] : null, i);
        execl("/usr/bin/busctl", "busctl", verb, "org.freedesktop.systemd1",
              "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
              "RuntimeWatchdogUSec", value == NULL ? NULL : "t", value, (char *)NULL);
        _exit(127);
    }
    if (out != NULL) {
        close(pipes[1]);
        ssize_t n = child < 0 ? -1 : read(pipes[0], out, size - 1);
        out[n > 0 ? n : 0] = '\0';
        close(pipes[0]);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int cannot_take(struct fail *fail, const char *why)
{
    fault_set(fail, FAILCODE_REFUSED, "the watchdog is held by PID 1 and cannot be taken over: %s",
              why);
    return fault_remedy(fail, "switch it off first (systemd: RuntimeWatchdogSec=0 in system.conf)");
}

bool watchdog_is_foreign(const struct watchdog *watchdog, struct fail *fail)
{
    if (watchdog->ours || watchdog->owner <= 1)
        return false;
    /* Its tests may look at files and services that are no more, and then it resets the device in
     * the middle of the write; to end it may do the same. */
    fault_set(fail, FAILCODE_REFUSED, "the watchdog is held by %s (%d), which cannot be taken over",
              watchdog->owner_name, (int)watchdog->owner);
    fault_remedy(fail, "stop that program first, in the way that makes it close the watchdog in "
                       "order");
    return true;
}

/* What PID 1 had set, for later; systemd's own notation is a number of microseconds behind "t". */
static void remember_setting(struct watchdog *watchdog)
{
    char text[64];
    text_copy(watchdog->setting, sizeof watchdog->setting, FALLBACK_SETTING);
    if (ask_systemd("get-property", NULL, text, sizeof text) != 0 || !text_starts(text, "t "))
        return;
    text[strcspn(text, "\n")] = '\0';
    if (strspn(text + 2, "0123456789") == strlen(text + 2) && text[2] != '\0' &&
        strcmp(text + 2, "0") != 0)
        text_copy(watchdog->setting, sizeof watchdog->setting, text + 2);
}

static void own(struct watchdog *watchdog)
{
    int timeout = 0;
    if (ioctl(watchdog->fd, WDIOC_GETTIMEOUT, &timeout) != 0 || timeout <= 0)
        timeout = 10;
    watchdog->timeout = (unsigned)timeout;
    watchdog->fed = 0;
    watchdog->owner = 0;
    watchdog->ours = true;
}

int watchdog_take(struct watchdog *watchdog, struct fail *fail)
{
    int timeout = WANTED_TIMEOUT;
    watchdog_look(watchdog);
    if (watchdog_is_foreign(watchdog, fail))
        return -1;
    if (watchdog->ours || watchdog->owner == 0)
        return 0;
    if (access("/run/systemd/system", F_OK) != 0)
        return cannot_take(fail, "it is not systemd");
    remember_setting(watchdog);
    /* systemd closes it when RuntimeWatchdogUSec becomes 0 (org.freedesktop.systemd1(5)). */
    if (ask_systemd("set-property", "0", NULL, 0) != 0)
        return cannot_take(fail, "busctl could not set RuntimeWatchdogUSec");
    for (int i = 0; i < TAKE_PATIENCE && watchdog->fd < 0; i++) {
        watchdog->fd = open("/dev/watchdog", O_WRONLY | O_CLOEXEC);
        if (watchdog->fd < 0)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    if (watchdog->fd < 0) {
        cannot_take(fail, strerror(errno));
        ask_systemd("set-property", watchdog->setting, NULL, 0);
        return -1;
    }
    ioctl(watchdog->fd, WDIOC_SETTIMEOUT, &timeout);
    own(watchdog);
    return 0;
}

void watchdog_adopt(struct watchdog *watchdog, int fd)
{
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return;
    watchdog->fd = fd;
    own(watchdog);
}

void watchdog_feed(struct watchdog *watchdog, int64_t now)
{
    if (!watchdog->ours || now - watchdog->fed < (int64_t)watchdog->timeout * 250)
        return;
    watchdog->fed = now;
    ioctl(watchdog->fd, WDIOC_KEEPALIVE, 0);
}

void watchdog_give_back(struct watchdog *watchdog)
{
    if (!watchdog->ours)
        return;
    watchdog->ours = false;
    ssize_t ignored = write(watchdog->fd, "V", 1);
    (void)ignored;
    close(watchdog->fd);
    watchdog->fd = -1;
    ask_systemd("set-property", watchdog->setting, NULL, 0);
}
