/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/uboot_image.h"

#include <string.h>
#include <zlib.h>

/* include/image.h: struct legacy_img_hdr, all numbers big-endian. */
enum {
    AT_MAGIC = 0,
    AT_HEAD_CRC = 4, /* of the head, itself counted as zero */
    AT_TIME = 8,
    AT_SIZE = 12, /* of what follows the head */
    AT_DATA_CRC = 24,
    AT_OS = 28,
    AT_MACHINE = 29,
    AT_TYPE = 30,
    AT_NAME = 32,
    NAME_SIZE = 32,
    HEAD_SIZE = 64,
    /* A script is one of possibly several files: their sizes, then a zero. */
    LIST_SIZE = 8,
};

#define MAGIC       0x27051956u
#define OS_LINUX    5
#define MACHINE_ARM 2
#define TYPE_SCRIPT 6

static void put32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

struct buffer *uboot_image_script(const char *text, const char *name)
{
    size_t length = strlen(text);
    struct buffer *image = buffer_new(HEAD_SIZE + LIST_SIZE + length);
    if (image == NULL)
        return NULL;
    uint8_t *head = image->data, *data = head + HEAD_SIZE;
    memset(head, 0, HEAD_SIZE + LIST_SIZE);
    put32(data, (uint32_t)length);
    memcpy(data + LIST_SIZE, text, length);
    put32(head + AT_MAGIC, MAGIC);
    put32(head + AT_SIZE, (uint32_t)(LIST_SIZE + length));
    put32(head + AT_DATA_CRC, (uint32_t)crc32(0, data, (uInt)(LIST_SIZE + length)));
    head[AT_OS] = OS_LINUX;
    head[AT_MACHINE] = MACHINE_ARM;
    head[AT_TYPE] = TYPE_SCRIPT;
    memcpy(head + AT_NAME, name, strnlen(name, NAME_SIZE));
    put32(head + AT_HEAD_CRC, (uint32_t)crc32(0, head, HEAD_SIZE));
    return image;
}
