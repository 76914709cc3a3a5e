/* SPDX-License-Identifier: Apache-2.0 */
/* Random access to a store's decoded bytes, for the builder's thread: keeps the last few blocks. */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "image/facts.h"
#include "store/store.h"

struct store_view;

/* NULL when memory is short. The store must outlive it. */
struct store_view *view_open(const struct store *store, uint64_t image_size, uint32_t block_size);
const struct image_reader *view_reader(struct store_view *view);
void view_close(struct store_view *view);

#endif
