/* SPDX-License-Identifier: Apache-2.0 */
#include "run/recovery_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

/* Runs a program to its end. What it says on stdout is of no interest, its complaints are. */
static int run(const char *const *argv, const char *package, struct error *err)
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        error_set(err, ERROR_USAGE, "%s cannot be run: %s", argv[0], strerror(failed));
        return error_remedy(err, "install %s", package);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(err, ERROR_IO, "%s failed; what it says is above", argv[0]);
}

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
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
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

/* Copies one file or directory to the partition; name NULL: with its own. */
static int copy(const char *path, const char *file, const char *name, struct error *err)
{
    char image[4200], to[300];
    snprintf(image, sizeof image, "%s@@%llu", path, (unsigned long long)RECOVERY_DISK_START);
    snprintf(to, sizeof to, "::/%s", name != NULL ? name : "");
    const char *argv[] = {"mcopy", "-s", "-o", "-Q", "-i", image, "--", file, to, NULL};
    return run(argv, "mtools", err);
}

static int copy_directory(const char *path, const char *directory, bool *has_config,
                          struct error *err)
{
    DIR *dir = opendir(directory);
    int result =
        dir != NULL ? 0 : error_set(err, ERROR_USAGE, "%s: %s", directory, strerror(errno));
    for (struct dirent *entry; result == 0 && (entry = readdir(dir)) != NULL;) {
        char file[4096];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(file, sizeof file, "%s/%s", directory, entry->d_name);
        *has_config |= strcasecmp(entry->d_name, "config.txt") == 0;
        result = copy(path, file, NULL, err);
    }
    if (dir != NULL)
        closedir(dir);
    return result;
}

static int copy_given(const char *path, const char *const *files, bool *has_config,
                      struct error *err)
{
    for (; *files != NULL; files++) {
        struct stat info;
        const char *slash = strrchr(*files, '/'), *base = slash != NULL ? slash + 1 : *files;
        if (stat(*files, &info) != 0)
            return error_set(err, ERROR_USAGE, "%s: %s", *files, strerror(errno));
        if (S_ISDIR(info.st_mode)) {
            if (copy_directory(path, *files, has_config, err) != 0)
                return -1;
            continue;
        }
        *has_config |= strcasecmp(base, "config.txt") == 0;
        if (copy(path, *files, NULL, err) != 0)
            return -1;
    }
    return 0;
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
    int result = close(fd) == 0 && written ? copy(path, temporary, name, err)
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
    bool has_config = false;
    uint32_t signature = (uint32_t)crc32(0, script->data, (uInt)script->size);
    if (write_table(path, signature, err) != 0 || make_fat(path, err) != 0 ||
        copy_given(path, files, &has_config, err) != 0)
        return -1;
    if (!has_config && copy_memory(path, config, sizeof config - 1, "config.txt", err) != 0)
        return -1;
    return copy_memory(path, script->data, script->size, "boot.scr", err);
}
