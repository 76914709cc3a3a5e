/* SPDX-License-Identifier: Apache-2.0 */
#include "run/recovery_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define SECTOR 512u

extern char **environ;

/* --- programs ------------------------------------------------------------------------ */

/* The time that files get: 1980, with which FAT begins. The same files make the same image. */
static const char *const reproducible[] = {"SOURCE_DATE_EPOCH=315532800", "TZ=UTC0"};
enum { REPRODUCIBLE_COUNT = sizeof reproducible / sizeof *reproducible };

/* Our environment with those in place of what it says of them; free(). NULL: no memory. */
static char **environment_make(void)
{
    size_t count = 0, used = 0;
    while (environ[count] != NULL)
        count++;
    char **out = calloc(count + REPRODUCIBLE_COUNT + 1, sizeof *out);
    for (size_t i = 0; out != NULL && i < count; i++)
        if (strncmp(environ[i], "TZ=", 3) != 0 &&
            strncmp(environ[i], "SOURCE_DATE_EPOCH=", 18) != 0)
            out[used++] = environ[i];
    for (size_t i = 0; out != NULL && i < REPRODUCIBLE_COUNT; i++)
        out[used++] = (char *)(uintptr_t)reproducible[i];
    return out;
}

/* As PATH says, and where it has no sbin (as that of most users) there as well. Nothing is heard of
 * its standard output, nor of its complaints where they do not matter. An errno. */
static int spawn(pid_t *pid, const char *const *argv, bool complains)
{
    char **environment = environment_make();
    char path[64];
    posix_spawn_file_actions_t actions;
    if (environment == NULL)
        return ENOMEM;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!complains)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)argv, environment);
    snprintf(path, sizeof path, "/usr/sbin/%s", argv[0]);
    if (failed == ENOENT)
        failed = posix_spawn(pid, path, &actions, NULL, (char *const *)argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    return failed;
}

static bool succeeds(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Runs a program to its end. */
static int run(const char *const *argv, const char *package, struct error *err)
{
    pid_t pid;
    int failed = spawn(&pid, argv, true);
    if (failed != 0) {
        error_set(err, ERROR_USAGE, "%s cannot be run: %s", argv[0], strerror(failed));
        return error_remedy(err, "install %s", package);
    }
    if (succeeds(pid))
        return 0;
    error_set(err, ERROR_IO, "%s failed; what it says is above", argv[0]);
    return error_remedy(err, "all files must fit into %llu MiB, and the image where it is made",
                        (unsigned long long)RECOVERY_DISK_SIZE >> 20);
}

/* --- the disk ------------------------------------------------------------------------ */

static void put32(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

/* One FAT32 partition, addressed by sectors; a disk signature by which Linux tells disks apart. */
static int write_table(const char *path, uint32_t signature, struct error *err)
{
    uint8_t sector[SECTOR] = {0}, *entry = sector + 446;
    static const uint8_t no_cylinders[3] = {0xfe, 0xff, 0xff};
    put32(sector + 440, signature);
    memcpy(entry + 1, no_cylinders, 3);
    entry[4] = 0x0c;
    memcpy(entry + 5, no_cylinders, 3);
    put32(entry + 8, RECOVERY_DISK_START / SECTOR);
    put32(entry + 12, RECOVERY_DISK_SIZE / SECTOR);
    sector[510] = 0x55;
    sector[511] = 0xaa;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool written = fd >= 0 && write(fd, sector, sizeof sector) == (ssize_t)sizeof sector &&
                   ftruncate(fd, (off_t)(RECOVERY_DISK_START + RECOVERY_DISK_SIZE)) == 0;
    if (fd >= 0 && close(fd) == 0 && written)
        return 0;
    return error_set(err, ERROR_IO, "%s cannot be written: %s", path, strerror(errno));
}

static int make_fat(const char *path, struct error *err)
{
    char offset[32], blocks[32];
    snprintf(offset, sizeof offset, "%llu", (unsigned long long)RECOVERY_DISK_START / SECTOR);
    snprintf(blocks, sizeof blocks, "%llu", (unsigned long long)RECOVERY_DISK_SIZE / 1024);
    const char *argv[] = {"mkfs.vfat", "--invariant", "-F", "32",   "-n", "RECOVERY",
                          "--offset",  offset,        path, blocks, NULL};
    return run(argv, "dosfstools", err);
}

/* --- files --------------------------------------------------------------------------- */

#define PATH_SIZE 4096

/* The partition, as mtools know it. */
static const char *partition_name(const char *path, char *out, size_t size)
{
    snprintf(out, size, "%s@@%llu", path, (unsigned long long)RECOVERY_DISK_START);
    return out;
}

/* Copies files (count of them) into a directory of the partition, "" for its root, or one to a name
 * in there. */
static int copy(const char *path, const char *const *files, size_t count, const char *to,
                struct error *err)
{
    char image[PATH_SIZE + 32], place[PATH_SIZE + 8];
    const char *const head[] = {
        "mcopy", "-o", "-Q", "-i", partition_name(path, image, sizeof image), "--"};
    enum { HEAD_COUNT = sizeof head / sizeof *head };
    if (count == 0)
        return 0;
    const char **argv = calloc(HEAD_COUNT + count + 2, sizeof *argv);
    if (argv == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    snprintf(place, sizeof place, "::/%s", to);
    memcpy(argv, head, sizeof head);
    memcpy(argv + HEAD_COUNT, files, count * sizeof *files);
    argv[HEAD_COUNT + count] = place;
    int result = run(argv, "mtools", err);
    free(argv);
    return result;
}

/* Two of the directories that are given may have it: then it is there. */
static int make_directory(const char *path, const char *to, struct error *err)
{
    pid_t pid;
    char image[PATH_SIZE + 32], place[PATH_SIZE + 8];
    snprintf(place, sizeof place, "::/%s", to);
    partition_name(path, image, sizeof image);
    const char *const look[] = {"mdir", "-i", image, "--", place, NULL};
    const char *const make[] = {"mmd", "-i", image, "--", place, NULL};
    if (spawn(&pid, look, false) == 0 && succeeds(pid))
        return 0;
    return run(make, "mtools", err);
}

static int is_directory(const char *file, bool *answer, struct error *err)
{
    struct stat info;
    if (stat(file, &info) != 0)
        return error_set(err, ERROR_USAGE, "%s: %s", file, strerror(errno));
    *answer = S_ISDIR(info.st_mode);
    if (*answer || S_ISREG(info.st_mode))
        return 0;
    return error_set(err, ERROR_USAGE, "%s is neither a file nor a directory", file);
}

/* Not as the language has it: the same everywhere. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int copy_directory(const char *path, const char *directory, const char *to,
                          struct error *err);

static int copy_below(const char *path, const char *directory, const char *name, const char *to,
                      struct error *err)
{
    char place[PATH_SIZE];
    int length = snprintf(place, sizeof place, "%s%s%s", to, to[0] != '\0' ? "/" : "", name);
    if ((size_t)length >= sizeof place)
        return error_set(err, ERROR_USAGE, "%s: %s", directory, strerror(ENAMETOOLONG));
    return make_directory(path, place, err) == 0 ? copy_directory(path, directory, place, err) : -1;
}

/* Copies the directories among the entries, and notes the files for their owner to copy and free.
 */
static int take_entries(const char *path, const char *directory, const char *to,
                        struct dirent **entries, int count, char **files, size_t *file_count,
                        struct error *err)
{
    for (int i = 0; i < count; i++) {
        char *file;
        bool is_dir;
        if (asprintf(&file, "%s/%s", directory, entries[i]->d_name) < 0)
            return error_set(err, ERROR_IO, "out of memory");
        int result = is_directory(file, &is_dir, err);
        if (result == 0 && !is_dir) {
            files[(*file_count)++] = file;
            continue;
        }
        if (result == 0)
            result = copy_below(path, file, entries[i]->d_name, to, err);
        free(file);
        if (result != 0)
            return -1;
    }
    return 0;
}

/* What is in a directory goes into one of the partition, sorted. */
static int copy_directory(const char *path, const char *directory, const char *to,
                          struct error *err)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_entry, compare_entries);
    if (count < 0)
        return error_set(err, ERROR_USAGE, "%s: %s", directory, strerror(errno));
    char **files = calloc((size_t)count + 1, sizeof *files);
    size_t file_count = 0;
    int result = files == NULL
                     ? error_set(err, ERROR_IO, "out of memory")
                     : take_entries(path, directory, to, entries, count, files, &file_count, err);
    if (result == 0)
        result = copy(path, (const char *const *)files, file_count, to, err);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    for (size_t i = 0; i < file_count; i++)
        free(files[i]);
    free(entries);
    free(files);
    return result;
}

static int copy_given(const char *path, const char *const *files, struct error *err)
{
    for (; *files != NULL; files++) {
        bool is_dir;
        if (is_directory(*files, &is_dir, err) != 0 ||
            (is_dir ? copy_directory(path, *files, "", err) : copy(path, files, 1, "", err)) != 0)
            return -1;
    }
    return 0;
}

/* Whether a file of such a name, in whatever case, goes to the root of the partition. */
static bool have(const char *const *files, const char *pattern)
{
    for (; *files != NULL; files++) {
        const char *slash = strrchr(*files, '/');
        DIR *dir = opendir(*files);
        bool found =
            dir == NULL && fnmatch(pattern, slash != NULL ? slash + 1 : *files, FNM_CASEFOLD) == 0;
        for (struct dirent *entry; dir != NULL && !found && (entry = readdir(dir)) != NULL;)
            found = fnmatch(pattern, entry->d_name, FNM_CASEFOLD) == 0;
        if (dir != NULL)
            closedir(dir);
        if (found)
            return true;
    }
    return false;
}

bool recovery_disk_lacks_tree(const char *const *files)
{
    return have(files, "start*.elf") && !have(files, "*.dtb");
}

/* Through a file of its own, for mcopy. */
static int copy_memory(const char *path, const void *data, size_t size, const char *name,
                       struct error *err)
{
    char temporary[] = "/tmp/fleetflash-recovery-XXXXXX";
    int fd = mkstemp(temporary);
    if (fd < 0)
        return error_set(err, ERROR_IO, "no temporary file: %s", strerror(errno));
    bool written = write(fd, data, size) == (ssize_t)size;
    const char *const files[] = {temporary};
    int result = close(fd) == 0 && written ? copy(path, files, 1, name, err)
                                           : error_set(err, ERROR_IO, "%s cannot be written: %s",
                                                       temporary, strerror(errno));
    unlink(temporary);
    return result;
}

int recovery_disk_make(const char *path, const char *const *files, const struct buffer *script,
                       struct error *err)
{
    /* What the firmware of a Raspberry Pi is told; others do not look at it. */
    static const char config[] = "arm_64bit=1\nenable_uart=1\nkernel=u-boot.bin\n";
    uint32_t signature = (uint32_t)crc32(0, script->data, (uInt)script->size);
    if (write_table(path, signature, err) != 0 || make_fat(path, err) != 0 ||
        copy_given(path, files, err) != 0)
        return -1;
    if (!have(files, "config.txt") &&
        copy_memory(path, config, sizeof config - 1, "config.txt", err) != 0)
        return -1;
    return copy_memory(path, script->data, script->size, "boot.scr", err);
}
