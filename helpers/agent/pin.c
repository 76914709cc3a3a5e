/* SPDX-License-Identifier: Apache-2.0 */
#include "pin.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool pins_have(const struct pins *pins, dev_t device, unsigned long long inode)
{
    for (unsigned i = 0; i < pins->count; i++)
        if (pins->files[i].device == device && pins->files[i].inode == inode)
            return true;
    return false;
}

static struct pin_file *pins_add(struct pins *pins)
{
    if (pins->count == pins->capacity) {
        unsigned capacity = pins->capacity == 0 ? 64 : pins->capacity * 2;
        struct pin_file *files = realloc(pins->files, capacity * sizeof *files);
        if (files == NULL)
            return NULL;
        pins->files = files;
        pins->capacity = capacity;
    }
    struct pin_file *file = &pins->files[pins->count++];
    memset(file, 0, sizeof *file);
    return file;
}

/* The mapped file itself, even when it was deleted or replaced since. */
static int open_mapped(pid_t pid, const struct process_map *map)
{
    char path[4200];
    text_format(path, sizeof path, "/proc/%d/map_files/%llx-%llx", (int)pid, map->start, map->end);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    text_format(path, sizeof path, "/proc/%d/root%s", (int)pid, map->path);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Opening for real (hold) or only measuring. */
static int pin_map(struct pins *pins, pid_t pid, const struct process_map *map, bool hold)
{
    struct stat st;
    int fd = open_mapped(pid, map);
    if (fd < 0 && (errno == ENOENT || errno == ESRCH)) {
        /* Or the process has just ended. */
        if (process_is_alive(pid) && pins->missed++ == 0)
            text_copy(pins->first_missed, sizeof pins->first_missed, map->path);
        return 0;
    }
    if (fd < 0)
        return -1;
    struct pin_file *file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pins_add(pins) : NULL;
    int status = 0;
    if (file != NULL) {
        file->device = map->device;
        file->inode = map->inode;
        file->size = (size_t)st.st_size;
        pins->bytes += (uint64_t)st.st_size;
    }
    if (file != NULL && hold && st.st_size > 0) {
        file->address = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file->address == MAP_FAILED)
            file->address = NULL;
        if (file->address == NULL || mlock(file->address, file->size) != 0)
            status = -1;
    }
    int error = errno;
    close(fd);
    errno = error;
    return status;
}

static int pin_process(struct pins *pins, const struct device_set *filesystems, pid_t pid,
                       bool hold)
{
    char path[64], *save = NULL;
    int status = 0;
    text_format(path, sizeof path, "/proc/%d/maps", (int)pid);
    char *text = text_read_all(path);
    for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &save);
         line != NULL && status == 0; line = strtok_r(NULL, "\n", &save)) {
        struct process_map map;
        if (process_parse_map(line, &map) && map.inode != 0 &&
            (filesystems == NULL || device_set_has(filesystems, map.device)) &&
            !pins_have(pins, map.device, map.inode))
            status = pin_map(pins, pid, &map, hold);
    }
    int error = errno;
    free(text);
    errno = error;
    return status;
}

int pin_processes(struct pins *pins, const struct device_set *filesystems,
                  const struct pid_set *processes)
{
    for (unsigned i = 0; i < processes->count; i++)
        if (pin_process(pins, filesystems, processes->items[i], true) != 0)
            return -1;
    return 0;
}

uint64_t pin_estimate(const struct device_set *filesystems, const struct pid_set *processes)
{
    struct pins pins = {0};
    for (unsigned i = 0; i < processes->count; i++)
        pin_process(&pins, filesystems, processes->items[i], false);
    free(pins.files);
    return pins.bytes;
}

void pin_release(struct pins *pins)
{
    for (unsigned i = 0; i < pins->count; i++)
        if (pins->files[i].address != NULL)
            munmap(pins->files[i].address, pins->files[i].size);
    free(pins->files);
    memset(pins, 0, sizeof *pins);
}
