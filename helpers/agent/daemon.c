/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include "agent.h"
#include "attach.h"
#include "console.h"
#include "footing.h"
#include "heir.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

void daemon_settle(void)
{
    static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    /* One heap for both threads: another one would be 64 MiB of address space that gets locked. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
}

int daemon_listen_tcp(uint16_t *port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof six;
    int zero = 0, one = 1;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int status = -1;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
        status = bind(fd, (struct sockaddr *)&six, sizeof six);
    }
    if (status != 0) { /* kernels without IPv6 */
        if (fd >= 0)
            close(fd);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            return -1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        status = bind(fd, (struct sockaddr *)&four, sizeof four);
    }
    if (status == 0 && listen(fd, 8) == 0 && getsockname(fd, (struct sockaddr *)&six, &size) == 0) {
        *port = ntohs(six.sin6_port); /* at the same place in both kinds of address */
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* --- leaving the ssh session -------------------------------------------------------------- */

/* A sealed copy of this program in memory: the file may go, and nobody can change it. -1: the
 * kernel does not offer it. */
static int copy_to_memory(void)
{
    char buffer[65536];
    ssize_t n = 0;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("fleetflash-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) /* before 6.3 there was no such flag, and no need for it */
        fd = memfd_create("fleetflash-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool ok = from >= 0 && fd >= 0;
    while (ok && (n = read(from, buffer, sizeof buffer)) > 0)
        ok = write(fd, buffer, (size_t)n) == n;
    ok = ok && n == 0 &&
         fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
    if (from >= 0)
        close(from);
    if (!ok && fd >= 0)
        close(fd);
    return ok ? fd : -1;
}

/* Puts each descriptor at its number; sources are moved out of the way first. */
static void place_descriptors(const int fds[FD_LAST - FD_UNIX], int *program)
{
    int high[FD_LAST - FD_UNIX];
    for (int i = 0; i < FD_LAST - FD_UNIX; i++)
        high[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD, FD_LAST + 16);
    if (*program >= 0)
        *program = fcntl(*program, F_DUPFD_CLOEXEC, FD_LAST + 16);
    for (int i = 0; i < FD_LAST - FD_UNIX; i++) {
        close(FD_UNIX + i);
        if (high[i] >= 0)
            dup2(high[i], FD_UNIX + i);
    }
    for (int fd = FD_LAST; fd < 1024; fd++)
        if (fd != *program)
            close(fd);
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3 && null >= 0; i++)
        dup2(null, i);
    if (null > 2)
        close(null);
}

/* In the grandchild: does not return. */
static void become_daemon(const int fds[FD_LAST - FD_UNIX], uint16_t port)
{
    char text[16], *argv[] = {DAEMON_NAME, "daemon", text, NULL}, *envp[] = {NULL};
    int program = copy_to_memory();
    text_format(text, sizeof text, "%u", port);
    umask(077);
    if (chdir("/") != 0)
        _exit(1);
    place_descriptors(fds, &program);
    if (program >= 0)
        syscall(SYS_execveat, program, "", argv, envp, AT_EMPTY_PATH);
    /* No memfd, or programs in it are forbidden: the file in the tmpfs is as good, unless deleted.
     */
    execve("/proc/self/exe", argv, envp);
    dprintf(FD_READY, "the agent cannot execute itself: %s\n", strerror(errno));
    _exit(1);
}

static int wait_until_ready(int fd)
{
    char text[512];
    size_t at = 0;
    ssize_t n;
    while (at < sizeof text - 1 && (n = read(fd, text + at, sizeof text - 1 - at)) > 0)
        at += (size_t)n;
    text[at] = '\0';
    if (text_starts(text, "ready ")) {
        fputs(text, stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    fprintf(stderr, "fleetflash-agent: %s", at > 0 ? text : "the daemon ended at once\n");
    return 1;
}

static int spawn_daemon(int fds[FD_LAST - FD_UNIX], uint16_t port)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0) {
        perror("fleetflash-agent: pipe");
        return 1;
    }
    fds[FD_READY - FD_UNIX] = ready[1];
    pid_t child = fork();
    if (child < 0) {
        perror("fleetflash-agent: fork");
        return 1;
    }
    if (child == 0) {
        setsid();
        pid_t grandchild = fork();
        if (grandchild == 0)
            become_daemon(fds, port);
        _exit(grandchild < 0 ? 1 : 0);
    }
    close(ready[1]);
    return wait_until_ready(ready[0]);
}

/* --- start -------------------------------------------------------------------------------- */

static ssize_t read_config(char *text, size_t size)
{
    size_t at = 0;
    ssize_t n;
    while (at < size - 1 && (n = read(STDIN_FILENO, text + at, size - 1 - at)) > 0)
        at += (size_t)n;
    text[at] = '\0';
    return (ssize_t)at;
}

/* The configuration holds the secret: it travels in memory, never in arguments or environment. */
static int keep_config(const char *text)
{
    int fds[2];
    size_t size = strlen(text);
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -1;
    ssize_t n = write(fds[1], text, size); /* far below a pipe's capacity */
    close(fds[1]);
    if (n == (ssize_t)size)
        return fds[0];
    close(fds[0]);
    return -1;
}

int daemon_start(void)
{
    char text[CONFIG_TEXT_MAX], error[256];
    struct config config;
    int fds[FD_LAST - FD_UNIX] = {-1, -1, -1, -1, -1};
    read_config(text, sizeof text);
    if (geteuid() != 0) {
        fputs("fleetflash-agent: root rights are needed\n", stderr);
        return 2;
    }
    if (config_parse(&config, text, error, sizeof error) != 0) {
        fprintf(stderr, "fleetflash-agent: %s\n", error);
        return 1;
    }
    fds[0] = attach_listen(attach_name());
    if (fds[0] < 0 && errno == EADDRINUSE) {
        attach_ask_holder(attach_name(), error, sizeof error);
        fprintf(stderr, "fleetflash-agent: %s\n", error);
        return 4;
    }
    if (fds[0] < 0) {
        fprintf(stderr, "fleetflash-agent: no unix socket: %s\n", strerror(errno));
        return 1;
    }
    if (config.has_port && (fds[FD_TCP - FD_UNIX] = daemon_listen_tcp(&config.port)) < 0) {
        fprintf(stderr, "fleetflash-agent: cannot listen on port %u: %s\n", config.port,
                strerror(errno));
        return 1;
    }
    fds[FD_CONFIG - FD_UNIX] = keep_config(text);
    fds[FD_CONSOLE - FD_UNIX] = console_open();
    sodium_memzero(text, sizeof text);
    sodium_memzero(config.key, sizeof config.key);
    return spawn_daemon(fds, config.has_port ? config.port : 0);
}

/* --- the daemon --------------------------------------------------------------------------- */

static int receive_config(struct config *config, char *error, size_t error_size)
{
    char text[CONFIG_TEXT_MAX];
    size_t at = 0;
    ssize_t n;
    while (at < sizeof text - 1 && (n = read(FD_CONFIG, text + at, sizeof text - 1 - at)) > 0)
        at += (size_t)n;
    text[at] = '\0';
    /* Kept for an heir, in the kernel's memory. */
    int again = keep_config(text);
    close(FD_CONFIG);
    if (again >= 0 && again != FD_CONFIG) {
        dup3(again, FD_CONFIG, O_CLOEXEC);
        close(again);
    }
    int status = config_parse(config, text, error, error_size);
    sodium_memzero(text, sizeof text);
    return status;
}

static void own_descriptors(struct agent *agent, uint16_t port)
{
    static const int all[] = {FD_UNIX, FD_TCP, FD_CONFIG, FD_READY, FD_CONSOLE};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        fcntl(all[i], F_SETFD, FD_CLOEXEC);
    agent->unix_listener = FD_UNIX;
    agent->tcp_listener = fcntl(FD_TCP, F_GETFD) < 0 ? -1 : FD_TCP;
    agent->console = fcntl(FD_CONSOLE, F_GETFD) < 0 ? -1 : FD_CONSOLE;
    agent->tcp_port = port;
}

/* What every daemon needs before it talks to anybody. NULL: error says why not. */
static struct agent *prepare(uint16_t port, char *error, size_t error_size)
{
    struct agent *agent = calloc(1, sizeof *agent);
    prctl(PR_SET_NAME, "fleetflash");
    prctl(PR_SET_DUMPABLE, 0); /* nobody reads the secret through /proc or a core file */
    daemon_settle();
    if (agent == NULL || receive_config(&agent->config, error, error_size) != 0)
        return NULL;
    own_descriptors(agent, port);
    char *left_out = switches_from_kernel(&agent->config.switches);
    if (left_out != NULL)
        console_print(agent->console, "test agent: %s", left_out);
    free(left_out);
    footing_take(&agent->config.switches);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        text_format(error, error_size, "cannot lock memory: %s", strerror(errno));
        return NULL;
    }
    return agent_init(agent) == 0 ? agent : NULL;
}

int daemon_main(int argc, char **argv)
{
    char error[256] = "out of memory";
    if (argc != 1 || fcntl(FD_UNIX, F_GETFD) < 0)
        return 2;
    struct agent *agent = prepare((uint16_t)atoi(argv[0]), error, sizeof error);
    if (agent == NULL) {
        dprintf(FD_READY, "%s\n", error);
        return 1;
    }
    dprintf(FD_READY, "ready %d %u\n", (int)getpid(), agent->tcp_port);
    close(FD_READY);
    console_print(agent->console, "run %s from %s: agent is ready", agent->config.run_id,
                  agent->config.controller);
    return agent_loop(agent);
}

int daemon_inherit(void)
{
    char error[256] = "out of memory";
    struct sockaddr_in6 address = {0};
    socklen_t size = sizeof address;
    if (fcntl(FD_UNIX, F_GETFD) < 0 || fcntl(FD_DISK, F_GETFD) < 0)
        return 2;
    /* Before anything else is opened, and takes its place. */
    int watchdog = fcntl(FD_WATCHDOG, F_GETFD) < 0 ? -1 : FD_WATCHDOG;
    int console = console_open();
    if (console >= 0 && console != FD_CONSOLE) {
        dup3(console, FD_CONSOLE, O_CLOEXEC);
        close(console);
    }
    getsockname(FD_TCP, (struct sockaddr *)&address, &size);
    struct agent *agent = prepare(ntohs(address.sin6_port), error, sizeof error);
    if (agent == NULL || heir_take(agent, watchdog) != 0) {
        dprintf(FD_CONSOLE, "fleetflash: no agent can take its place: %s\r\n", error);
        return 1;
    }
    console_print(agent->console, "run %s from %s: another agent has taken its place, and waits",
                  agent->config.run_id, agent->config.controller);
    return agent_loop(agent);
}
