/* SPDX-License-Identifier: Apache-2.0 */
/* The first load of a policy, in a child of its own. The child tells its steps through a pipe, so
 * that its death can be put into a sentence.
 *
 * The child goes on after fork without exec, in a program that may have threads: glibc keeps malloc
 * usable there; if another thread holds the loader's lock at that moment, the child hangs and the
 * policy is refused for not answering. That is why policies are loaded before the run begins. */
#include "policy/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The child: quiet, with no handler of ours (they write into pipes that the parent's loop reads).
 */
static void child_isolate(void)
{
    const struct rlimit no_core = {0, 0};
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &no_core);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
}

__attribute__((noreturn)) static void child_main(const char *path, int fd)
{
    struct policy_file file;
    char why[1 + 400] = {STEP_REFUSED};
    child_isolate();
    if (policy_file_open(&file, path, fd, why + 1, sizeof why - 1) != 0)
        _exit(write(fd, why, strlen(why)) < 0);
    why[0] = STEP_UNLOAD;
    if (write(fd, why, 1) == 1) {
        policy_file_close(&file);
        why[0] = STEP_DONE;
    }
    _exit(write(fd, why, 1) < 0);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads what the child says until its pipe ends, it has said its last step, or the time is over. */
static void child_listen(int fd, int64_t deadline, char *said, size_t said_size)
{
    size_t size = 0;
    while (size + 1 < said_size && (size == 0 || said[size - 1] != STEP_DONE)) {
        struct pollfd pollfd = {fd, POLLIN, 0};
        int64_t left = deadline - now_ms();
        int ready = poll(&pollfd, 1, left > 0 ? (int)left : 0);
        ssize_t got = ready <= 0 ? ready : read(fd, said + size, said_size - 1 - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    said[size] = '\0';
}

/* Waits for the child's own end, which is what the message is about, and kills it when that does
 * not come (it may have closed the pipe and gone on). Returns whether it ended by itself. */
static bool child_reap(pid_t child, int64_t deadline, int *status)
{
    const struct timespec pause = {0, 1000000};
    pid_t reaped;
    while ((reaped = waitpid(child, status, WNOHANG)) == 0 && now_ms() < deadline)
        nanosleep(&pause, NULL);
    kill(-child, SIGKILL); /* its own children, too */
    if (reaped != 0)
        return true;
    while (waitpid(child, status, 0) < 0 && errno == EINTR)
        ;
    return false;
}

static const char *step_name(char step)
{
    switch (step) {
    case STEP_CALL:
        return "in fleetflash_policy()";
    case STEP_READ:
        return "while its table was read";
    case STEP_UNLOAD:
        return "in its destructor";
    default:
        return "while it was loaded (in a constructor?)";
    }
}

/* Turns the child's last words and its end into the reason. */
static int child_judge(const char *said, bool ended, int status, char *why, size_t why_size)
{
    const char *refused = strchr(said, STEP_REFUSED);
    size_t length = strlen(said);
    char last = length > 0 ? said[length - 1] : STEP_LOAD;
    if (refused == NULL && last == STEP_DONE)
        return 0;
    if (refused != NULL)
        snprintf(why, why_size, "%s", refused + 1);
    else if (!ended)
        snprintf(why, why_size, "it does not return %s", step_name(last));
    else if (WIFSIGNALED(status))
        snprintf(why, why_size, "it crashes %s (signal %d, %s)", step_name(last), WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(why, why_size, "it ends the program %s (exit status %d)", step_name(last),
                 WEXITSTATUS(status));
    return -1;
}

int policy_file_probe(const char *path, int timeout_ms, char *why, size_t why_size)
{
    int pipe_fds[2], status = 0;
    char said[512];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        snprintf(why, why_size, "no pipe to try it: %s", strerror(errno));
        return -1;
    }
    pid_t child = fork();
    if (child == 0)
        child_main(path, pipe_fds[1]);
    close(pipe_fds[1]);
    if (child < 0) {
        snprintf(why, why_size, "no process to try it: %s", strerror(errno));
        close(pipe_fds[0]);
        return -1;
    }
    setpgid(child, child); /* here too: the kill must not come before the child's own call */
    int64_t deadline = now_ms() + timeout_ms;
    child_listen(pipe_fds[0], deadline, said, sizeof said);
    bool ended = child_reap(child, deadline, &status);
    close(pipe_fds[0]);
    return child_judge(said, ended, status, why, why_size);
}
