/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view.h"

#include <stdlib.h>
#include <string.h>

#define VIEW_BLOCKS 8u /* 1 MiB: tables, superblock, the directories on the way to a file */

struct store_view {
    const struct store *store;
    struct image_reader reader;
    uint32_t block_size;
    uint64_t clock;
    struct {
        uint8_t *data;
        uint32_t index;
        uint64_t used; /* 0: empty */
    } kept[VIEW_BLOCKS];
};

/* A block's decoded bytes, NULL when it cannot be read. */
static const uint8_t *view_block(struct store_view *view, uint32_t index)
{
    unsigned oldest = 0;
    for (unsigned i = 0; i < VIEW_BLOCKS; i++) {
        if (view->kept[i].used != 0 && view->kept[i].index == index) {
            view->kept[i].used = ++view->clock;
            return view->kept[i].data;
        }
        if (view->kept[i].used < view->kept[oldest].used)
            oldest = i;
    }
    view->kept[oldest].used = 0;
    if (store_read_block(view->store, index, view->kept[oldest].data, NULL) < 0)
        return NULL;
    view->kept[oldest].index = index;
    view->kept[oldest].used = ++view->clock;
    return view->kept[oldest].data;
}

static int view_read(void *arg, uint64_t offset, void *out, size_t size)
{
    struct store_view *view = arg;
    uint8_t *to = out;
    while (size > 0) {
        size_t inside = (size_t)(offset % view->block_size);
        size_t take = view->block_size - inside < size ? view->block_size - inside : size;
        const uint8_t *block = view_block(view, (uint32_t)(offset / view->block_size));
        if (block == NULL)
            return -1;
        memcpy(to, block + inside, take);
        to += take;
        offset += take;
        size -= take;
    }
    return 0;
}

struct store_view *view_open(const struct store *store, uint64_t image_size, uint32_t block_size)
{
    struct store_view *view = calloc(1, sizeof *view);
    if (view == NULL)
        return NULL;
    view->store = store;
    view->block_size = block_size;
    view->reader = (struct image_reader){view_read, view, image_size};
    for (unsigned i = 0; i < VIEW_BLOCKS; i++) {
        view->kept[i].data = malloc(block_size);
        if (view->kept[i].data == NULL) {
            view_close(view);
            return NULL;
        }
    }
    return view;
}

const struct image_reader *view_reader(struct store_view *view)
{
    return &view->reader;
}

void view_close(struct store_view *view)
{
    if (view == NULL)
        return;
    for (unsigned i = 0; i < VIEW_BLOCKS; i++)
        free(view->kept[i].data);
    free(view);
}
