/* SPDX-License-Identifier: Apache-2.0 */
#include "swap.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>

#define RESERVE 16 /* this part of all memory must stay free when swap comes back */

/* The same octal escapes as in mountinfo. */
static void unescape(char *text)
{
    unsigned value;
    char *out = text;
    for (char *in = text; *in != '\0'; out++) {
        if (in[0] == '\\' && strspn(in + 1, "01234567") >= 3 &&
            sscanf(in + 1, "%3o", &value) == 1) {
            *out = (char)value;
            in += 4;
        } else {
            *out = *in++;
        }
    }
    *out = '\0';
}

void swaps_parse(struct swap_table *swaps, const char *text)
{
    swaps->count = 0;
    for (const char *line = strchr(text, '\n'); line != NULL && swaps->count < SWAPS_MAX;
         line = strchr(line, '\n')) {
        struct swap *swap = &swaps->items[swaps->count];
        char type[32];
        unsigned long long size, used;
        line++;
        memset(swap, 0, sizeof *swap);
        if (sscanf(line, "%511s %31s %llu %llu %d", swap->path, type, &size, &used,
                   &swap->priority) != 5)
            continue;
        unescape(swap->path);
        swap->is_file = strcmp(type, "file") == 0;
        swap->size = size * 1024;
        swap->used = used * 1024;
        swaps->count++;
    }
}

static bool rests_on(const struct swap *swap, const struct mount_table *table, dev_t disk)
{
    struct device_set disks = {.count = 0};
    struct stat st;
    char path[256], text[512];
    if (stat(swap->path, &st) != 0)
        return true; /* not visible: better not trusted */
    if (!S_ISBLK(st.st_mode)) {
        layers_of_path(table, swap->path, &disks);
        return device_set_has(&disks, disk);
    }
    layers_of_device(table, st.st_rdev, &disks);
    if (device_set_has(&disks, disk))
        return true;
    layers_name(st.st_rdev, text, sizeof text);
    text_format(path, sizeof path, "/sys/block/%.60s/backing_dev", text);
    if (!text_starts(text, "zram") || text_read(path, text, sizeof text) <= 0 ||
        stat(text, &st) != 0 || !S_ISBLK(st.st_mode))
        return false;
    layers_of_device(table, st.st_rdev, &disks);
    return device_set_has(&disks, disk);
}

int swaps_read(struct swap_table *swaps, const struct mount_table *table, dev_t disk)
{
    char *text = text_read_all("/proc/swaps");
    swaps->count = 0;
    if (text == NULL)
        return 0; /* a kernel without swap */
    swaps_parse(swaps, text);
    free(text);
    for (unsigned i = 0; i < swaps->count; i++)
        swaps->items[i].on_disk = rests_on(&swaps->items[i], table, disk);
    return 0;
}

const struct swap *swaps_off(struct swap_table *swaps)
{
    for (unsigned i = 0; i < swaps->count; i++) {
        struct swap *swap = &swaps->items[i];
        if (!swap->on_disk || swap->is_off)
            continue;
        if (swapoff(swap->path) != 0)
            return swap;
        swap->is_off = true;
    }
    return NULL;
}

bool swap_fits(const struct swap_table *swaps, const struct memory_info *memory, uint64_t *used)
{
    *used = 0;
    for (unsigned i = 0; i < swaps->count; i++)
        if (swaps->items[i].on_disk)
            *used += swaps->items[i].used;
    return *used == 0 || memory->available >= *used + memory->total / RESERVE;
}

void swaps_on(struct swap_table *swaps)
{
    for (unsigned i = 0; i < swaps->count; i++) {
        struct swap *swap = &swaps->items[i];
        int flags =
            swap->priority < 0 ? 0 : SWAP_FLAG_PREFER | (swap->priority & SWAP_FLAG_PRIO_MASK);
        if (swap->is_off && swapon(swap->path, flags) == 0)
            swap->is_off = false;
    }
}
