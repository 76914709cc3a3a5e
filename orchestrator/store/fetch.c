/* SPDX-License-Identifier: Apache-2.0 */
/* Hands out blocks on the loop: takes them from the kernel's memory or reads them on uv's thread
 * pool, once for all who wait, and keeps the last ones in a bounded cache. */
#include "store/handle.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES (32u << 20) /* blocks kept and being read, together */
#define READS_MAX   8           /* under way at once; the pool also resolves names */
#define BUCKETS     1024u

/* Circular lists with the list itself as the end. */
struct link_node {
    struct link_node *prev, *next;
};

enum slot_state {
    SLOT_QUEUED,  /* someone waits; the read has not started */
    SLOT_READING, /* on the thread pool; data is the thread's */
    SLOT_READY,   /* data may be handed out */
};

/* One block in memory or on its way there. */
struct slot {
    struct link_node order;   /* in fetcher.queued or fetcher.kept (the longest unused first) */
    struct slot *chain;       /* in its bucket */
    struct link_node waiting; /* of store_fetch */
    struct fetcher *fetcher;
    uint32_t index;
    uint32_t size;
    enum slot_state state;
    enum block_encoding encoding;
    struct buffer *data;
    struct error err;
    uv_work_t work;
};

struct store_fetch {
    struct link_node node; /* in a slot's waiting, then in fetcher.answers */
    struct fetcher *fetcher;
    struct slot *slot; /* NULL once answered */
    store_fetch_callback callback;
    void *arg;
    struct buffer *data; /* once answered */
    enum block_encoding encoding;
    struct error err;
};

struct fetcher {
    struct store *store;
    uv_loop_t *loop;
    uv_async_t wake; /* answers are waiting */
    struct slot *buckets[BUCKETS];
    struct link_node queued, kept, answers;
    size_t bytes;            /* of slots that read or are ready */
    unsigned reads, fetches; /* under way; not yet called back */
    bool closing, wake_closed;
};

static void list_init(struct link_node *list)
{
    list->prev = list->next = list;
}

static void list_append(struct link_node *list, struct link_node *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static void list_remove(struct link_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static bool list_empty(const struct link_node *list)
{
    return list->next == list;
}

#define SLOT_OF(node)  ((struct slot *)((char *)(node)-offsetof(struct slot, order)))
#define FETCH_OF(link) ((struct store_fetch *)((char *)(link)-offsetof(struct store_fetch, node)))

static struct slot *slot_find(struct fetcher *fetcher, uint32_t index)
{
    struct slot *slot = fetcher->buckets[index % BUCKETS];
    while (slot != NULL && slot->index != index)
        slot = slot->chain;
    return slot;
}

/* What it takes in memory; tiny blocks must not come for free. */
static size_t slot_cost(const struct slot *slot)
{
    return sizeof *slot + sizeof *slot->data + slot->size;
}

/* Forgets a slot that nobody waits for and no thread has. */
static void slot_drop(struct slot *slot)
{
    struct slot **at = &slot->fetcher->buckets[slot->index % BUCKETS];
    while (*at != slot)
        at = &(*at)->chain;
    *at = slot->chain;
    list_remove(&slot->order);
    if (slot->state != SLOT_QUEUED)
        slot->fetcher->bytes -= slot_cost(slot);
    buffer_unref(slot->data);
    free(slot);
}

static void fetcher_free(struct fetcher *fetcher)
{
    struct store *store = fetcher->store;
    spool_close(&store->spool);
    free(fetcher);
    free(store);
}

static void wake_closed_callback(uv_handle_t *handle)
{
    struct fetcher *fetcher = handle->data;
    fetcher_free(fetcher);
}

/* Ends a closed store once nothing is under way. */
static void fetcher_settle(struct fetcher *fetcher)
{
    if (!fetcher->closing || fetcher->wake_closed || fetcher->reads > 0 || fetcher->fetches > 0)
        return;
    while (!list_empty(&fetcher->kept))
        slot_drop(SLOT_OF(fetcher->kept.next));
    fetcher->wake_closed = true;
    uv_close((uv_handle_t *)&fetcher->wake, wake_closed_callback);
}

/* Makes room for size more bytes by forgetting the longest unused blocks. */
static bool make_room(struct fetcher *fetcher, size_t size)
{
    while (fetcher->bytes + size > CACHE_BYTES && !list_empty(&fetcher->kept))
        slot_drop(SLOT_OF(fetcher->kept.next));
    return fetcher->bytes + size <= CACHE_BYTES;
}

/* On a thread of the pool. */
static void read_work(uv_work_t *work)
{
    struct slot *slot = work->data;
    const struct spool *spool = &slot->fetcher->store->spool;
    if (spool->entries[slot->index].wire_size == 0)
        memset(slot->data->data, 0, slot->size);
    else
        spool_read_wire(spool, slot->index, slot->data->data, &slot->err);
}

/* Puts one waiting fetch among the answers that the next turn of the loop gives. */
static void fetch_answer(struct store_fetch *fetch, struct slot *slot)
{
    if (slot->err.cls == ERROR_NONE)
        fetch->data = buffer_ref(slot->data);
    fetch->encoding = slot->encoding;
    fetch->err = slot->err;
    fetch->slot = NULL;
    list_remove(&fetch->node);
    list_append(&fetch->fetcher->answers, &fetch->node);
}

static void slot_answer(struct slot *slot)
{
    while (!list_empty(&slot->waiting))
        fetch_answer(FETCH_OF(slot->waiting.next), slot);
}

static void answers_deliver(struct fetcher *fetcher);
static void reads_start(struct fetcher *fetcher);

static void read_done_callback(uv_work_t *work, int status)
{
    struct slot *slot = work->data;
    struct fetcher *fetcher = slot->fetcher;
    if (status != 0 && slot->err.cls == ERROR_NONE)
        error_set(&slot->err, ERROR_CANCELLED, "reading a block was cancelled");
    fetcher->reads--;
    slot->state = SLOT_READY;
    list_append(&fetcher->kept, &slot->order);
    slot_answer(slot);
    if (slot->err.cls != ERROR_NONE)
        slot_drop(slot); /* the next one who asks tries again */
    reads_start(fetcher);
    answers_deliver(fetcher);
}

/* Mostly the kernel still has the block in memory, and copying it takes less time than waking a
 * thread does. */
static bool slot_read_now(struct slot *slot)
{
    struct fetcher *fetcher = slot->fetcher;
    const struct spool *spool = &fetcher->store->spool;
    if (spool->entries[slot->index].wire_size == 0 ||
        !spool_try_wire(spool, slot->index, slot->data->data))
        return false;
    slot->state = SLOT_READY;
    list_append(&fetcher->kept, &slot->order);
    slot_answer(slot);
    uv_async_send(&fetcher->wake);
    return true;
}

/* Starts one read; false when there is no memory. */
static bool slot_read(struct slot *slot)
{
    struct fetcher *fetcher = slot->fetcher;
    slot->data = buffer_new(slot->size);
    if (slot->data == NULL)
        return false;
    list_remove(&slot->order);
    fetcher->bytes += slot_cost(slot);
    if (slot_read_now(slot))
        return true;
    slot->work.data = slot;
    slot->state = SLOT_READING;
    fetcher->reads++;
    uv_queue_work(fetcher->loop, &slot->work, read_work, read_done_callback);
    return true;
}

static void reads_start(struct fetcher *fetcher)
{
    while (!list_empty(&fetcher->queued) && fetcher->reads < READS_MAX) {
        struct slot *slot = SLOT_OF(fetcher->queued.next);
        if (!make_room(fetcher, slot_cost(slot)))
            return; /* reads under way hold it all; they come back here */
        if (slot_read(slot))
            continue;
        error_set(&slot->err, ERROR_IO, "out of memory for a block of %u bytes", slot->size);
        slot_answer(slot);
        slot_drop(slot);
        uv_async_send(&fetcher->wake);
    }
}

/* Frees a fetch; the loop is kept alive only while there are some. */
static void fetch_end(struct store_fetch *fetch)
{
    struct fetcher *fetcher = fetch->fetcher;
    buffer_unref(fetch->data);
    free(fetch);
    if (--fetcher->fetches == 0)
        uv_unref((uv_handle_t *)&fetcher->wake);
}

/* Calls back everyone who was answered before this began; callbacks may fetch, cancel and close. */
static void answers_deliver(struct fetcher *fetcher)
{
    struct link_node batch;
    list_init(&batch);
    while (!list_empty(&fetcher->answers)) {
        struct link_node *node = fetcher->answers.next;
        list_remove(node);
        list_append(&batch, node);
    }
    while (!list_empty(&batch)) {
        struct store_fetch *fetch = FETCH_OF(batch.next);
        list_remove(&fetch->node);
        bool failed = fetch->err.cls != ERROR_NONE;
        fetch->callback(failed ? NULL : fetch->data, fetch->encoding, failed ? &fetch->err : NULL,
                        fetch->arg);
        fetch_end(fetch);
    }
    fetcher_settle(fetcher);
}

static void wake_callback(uv_async_t *wake)
{
    answers_deliver(wake->data);
}

int store_attach(struct store *store, uv_loop_t *loop)
{
    struct fetcher *fetcher = calloc(1, sizeof *fetcher);
    if (fetcher == NULL)
        return -1;
    fetcher->store = store;
    fetcher->loop = loop;
    list_init(&fetcher->queued);
    list_init(&fetcher->kept);
    list_init(&fetcher->answers);
    if (uv_async_init(loop, &fetcher->wake, wake_callback) != 0) {
        free(fetcher);
        return -1;
    }
    fetcher->wake.data = fetcher;
    uv_unref((uv_handle_t *)&fetcher->wake); /* an idle store keeps no loop alive */
    store->fetcher = fetcher;
    return 0;
}

void store_discard(struct store *store)
{
    if (store == NULL)
        return;
    spool_close(&store->spool);
    free(store);
}

static struct slot *slot_new(struct fetcher *fetcher, uint32_t index)
{
    const struct spool *spool = &fetcher->store->spool;
    struct slot *slot = calloc(1, sizeof *slot);
    if (slot == NULL)
        return NULL;
    uint32_t wire_size = spool->entries[index].wire_size;
    slot->fetcher = fetcher;
    slot->index = index;
    slot->size = wire_size != 0 ? wire_size : spool_block_size(spool, index);
    slot->encoding = wire_size != 0 ? spool->places[index].encoding : ENCODING_RAW;
    list_init(&slot->waiting);
    list_append(&fetcher->queued, &slot->order);
    slot->chain = fetcher->buckets[index % BUCKETS];
    fetcher->buckets[index % BUCKETS] = slot;
    return slot;
}

struct store_fetch *store_fetch(struct store *store, uint32_t index, store_fetch_callback callback,
                                void *arg)
{
    struct fetcher *fetcher = store->fetcher;
    if (index >= store->spool.head.block_count)
        return NULL;
    struct store_fetch *fetch = calloc(1, sizeof *fetch);
    struct slot *slot = slot_find(fetcher, index);
    if (fetch != NULL && slot == NULL)
        slot = slot_new(fetcher, index);
    if (fetch == NULL || slot == NULL) {
        free(fetch);
        return NULL;
    }
    fetch->fetcher = fetcher;
    fetch->callback = callback;
    fetch->arg = arg;
    fetch->slot = slot;
    if (fetcher->fetches++ == 0)
        uv_ref((uv_handle_t *)&fetcher->wake);
    list_append(&slot->waiting, &fetch->node);
    if (slot->state == SLOT_READY) {
        list_remove(&slot->order);
        list_append(&fetcher->kept, &slot->order);
        fetch_answer(fetch, slot);
        uv_async_send(&fetcher->wake);
    } else {
        reads_start(fetcher);
    }
    return fetch;
}

void store_fetch_cancel(struct store_fetch *fetch)
{
    if (fetch == NULL)
        return;
    struct fetcher *fetcher = fetch->fetcher;
    struct slot *slot = fetch->slot;
    list_remove(&fetch->node);
    /* The last one to leave takes a read with it that has not started. */
    if (slot != NULL && slot->state == SLOT_QUEUED && list_empty(&slot->waiting))
        slot_drop(slot);
    fetch_end(fetch);
    fetcher_settle(fetcher);
}

const struct store_info *store_info(const struct store *store)
{
    return &store->info;
}

const struct manifest_entry *store_entry(const struct store *store, uint32_t index)
{
    return &store->spool.entries[index];
}

int store_read_block(const struct store *store, uint32_t index, uint8_t *out, struct error *err)
{
    if (index >= store->spool.head.block_count)
        return error_set(err, ERROR_IO, "there is no block %u in the image", index);
    return spool_read_block(&store->spool, index, out, err);
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    store->fetcher->closing = true;
    fetcher_settle(store->fetcher);
}
