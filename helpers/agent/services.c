/* SPDX-License-Identifier: Apache-2.0 */
#include "services.h"

#include "text.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_left(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    bool left = false;
    while (dir != NULL && !left && (entry = readdir(dir)) != NULL)
        left = text_starts(entry->d_name, "undo-") && strlen(entry->d_name) == strlen("undo-") + 8;
    if (dir != NULL)
        closedir(dir);
    return left;
}

/* In the child: what the agent has set for itself must not come upon the services. Does not return.
 */
static void run_shell(const char *directory)
{
    static char *const envp[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL};
    char script[] = "for f in \"$1\"/undo-????????; do sh \"$f\"; rm -f \"$f\"; done";
    char *argv[] = {"sh", "-c", script, "sh", (char *)directory, NULL};
    sigset_t none;
    setsid();
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    text_write("/proc/self/oom_score_adj", "0");
    umask(022);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    execve("/bin/sh", argv, envp);
    _exit(127);
}

bool services_start(const char *directory)
{
    if (directory[0] == '\0' || !is_left(directory))
        return false;
    pid_t child = fork();
    if (child == 0)
        run_shell(directory);
    return child > 0;
}
