/* SPDX-License-Identifier: Apache-2.0 */
#include "guard.h"

#include "console.h"
#include "daemon.h"
#include "pin.h"
#include "protocol/protocol.h"
#include "reboot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* '@': see daemon.c. */
#define GUARD_NAME    "@fleetflash-guard"
#define SYNC_PATIENCE 100   /* tenths of a second until what is not written yet is given up */
#define REMOUNT_PAUSE 2     /* seconds for SysRq-u, which says nothing of its end */
#define HOLD_PATIENCE 30000 /* ms */
#define ESTATE_ABOVE  64    /* no place of the estate is there */

/* --- the agent's side --------------------------------------------------------------------- */

static void end(struct guard *guard)
{
    close(guard->fd);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    guard->pid = 0;
}

/* Puts the estate where an heir looks for it. Each is moved out of the way of the others first;
 * kept: those copies, to be closed. */
static int hand_over(posix_spawn_file_actions_t *actions, const int estate[GUARD_ESTATE_SIZE],
                     int kept[GUARD_ESTATE_SIZE])
{
    static const int places[GUARD_ESTATE_SIZE] = {FD_UNIX, FD_TCP, FD_CONFIG, FD_DISK, FD_WATCHDOG};
    int status = 0;
    for (unsigned i = 0; i < GUARD_ESTATE_SIZE; i++) {
        kept[i] = estate[i] < 0 ? -1 : fcntl(estate[i], F_DUPFD_CLOEXEC, ESTATE_ABOVE);
        if (status == 0 && kept[i] >= 0)
            status = posix_spawn_file_actions_adddup2(actions, kept[i], places[i]);
    }
    return status;
}

/* 0 or an errno. */
static int spawn(struct guard *guard, int line, const int estate[GUARD_ESTATE_SIZE])
{
    static char *const argv[] = {GUARD_NAME, "guard", NULL};
    static char *const envp[] = {NULL};
    posix_spawn_file_actions_t actions;
    int kept[GUARD_ESTATE_SIZE], status = posix_spawn_file_actions_init(&actions);
    if (status != 0)
        return status;
    status = posix_spawn_file_actions_adddup2(&actions, line, STDIN_FILENO);
    int other = hand_over(&actions, estate, kept);
    status = status != 0 ? status : other;
    if (status == 0) /* what the agent itself runs from: a sealed copy in memory */
        status = posix_spawn(&guard->pid, "/proc/self/exe", &actions, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    for (unsigned i = 0; i < GUARD_ESTATE_SIZE; i++)
        if (kept[i] >= 0)
            close(kept[i]);
    return status;
}

int guard_post(struct guard *guard, const int estate[GUARD_ESTATE_SIZE])
{
    int line[2];
    if (guard->pid != 0)
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0)
        return -1;
    int status = spawn(guard, line[1], estate);
    close(line[1]);
    if (status != 0) {
        close(line[0]);
        guard->pid = 0;
        errno = status;
        return -1;
    }
    guard->fd = line[0];
    guard_tell(guard, GUARD_UNTOUCHED);
    if (guard->pid != 0)
        return 0;
    errno = EPIPE;
    return -1;
}

void guard_tell(struct guard *guard, enum guard_word word)
{
    char byte = (char)word;
    ssize_t n;
    if (guard == NULL || guard->pid == 0)
        return;
    while ((n = send(guard->fd, &byte, 1, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        ;
    if (n == 1)
        return;
    kill(guard->pid, SIGKILL);
    end(guard);
}

int guard_hold(struct guard *guard)
{
    char answer = 0;
    guard_tell(guard, GUARD_HOLD);
    if (guard->pid == 0)
        return -1;
    struct pollfd line = {.fd = guard->fd, .events = POLLIN};
    int ready;
    while ((ready = poll(&line, 1, HOLD_PATIENCE)) < 0 && errno == EINTR)
        ;
    return ready == 1 && recv(guard->fd, &answer, 1, 0) == 1 && answer != 0 ? 0 : -1;
}

void guard_dismiss(struct guard *guard)
{
    guard_tell(guard, GUARD_FAREWELL);
    if (guard->pid != 0)
        end(guard);
}

/* --- the guard ---------------------------------------------------------------------------- */

enum guard_word guard_listen(int fd, bool (*hold)(void))
{
    enum guard_word last = GUARD_NOTHING;
    char byte;
    ssize_t n;
    while (last != GUARD_FAREWELL &&
           ((n = recv(fd, &byte, 1, 0)) == 1 || (n < 0 && errno == EINTR))) {
        if (n == 1 && byte == GUARD_HOLD) {
            char answer = hold();
            send(fd, &answer, 1, MSG_NOSIGNAL);
        } else if (n == 1) {
            last = (enum guard_word)byte;
        }
    }
    return last;
}

/* By the agent's own mappings, before the file systems are shut: afterwards not even open() works
 * on them. */
static bool hold_pinned(void)
{
    static struct pins pins; /* to the end of the program */
    struct pid_set agent = {.items = {getppid()}, .count = 1};
    return pin_processes(&pins, NULL, &agent) == 0 && pins.missed == 0;
}

static void rest(int tenths)
{
    nanosleep(&(struct timespec){.tv_sec = tenths / 10, .tv_nsec = tenths % 10 * 100000000L}, NULL);
}

/* The fence may not have been up yet: file systems are left in order. Neither step may hold up the
 * reboot, so a process of its own syncs. */
static void settle_filesystems(int sysrq_fd)
{
    pid_t child = fork();
    if (child == 0) {
        sync();
        _exit(0);
    }
    for (int i = 0; child > 0 && i < SYNC_PATIENCE && waitpid(child, NULL, WNOHANG) == 0; i++)
        rest(1);
    if (sysrq_fd >= 0 && write(sysrq_fd, "u", 1) == 1)
        rest(REMOUNT_PAUSE * 10);
}

/* A controller that finds no agent any more sees by this name that the old system does not simply
 * go on: it begins with the agent's own. */
static void show(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static const char name[] = PROTOCOL_SOCKET_NAME "-guard";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, name, sizeof name - 1); /* abstract */
    bind(fd, (struct sockaddr *)&address,
         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof name));
}

static void settle(void)
{
    prctl(PR_SET_NAME, "fleetflash-grd");
    daemon_settle();
    signal(SIGTERM, SIG_IGN);
    for (int fd = FD_WATCHDOG + 1; fd < 1024; fd++)
        close(fd);
    close(FD_READY);
    close(FD_CONSOLE);                  /* an heir opens one of its own */
    mlockall(MCL_CURRENT | MCL_FUTURE); /* as good as it gets: the agent has told its own failure */
}

/* Does not return. */
static void leave_to_heir(int console)
{
    char *argv[] = {DAEMON_NAME, "heir", NULL}, *envp[] = {NULL};
    pid_t heir;
    int null = open("/dev/null", O_RDWR);
    console_print(console, "the agent has died, and the disk is incomplete: DO NOT POWER OFF");
    if (null >= 0)
        dup2(null, STDIN_FILENO); /* the line to the dead one */
    if (null > STDERR_FILENO)
        close(null);
    if (posix_spawn(&heir, "/proc/self/exe", NULL, NULL, argv, envp) != 0)
        console_print(console, "no other agent can be started");
    for (int fd = FD_UNIX; fd <= FD_WATCHDOG; fd++)
        close(fd);
    for (;;) /* with what it holds */
        pause();
}

int guard_main(void)
{
    int domain = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX)
        return 2; /* nobody starts it by hand */
    settle();
    show();
    int console = console_open(), sysrq_fd = reboot_prepare();
    enum guard_word last = guard_listen(STDIN_FILENO, hold_pinned);
    switch (last) {
    case GUARD_UNTOUCHED:
        console_print(console, "the agent has died, nothing was written: the old system, "
                               "untouched, is rebooted");
        settle_filesystems(sysrq_fd);
        break;
    case GUARD_COMPLETE:
        console_print(console,
                      "the agent has died, the disk is complete: the new system is booted");
        break;
    case GUARD_INCOMPLETE:
        leave_to_heir(console);
        break;
    default:
        return 0;
    }
    reboot_now(sysrq_fd, NULL, 0, false);
    for (;;)
        rest(600); /* its threads reboot */
}
