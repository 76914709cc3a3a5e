// SPDX-License-Identifier: Apache-2.0
//
// Keeps a lab device's disk busy in the ways that spoil a careless flash.
//
//   writer [-r] MODE[,MODE...] [DIR]
//
// Starts one child for each mode, working below DIR; with -r a child that ends is
// started again at once, as a service manager would. Errors are never a reason to
// stop: a real service does not know that its disk is being taken away.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, FILE_BLOCKS = 256, MODES = 16 };

// Found in a disk snapshot, this text proves that a writer got through.
static const char mark[] = "fleetflash lab writer was here\n";
static unsigned char block[BLOCK];

static void nap(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

// Fills the block with the mark and a counter, so that every write differs.
static void block_next(void)
{
    static unsigned long count;
    for (size_t i = 0; i + sizeof mark < BLOCK; i += sizeof mark - 1)
        memcpy(block + i, mark, sizeof mark - 1);
    count++;
    memcpy(block, &count, sizeof count);
}

// A path below dir; the same buffer each time.
static const char *below(const char *dir, const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

// Opens until it works: the file system may be read-only for now.
static int open_patiently(const char *path, int flags)
{
    int fd;
    while ((fd = open(path, flags | O_CREAT | O_CLOEXEC, 0644)) < 0)
        nap(100);
    return fd;
}

// Makes a file of FILE_BLOCKS allocated blocks: writing it later changes no metadata.
static int open_allocated(const char *path)
{
    int fd = open_patiently(path, O_RDWR);
    for (int i = 0; i < FILE_BLOCKS; i++) {
        block_next();
        if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) < 0)
            nap(1);
    }
    fsync(fd);
    return fd;
}

// A log: grows, and starts over at 4 MiB.
static void run_append(const char *dir)
{
    int fd = open_patiently(below(dir, "append"), O_WRONLY | O_APPEND);
    for (unsigned n = 1;; n++) {
        block_next();
        if (write(fd, block, BLOCK) < 0)
            nap(20);
        if (n % 16 == 0)
            fdatasync(fd);
        if (n % 1024 == 0 && ftruncate(fd, 0) < 0)
            nap(20);
        nap(10);
    }
}

// A database: blocks rewritten in place through a descriptor opened long ago.
static void run_pwrite(const char *dir)
{
    int fd = open_allocated(below(dir, "pwrite"));
    for (unsigned n = 0;; n++) {
        block_next();
        if (pwrite(fd, block, BLOCK, (off_t)(n % FILE_BLOCKS) * BLOCK) < 0)
            nap(20);
        if (n % 16 == 0)
            fdatasync(fd);
        nap(10);
    }
}

// journald: a shared mapping, the descriptor closed.
static void run_mmap(const char *dir)
{
    int fd = open_allocated(below(dir, "mmap"));
    size_t size = (size_t)FILE_BLOCKS * BLOCK;
    unsigned char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return;
    close(fd);
    for (unsigned n = 0;; n++) {
        block_next();
        memcpy(map + (size_t)(n % FILE_BLOCKS) * BLOCK, block, BLOCK);
        if (n % 16 == 0)
            msync(map, size, n % 32 ? MS_ASYNC : MS_SYNC);
        nap(10);
    }
}

// A spool: files made, renamed and removed, directories changing all the time.
static void run_churn(const char *dir)
{
    for (unsigned n = 0;; n++) {
        char name[32], from[PATH_MAX];
        snprintf(name, sizeof name, "churn-%u.tmp", n % 64);
        snprintf(from, sizeof from, "%s", below(dir, name));
        int fd = open(from, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0) {
            block_next();
            if (write(fd, block, BLOCK) < 0)
                nap(20);
            close(fd);
        }
        snprintf(name, sizeof name, "churn-%u", n % 64);
        if (rename(from, below(dir, name)) < 0)
            nap(20);
        snprintf(name, sizeof name, "churn-%u", (n + 32) % 64);
        unlink(below(dir, name));
        if (n % 32 == 0)
            sync();
        nap(10);
    }
}

// A file on the FAT boot partition, rewritten from its start.
static void run_fat(const char *dir)
{
    (void)dir;
    for (;;) {
        int fd = open("/boot/lab-writer.dat", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        for (int i = 0; fd >= 0 && i < 16; i++) {
            block_next();
            if (write(fd, block, BLOCK) < 0)
                nap(20);
        }
        if (fd >= 0) {
            fsync(fd);
            close(fd);
        }
        nap(50);
    }
}

static void walk(const char *dir, int depth)
{
    DIR *d = depth < 8 ? opendir(dir) : NULL;
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[PATH_MAX];
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", strcmp(dir, "/") ? dir : "", e->d_name);
        if (n < 0 || n >= (int)sizeof path || lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        if (strcmp(path, "/proc") && strcmp(path, "/sys") && strcmp(path, "/dev"))
            walk(path, depth + 1);
    }
    if (d)
        closedir(d);
}

// Reads directories from the disk, not from the cache. ext4 that finds a changed
// directory block writes its superblock, which is the hazard.
static void run_walk(const char *dir)
{
    (void)dir;
    for (;;) {
        int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            if (write(fd, "3", 1) < 0)
                nap(1);
            close(fd);
        }
        walk("/", 0);
        nap(100);
    }
}

static long available_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

// Takes three quarters of the memory that is free and keeps touching it. The OOM
// killer may take it: then it has done its work.
static void run_hog(const char *dir)
{
    (void)dir;
    size_t size = (size_t)available_kib() / 4 * 3 * 1024;
    unsigned char *map =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return;
    for (unsigned char n = 0;; n++) {
        for (size_t i = 0; i < size; i += BLOCK)
            map[i] = n;
        nap(200);
    }
}

static const struct mode {
    const char *name;
    void (*run)(const char *dir);
} modes[] = {
    {"append", run_append}, {"pwrite", run_pwrite}, {"mmap", run_mmap}, {"churn", run_churn},
    {"fat", run_fat},       {"walk", run_walk},     {"hog", run_hog},
};

// Starts one mode in a child; its name shows in ps.
static pid_t mode_start(const struct mode *m, const char *dir)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    char name[16];
    snprintf(name, sizeof name, "w-%s", m->name);
    prctl(PR_SET_NAME, name);
    m->run(dir);
    _exit(1);
}

static pid_t children[MODES];

// Stopping the parent stops the children: policies stop a service by its pid file.
static void on_term(int sig)
{
    (void)sig;
    for (int i = 0; i < MODES; i++)
        if (children[i] > 0)
            kill(children[i], SIGKILL);
    _exit(0);
}

int main(int argc, char **argv)
{
    bool again = argc > 1 && !strcmp(argv[1], "-r");
    if (again)
        argv++, argc--;
    if (argc < 2) {
        fprintf(stderr, "usage: writer [-r] MODE[,MODE...] [DIR]\n");
        return 2;
    }
    const char *dir = argc > 2 ? argv[2] : "/var/lib/lab-writer";
    const struct mode *chosen[MODES];
    int count = 0;
    for (char *word = strtok(argv[1], ","); word; word = strtok(NULL, ",")) {
        size_t i = 0;
        while (i < sizeof modes / sizeof *modes && strcmp(modes[i].name, word))
            i++;
        if (i == sizeof modes / sizeof *modes || count == MODES) {
            fprintf(stderr, "writer: unknown mode '%s'\n", word);
            return 2;
        }
        chosen[count++] = &modes[i];
    }
    mkdir(dir, 0755);
    signal(SIGTERM, on_term);
    for (int i = 0; i < count; i++)
        children[i] = mode_start(chosen[i], dir);
    for (;;) {
        pid_t pid = wait(NULL);
        if (pid < 0 && errno == ECHILD)
            return 0;
        for (int i = 0; i < count; i++)
            if (children[i] == pid)
                children[i] = again ? mode_start(chosen[i], dir) : 0;
    }
}
