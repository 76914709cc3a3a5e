/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds how many handshakes run at once, and takes them back from their threads. */
#include "link/internal.h"

#include <stdlib.h>

static void pool_closed_callback(uv_handle_t *handle)
{
    struct link_pool *pool = handle->data;
    if (--pool->handles > 0)
        return;
    uv_mutex_destroy(&pool->known_hosts_lock);
    uv_mutex_destroy(&pool->done_lock);
    settings_cache_free(pool->settings);
    free(pool);
}

static void pool_close_handles(struct link_pool *pool)
{
    uv_close((uv_handle_t *)&pool->wake, pool_closed_callback);
    uv_close((uv_handle_t *)&pool->pace, pool_closed_callback);
}

static void pool_check_free(struct link_pool *pool)
{
    if (pool->freeing && pool->links == 0 && pool->threads == 0 &&
        !uv_is_closing((uv_handle_t *)&pool->wake))
        pool_close_handles(pool);
}

/* On the handshake's thread. */
static void pool_finished(struct handshake *handshake, void *arg)
{
    struct link_pool *pool = arg;
    uv_mutex_lock(&pool->done_lock);
    handshake->next = pool->done;
    pool->done = handshake;
    uv_async_send(&pool->wake);
    uv_mutex_unlock(&pool->done_lock);
}

static void pool_wake_callback(uv_async_t *wake)
{
    struct link_pool *pool = wake->data;
    uv_mutex_lock(&pool->done_lock);
    struct handshake *handshake = pool->done;
    pool->done = NULL;
    uv_mutex_unlock(&pool->done_lock);
    while (handshake != NULL) {
        struct handshake *next = handshake->next;
        uv_thread_join(&handshake->thread);
        if (--pool->threads == 0)
            uv_unref((uv_handle_t *)&pool->wake);
        if (handshake->owner != NULL)
            link_handshake_done(handshake->owner, handshake);
        else
            handshake_free(handshake);
        handshake = next;
    }
    pool_check_free(pool);
}

/* What must be there before the loop knows the pool. */
static int pool_init(struct link_pool *pool, uv_loop_t *loop)
{
    pool->settings = settings_cache_new();
    if (pool->settings == NULL || uv_mutex_init(&pool->known_hosts_lock) != 0)
        return -1;
    if (uv_mutex_init(&pool->done_lock) == 0) {
        if (uv_async_init(loop, &pool->wake, pool_wake_callback) == 0)
            return 0;
        uv_mutex_destroy(&pool->done_lock);
    }
    uv_mutex_destroy(&pool->known_hosts_lock);
    return -1;
}

struct link_pool *link_pool_new(uv_loop_t *loop, unsigned max_handshakes)
{
    struct link_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    if (pool_init(pool, loop) != 0) {
        settings_cache_free(pool->settings);
        free(pool);
        return NULL;
    }
    uv_timer_init(loop, &pool->pace);
    pool->wake.data = pool->pace.data = pool;
    pool->handles = 2;
    uv_unref((uv_handle_t *)&pool->wake);
    pool->loop = loop;
    pool->limit = max_handshakes > 0 ? max_handshakes : 1;
    TAILQ_INIT(&pool->waiting);
    return pool;
}

struct settings_cache *link_pool_settings(struct link_pool *pool)
{
    return pool->settings;
}

void link_pool_free(struct link_pool *pool)
{
    if (pool == NULL)
        return;
    pool->freeing = true;
    pool_check_free(pool);
}

void pool_link_gone(struct link_pool *pool)
{
    pool->links--;
    pool_check_free(pool);
}

int pool_start_handshake(struct link_pool *pool, struct handshake *handshake)
{
    handshake->known_hosts_lock = &pool->known_hosts_lock;
    handshake->finished = pool_finished;
    handshake->finished_arg = pool;
    int rc = handshake_start(handshake);
    if (rc == 0 && pool->threads++ == 0)
        uv_ref((uv_handle_t *)&pool->wake);
    return rc;
}

static void pool_next(struct link_pool *pool);

static void pool_pace_callback(uv_timer_t *pace)
{
    pool_next(pace->data);
}

/* One at a time: each start forks, which costs the loop some milliseconds. link_begin never calls
 * the owner from here: failures come later, from the link's timer. */
static void pool_next(struct link_pool *pool)
{
    struct link *link = TAILQ_FIRST(&pool->waiting);
    if (pool->active >= pool->limit || link == NULL || uv_is_active((uv_handle_t *)&pool->pace))
        return;
    TAILQ_REMOVE(&pool->waiting, link, in_queue);
    link->has_turn = true;
    pool->active++;
    link_begin(link);
    if (!TAILQ_EMPTY(&pool->waiting))
        uv_timer_start(&pool->pace, pool_pace_callback, 1, 0);
}

void pool_enqueue(struct link *link)
{
    TAILQ_INSERT_TAIL(&link->pool->waiting, link, in_queue);
    pool_next(link->pool);
}

void pool_leave(struct link *link)
{
    if (link->has_turn) {
        link->has_turn = false;
        link->pool->active--;
        pool_next(link->pool);
    } else if (link->state == LINK_QUEUED) {
        TAILQ_REMOVE(&link->pool->waiting, link, in_queue);
    }
}
