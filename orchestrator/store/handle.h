/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a store, shared by what makes it (job.c) and what serves from it (fetch.c). */
#ifndef STORE_HANDLE_H
#define STORE_HANDLE_H

#include "store/spool.h"
#include "store/store.h"

struct fetcher;

struct store {
    struct spool spool;
    struct store_info info;
    struct fetcher *fetcher; /* NULL while the builder thread still has it */
};

/* Gives a store that the builder has finished its place on the loop. 0 or -1. */
int store_attach(struct store *store, uv_loop_t *loop);

/* Frees one that was never attached. NULL is allowed. */
void store_discard(struct store *store);

#endif
