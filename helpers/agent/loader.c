/* SPDX-License-Identifier: Apache-2.0 */
#include "loader.h"

#include "fault.h"
#include "layers.h"
#include "text.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR       512u
#define MBR_FIRST    446u
#define MBR_ENTRY    16u
#define DIRECTORY    32u /* bytes of an entry */
#define DIRECTORIES  (256u * 1024u)
#define CLUSTERS_MAX 256u
#define NOT_A_FILE   0x18 /* attributes: the volume's label, a piece of a long name; a directory */

static uint32_t little(const uint8_t *at, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = size; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

/* --- the table -------------------------------------------------------------------------------- */

static int refuse(const struct disk *disk, const char *why, struct fail *fail)
{
    fault_set(fail, FAILCODE_DISK, "the image cannot go behind the boot loader on %s: %s",
              disk->path, why);
    return fault_remedy(fail, "use netboot mode, which writes the partition table as well");
}

/* Two sectors. */
static bool is_mbr(const uint8_t *start)
{
    return start[510] == 0x55 && start[511] == 0xaa && memcmp(start + SECTOR, "EFI PART", 8) != 0;
}

static uint64_t entry_start(const uint8_t *sector, unsigned i)
{
    return (uint64_t)little(sector + MBR_FIRST + i * MBR_ENTRY + 8, 4) * SECTOR;
}

static uint64_t entry_size(const uint8_t *sector, unsigned i)
{
    const uint8_t *entry = sector + MBR_FIRST + i * MBR_ENTRY;
    return entry[4] == 0 ? 0 : (uint64_t)little(entry + 12, 4) * SECTOR;
}

static bool is_extended(uint8_t type)
{
    return type == 0x05 || type == 0x0f || type == 0x85;
}

bool loader_is_known(const uint8_t *sector, const struct loader_entry known[4], uint64_t disk_size)
{
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = sector + MBR_FIRST + i * MBR_ENTRY;
        uint64_t start = entry_start(sector, i), size = (uint64_t)little(entry + 12, 4) * SECTOR;
        uint64_t left = start < disk_size ? disk_size - start : 0;
        size = size < left ? size : left;
        if ((size != 0) != (known[i].size != 0) ||
            (size != 0 &&
             (start != known[i].start || (size != known[i].size && !is_extended(entry[4])))))
            return false;
    }
    return true;
}

static bool kernel_knows(const struct disk *disk, const uint8_t *sector)
{
    struct loader_entry known[4] = {{0}};
    char name[64], path[200], file[500];
    struct dirent *entry;
    if (!disk->is_device)
        return true;
    layers_name(disk->device, name, sizeof name);
    text_format(path, sizeof path, "/sys/block/%s", name);
    DIR *dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        text_format(file, sizeof file, "%s/%s/partition", path, entry->d_name);
        int64_t number = text_read_number(file);
        if (number < 1 || number > 4)
            continue;
        text_format(file, sizeof file, "%s/%s/start", path, entry->d_name);
        int64_t start = text_read_number(file);
        text_format(file, sizeof file, "%s/%s/size", path, entry->d_name);
        int64_t size = text_read_number(file);
        known[number - 1] = (struct loader_entry){start > 0 ? (uint64_t)start * SECTOR : 0,
                                                  size > 0 ? (uint64_t)size * SECTOR : 0};
    }
    if (dir != NULL)
        closedir(dir);
    return loader_is_known(sector, known, disk->size);
}

bool loader_is_stale(struct disk *disk)
{
    uint8_t *sector = NULL;
    if (disk->fd < 0 || disk->logical_sector != SECTOR ||
        posix_memalign((void **)&sector, DISK_ALIGN, DISK_ALIGN) != 0)
        return false;
    bool stale = disk_read(disk, sector, 2 * (size_t)SECTOR, 0) == 0 && is_mbr(sector) &&
                 !kernel_knows(disk, sector);
    free(sector);
    return stale;
}

int loader_check(struct disk *disk, const struct manifest *manifest, uint8_t *scratch,
                 struct fail *fail)
{
    uint64_t first = (uint64_t)manifest->first_block * manifest->block_size + manifest->shift;
    if (disk->logical_sector != SECTOR)
        return refuse(disk, "its sectors do not have 512 bytes", fail);
    if (manifest->shift % disk->align != 0)
        return refuse(disk, "its second partition does not begin where whole pieces are written",
                      fail);
    if (disk_read(disk, scratch, 2 * (size_t)SECTOR, 0) != 0)
        return refuse(disk, "its partition table cannot be read", fail);
    if (!is_mbr(scratch))
        return refuse(disk, "it has no MBR", fail);
    if (entry_size(scratch, 0) == 0 || entry_start(scratch, 0) < SECTOR ||
        entry_start(scratch, 0) + entry_size(scratch, 0) > first)
        return refuse(disk, "its first partition is not in front of where the image goes", fail);
    if (entry_size(scratch, 1) == 0 || entry_start(scratch, 1) != first)
        return refuse(disk, "its second partition does not begin where the image's first one goes",
                      fail);
    for (unsigned i = 2; i < 4; i++)
        if (entry_size(scratch, i) != 0 && entry_start(scratch, i) < first)
            return refuse(disk, "another partition lies in front of its second one", fail);
    if (kernel_knows(disk, scratch))
        return 0;
    fault_set(fail, FAILCODE_DISK,
              "the partition table of %s was changed, and the kernel still goes by the old one",
              disk->path);
    return fault_remedy(fail, "reboot the device");
}

/* --- FAT -------------------------------------------------------------------------------------- */

struct fat {
    uint64_t table;     /* bytes from the partition's start: the first FAT */
    uint64_t root;      /* … the root directory of FAT12 and FAT16 */
    uint32_t root_size; /* bytes; 0: it is a chain of clusters (FAT32) */
    uint64_t data;      /* … cluster 2 */
    uint32_t cluster_size;
    uint32_t root_cluster;
};

static bool read_whole(int fd, void *buffer, size_t size, uint64_t at)
{
    return pread(fd, buffer, size, (off_t)at) == (ssize_t)size;
}

static bool fat_open(int fd, struct fat *fat)
{
    uint8_t b[512];
    if (!read_whole(fd, b, sizeof b, 0) || b[510] != 0x55 || b[511] != 0xaa)
        return false;
    uint32_t sector = little(b + 11, 2), reserved = little(b + 14, 2), entries = little(b + 17, 2);
    uint32_t fat_sectors = little(b + 22, 2) != 0 ? little(b + 22, 2) : little(b + 36, 4);
    if (sector < 512 || sector > 4096 || (sector & (sector - 1)) != 0 || b[13] == 0)
        return false;
    fat->table = (uint64_t)reserved * sector;
    fat->root = fat->table + (uint64_t)b[16] * fat_sectors * sector;
    fat->root_size = entries * DIRECTORY;
    fat->data = fat->root + (fat->root_size + sector - 1) / sector * sector;
    fat->cluster_size = b[13] * sector;
    fat->root_cluster = little(b + 44, 4);
    return fat->cluster_size <= DIRECTORIES;
}

/* Of 11 letters, "U-BOOT  BIN": one that a U-Boot comes in or starts from? Longer ones look like
 * "U-BOOT~1BIN", and one that was deleted has lost its first letter. */
static bool is_loaders(const uint8_t *entry)
{
    return (entry[11] & NOT_A_FILE) == 0 &&
           (memcmp(entry, "U-BOOT", 6) == 0 || memcmp(entry, "UBOOT", 5) == 0 ||
            memcmp(entry, "BOOT    SCR", 11) == 0 || memcmp(entry, "BOOTSC~", 7) == 0);
}

static void short_name(const uint8_t *entry, char *name)
{
    size_t n = 0;
    for (unsigned i = 0; i < 11; i++) {
        if (i == 8 && entry[8] != ' ')
            name[n++] = '.';
        if (entry[i] != ' ')
            name[n++] = isprint(entry[i]) ? (char)tolower(entry[i]) : '?';
    }
    name[n] = '\0';
}

/* One piece of a directory. False: it ends here, or what was looked for is found. */
static bool look_through(const uint8_t *entries, size_t size, char *name)
{
    for (size_t at = 0; at + DIRECTORY <= size; at += DIRECTORY) {
        const uint8_t *entry = entries + at;
        if (entry[0] == 0)
            return false;
        if (is_loaders(entry)) {
            short_name(entry, name);
            return false;
        }
    }
    return true;
}

static void look_through_chain(int fd, const struct fat *fat, uint8_t *buffer, char *name)
{
    uint32_t cluster = fat->root_cluster;
    for (unsigned i = 0; i < CLUSTERS_MAX && cluster >= 2 && cluster < 0x0ffffff7; i++) {
        uint8_t next[4];
        if (!read_whole(fd, buffer, fat->cluster_size,
                        fat->data + (uint64_t)(cluster - 2) * fat->cluster_size) ||
            !look_through(buffer, fat->cluster_size, name) ||
            !read_whole(fd, next, sizeof next, fat->table + (uint64_t)cluster * 4))
            return;
        cluster = little(next, 4) & 0x0fffffff;
    }
}

void loader_find(int fd, char *name)
{
    struct fat fat;
    name[0] = '\0';
    uint8_t *buffer = fat_open(fd, &fat) ? malloc(DIRECTORIES) : NULL;
    if (buffer == NULL)
        return;
    for (uint32_t at = 0; at < fat.root_size; at += DIRECTORIES) {
        size_t size = fat.root_size - at < DIRECTORIES ? fat.root_size - at : DIRECTORIES;
        if (!read_whole(fd, buffer, size, fat.root + at) || !look_through(buffer, size, name))
            break;
    }
    if (fat.root_size == 0)
        look_through_chain(fd, &fat, buffer, name);
    free(buffer);
}
