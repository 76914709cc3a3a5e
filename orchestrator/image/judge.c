/* SPDX-License-Identifier: Apache-2.0 */
#include "image/judge.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* What people hand over by mistake, and what they can do instead. */
struct mistaken {
    size_t offset;
    const char *magic;
    size_t magic_size;
    const char *what, *remedy;
};

#define MAGIC(text) text, sizeof(text) - 1
static const struct mistaken mistaken[] = {
    {0, MAGIC("PK\x03\x04"), "a zip archive", "unpack it and give the image in it"},
    {0, MAGIC("7z\xbc\xaf\x27\x1c"), "a 7z archive", "unpack it and give the image in it"},
    {0, MAGIC("Rar!\x1a\x07"), "a rar archive", "unpack it and give the image in it"},
    {257, MAGIC("ustar"), "a tar archive", "unpack it and give the image in it"},
    {0, MAGIC("070701"), "a cpio archive", "give a disk image"},
    {0, MAGIC("!<arch>\n"), "an ar archive or Debian package", "give a disk image"},
    {0,
     MAGIC("\x7f"
           "ELF"),
     "a program (ELF)", "give a disk image"},
    {0, MAGIC("%PDF-"), "a PDF document", "give a disk image"},
    {0,
     MAGIC("\xfd"
           "7zXZ\0"),
     "another xz file", "decompress it once and give the result"},
    {0, MAGIC("\x1f\x8b"), "another gzip file", "decompress it once and give the result"},
    {0, MAGIC("\x28\xb5\x2f\xfd"), "another zstd file", "decompress it once and give the result"},
    {0, MAGIC("BZh"), "another bzip2 file", "decompress it once and give the result"},
    {0, MAGIC("\x04\x22\x4d\x18"), "an lz4 file", "decompress it (lz4 -d) and give the result"},
    {0, MAGIC("LZIP"), "an lzip file", "decompress it (lzip -d) and give the result"},
    {0, MAGIC("\x5d\0\0"), "an lzma file", "decompress it (xz -d) and give the result"},
    {0, MAGIC("\x3a\xff\x26\xed"), "an Android sparse image", "convert it with simg2img"},
    {0, MAGIC("QFI\xfb"), "a qcow2 image", "convert it with `qemu-img convert -O raw`"},
    {0, MAGIC("KDMV"), "a VMDK image", "convert it with `qemu-img convert -O raw`"},
    {0, MAGIC("# Disk Descriptor"), "a VMDK image", "convert it with `qemu-img convert -O raw`"},
    {0x40, MAGIC("\x7f\x10\xda\xbe"), "a VDI image", "convert it with `qemu-img convert -O raw`"},
    {0, MAGIC("vhdxfile"), "a VHDX image", "convert it with `qemu-img convert -O raw`"},
    {0, MAGIC("UBI#"), "a UBI image for raw flash", "give an image for a disk"},
    {0, MAGIC("\x27\x05\x19\x56"), "a U-Boot image", "give a disk image"},
    {0, MAGIC("\xd0\x0d\xfe\xed"), "a device tree or FIT image", "give a disk image"},
};

/* File systems and tables that a disk may begin with. */
static const struct {
    size_t offset;
    const char *magic;
    size_t magic_size;
} known[] = {
    {512, MAGIC("EFI PART")},          /* GPT */
    {4096, MAGIC("EFI PART")},         /* GPT of a disk with 4096-byte sectors */
    {510, MAGIC("\x55\xaa")},          /* MBR, FAT, NTFS */
    {1080, MAGIC("\x53\xef")},         /* ext2, ext3, ext4 */
    {0, MAGIC("XFSB")},                /* xfs */
    {65600, MAGIC("_BHRfS_M")},        /* btrfs */
    {1024, MAGIC("\x10\x20\xf5\xf2")}, /* f2fs */
    {0, MAGIC("hsqs")},                /* squashfs */
    {1024, MAGIC("\xe2\xe1\xf5\xe0")}, /* erofs */
};

static bool has_magic(const uint8_t *head, size_t size, size_t offset, const char *magic,
                      size_t magic_size)
{
    return offset + magic_size <= size && memcmp(head + offset, magic, magic_size) == 0;
}

static bool is_text(const uint8_t *head, size_t size)
{
    size_t looked = size < 4096 ? size : 4096;
    for (size_t i = 0; i < looked; i++) {
        if (head[i] < 0x20 && !isspace(head[i]))
            return false;
    }
    return true;
}

/* Does the text's beginning contain word? */
static bool text_contains(const uint8_t *head, size_t size, const char *word)
{
    size_t length = strlen(word), looked = size < 2048 ? size : 2048;
    for (size_t i = 0; i + length <= looked; i++) {
        if (strncasecmp((const char *)head + i, word, length) == 0)
            return true;
    }
    return false;
}

static int refuse(const char *name, const char *format, const char *what, const char *remedy,
                  struct error *err)
{
    if (strcmp(format, "raw") == 0)
        error_set(err, ERROR_USAGE, "%s is no disk image: it is %s", name, what);
    else
        error_set(err, ERROR_USAGE, "%s holds no disk image: inside the %s data is %s", name,
                  format, what);
    return error_remedy(err, "%s", remedy);
}

static int refuse_text(const uint8_t *head, size_t size, const char *name, const char *format,
                       struct error *err)
{
    if (text_contains(head, size, "<bmap"))
        return refuse(name, format, "a bmap file", "give the image beside it", err);
    if (text_contains(head, size, "<html") || text_contains(head, size, "<!doctype html"))
        return refuse(name, format, "a web page",
                      "fetch the image again; the server sent a page instead of the file", err);
    return refuse(name, format, "a text file", "give a disk image", err);
}

int image_judge(const uint8_t *head, size_t size, const char *name, const char *format,
                struct error *err)
{
    if (size == 0)
        return refuse(name, format, "nothing at all (0 bytes)", "fetch the image again", err);
    for (size_t i = 0; i < sizeof mistaken / sizeof *mistaken; i++) {
        if (has_magic(head, size, mistaken[i].offset, mistaken[i].magic, mistaken[i].magic_size))
            return refuse(name, format, mistaken[i].what, mistaken[i].remedy, err);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (has_magic(head, size, known[i].offset, known[i].magic, known[i].magic_size))
            return 0;
    }
    if (has_magic(head, size, 32769, MAGIC("CD001")))
        return refuse(name, format, "a CD image (ISO 9660) without a partition table",
                      "use a hybrid image, or one made for disks", err);
    if (is_text(head, size))
        return refuse_text(head, size, name, format, err);
    return refuse(name, format, "data without partition table, boot sector or known file system",
                  "give an image of a whole disk", err);
}

int image_judge_size(uint64_t size, const char *name, const char *format, struct error *err)
{
    if (size >= 512 && size % 512 == 0)
        return 0;
    error_set(err, ERROR_USAGE,
              "%s %s %llu bytes, which is no multiple of 512: it is cut short, or no disk image",
              name, strcmp(format, "raw") == 0 ? "has" : "decodes to", (unsigned long long)size);
    return error_remedy(err, "fetch the image again, it may not have been downloaded completely");
}
