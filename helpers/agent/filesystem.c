/* SPDX-License-Identifier: Apache-2.0 */
#include "filesystem.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_SIZE (128u * 1024u)

static unsigned little(const uint8_t *p, unsigned n)
{
    unsigned value = 0;
    for (unsigned i = n; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

static void put_uuid(char out[40], const uint8_t *p)
{
    for (int i = 0; i < 16; i++) {
        static const uint8_t zeros[16];
        const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        if (memcmp(p, zeros, 16) == 0)
            return;
        snprintf(out + strlen(out), 40 - strlen(out), "%s%02x", dash, p[i]);
    }
}

/* GUIDs in partition tables: the first three groups are little-endian. */
static void put_guid(char out[40], const uint8_t *p)
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[i] = p[order[i]];
    put_uuid(out, bytes);
}

static void put_label(struct filesystem *fs, const uint8_t *p, size_t size)
{
    memcpy(fs->label, p, size);
    fs->label[size] = '\0';
    for (size_t n = strlen(fs->label); n > 0 && fs->label[n - 1] == ' ';)
        fs->label[--n] = '\0';
}

/* Linux: fs/ext4/ext4.h, struct ext4_super_block */
static bool read_ext(const uint8_t *b, struct filesystem *fs)
{
    const uint8_t *s = b + 1024;
    if (little(s + 56, 2) != 0xef53)
        return false;
    unsigned compat = little(s + 92, 4), incompat = little(s + 96, 4), ro = little(s + 100, 4);
    if (incompat & 0x8) /* a journal's own device */
        return false;
    bool four = (incompat & ~0x1fu & ~0x2u) != 0 || (incompat & 0x3c0) != 0 || (ro & ~0x7u) != 0;
    text_copy(fs->type, sizeof fs->type, four ? "ext4" : compat & 0x4 ? "ext3" : "ext2");
    put_uuid(fs->uuid, s + 104);
    put_label(fs, s + 120, 16);
    return true;
}

static bool read_xfs(const uint8_t *b, struct filesystem *fs)
{
    if (memcmp(b, "XFSB", 4) != 0)
        return false;
    text_copy(fs->type, sizeof fs->type, "xfs");
    put_uuid(fs->uuid, b + 32);
    put_label(fs, b + 108, 12);
    return true;
}

static bool read_btrfs(const uint8_t *b, struct filesystem *fs)
{
    const uint8_t *s = b + 65536;
    if (memcmp(s + 64, "_BHRfS_M", 8) != 0)
        return false;
    text_copy(fs->type, sizeof fs->type, "btrfs");
    put_uuid(fs->uuid, s + 32);
    put_label(fs, s + 0x12b, sizeof fs->label - 1);
    return true;
}

static bool read_f2fs(const uint8_t *b, struct filesystem *fs)
{
    const uint8_t *s = b + 1024;
    if (little(s, 4) != 0xf2f52010)
        return false;
    text_copy(fs->type, sizeof fs->type, "f2fs");
    put_uuid(fs->uuid, s + 108);
    size_t n = 0; /* UTF-16; what is not ASCII is left out */
    for (int i = 0; i < 512 && n < sizeof fs->label - 1; i++) {
        unsigned c = little(s + 124 + 2 * i, 2);
        if (c == 0)
            break;
        if (c < 0x80)
            fs->label[n++] = (char)c;
    }
    return true;
}

static bool read_swap(const uint8_t *b, struct filesystem *fs)
{
    static const unsigned pages[] = {4096, 8192, 16384, 65536};
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (memcmp(b + pages[i] - 10, "SWAPSPACE2", 10) != 0)
            continue;
        text_copy(fs->type, sizeof fs->type, "swap");
        put_uuid(fs->uuid, b + 1036);
        put_label(fs, b + 1052, 16);
        return true;
    }
    return false;
}

static bool read_other(const uint8_t *b, struct filesystem *fs)
{
    if (memcmp(b, "LUKS\xba\xbe", 6) == 0) {
        text_copy(fs->type, sizeof fs->type, "crypto_LUKS");
        text_format(fs->uuid, sizeof fs->uuid, "%.36s", (const char *)b + 168);
        return true;
    }
    for (unsigned i = 0; i < 4; i++)
        if (memcmp(b + 512 * i, "LABELONE", 8) == 0 &&
            memcmp(b + 512 * i + 24, "LVM2 001", 8) == 0) {
            text_copy(fs->type, sizeof fs->type, "LVM2_member");
            return true;
        }
    if (memcmp(b, "hsqs", 4) == 0) {
        text_copy(fs->type, sizeof fs->type, "squashfs");
        return true;
    }
    if (memcmp(b + 3, "EXFAT   ", 8) == 0) {
        text_copy(fs->type, sizeof fs->type, "exfat");
        text_format(fs->uuid, sizeof fs->uuid, "%04x-%04x", little(b + 102, 2), little(b + 100, 2));
        return true;
    }
    if (memcmp(b + 3, "NTFS    ", 8) == 0) {
        text_copy(fs->type, sizeof fs->type, "ntfs");
        return true;
    }
    return false;
}

/* Microsoft's FAT specification: 12 and 16 bits, and 32 bits. */
static bool read_fat(const uint8_t *b, struct filesystem *fs)
{
    unsigned sector = little(b + 11, 2);
    if (b[510] != 0x55 || b[511] != 0xaa || (b[0] != 0xeb && b[0] != 0xe9) || sector < 512 ||
        (sector & (sector - 1)) != 0 || b[13] == 0)
        return false;
    bool wide = memcmp(b + 82, "FAT32", 5) == 0;
    if (!wide && memcmp(b + 54, "FAT", 3) != 0)
        return false;
    const uint8_t *id = b + (wide ? 67 : 39);
    text_copy(fs->type, sizeof fs->type, "vfat");
    text_format(fs->uuid, sizeof fs->uuid, "%04X-%04X", little(id + 2, 2), little(id, 2));
    put_label(fs, id + 4, 11);
    if (strcmp(fs->label, "NO NAME") == 0)
        fs->label[0] = '\0';
    return true;
}

bool filesystem_read(int fd, struct filesystem *fs)
{
    memset(fs, 0, sizeof *fs);
    uint8_t *b = calloc(1, PROBE_SIZE);
    if (b == NULL)
        return false;
    size_t at = 0;
    ssize_t n = 0;
    while (at < PROBE_SIZE && (n = pread(fd, b + at, PROBE_SIZE - at, (off_t)at)) > 0)
        at += (size_t)n;
    bool known = at >= 4096 &&
                 (read_ext(b, fs) || read_xfs(b, fs) || read_btrfs(b, fs) || read_f2fs(b, fs) ||
                  read_swap(b, fs) || read_other(b, fs) || read_fat(b, fs));
    free(b);
    return known;
}

void partition_table_read(int fd, unsigned sector, struct partition_table *table)
{
    uint8_t *b = NULL;
    memset(table, 0, sizeof *table);
    if (sector < 512 || sector > 4096 || posix_memalign((void **)&b, 4096, 8192) != 0)
        return;
    if (pread(fd, b, 8192, 0) == 8192 && b[510] == 0x55 && b[511] == 0xaa) {
        bool gpt = memcmp(b + sector, "EFI PART", 8) == 0;
        text_copy(table->kind, sizeof table->kind, gpt ? "gpt" : "mbr");
        if (gpt)
            put_guid(table->guid, b + sector + 56);
        text_format(table->signature, sizeof table->signature, "%08x", little(b + 440, 4));
    }
    free(b);
}
