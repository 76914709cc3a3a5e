/* SPDX-License-Identifier: Apache-2.0 */
#include "target/heartbeat.h"

#include <stdbool.h>
#include <stdlib.h>

struct heartbeat {
    uv_timer_t timer;
    const struct heartbeat_events *events;
    void *arg;
    uint64_t taken; /* by the transport, at the last beat */
    bool heard;     /* since the last beat */
    unsigned missed;
};

static void heartbeat_closed_callback(uv_handle_t *handle)
{
    free(handle->data);
}

static void heartbeat_callback(uv_timer_t *timer)
{
    struct heartbeat *heart = timer->data;
    uint64_t taken = heart->events->ping(heart->arg);
    bool alive = heart->heard || taken > heart->taken + HEARTBEAT_NOISE;
    heart->taken = taken;
    heart->heard = false;
    heart->missed = alive ? 0 : heart->missed + 1;
    if (heart->missed < HEARTBEAT_MISSED)
        return;
    uv_timer_stop(timer);
    heart->events->silent(heart->arg);
}

struct heartbeat *heartbeat_new(uv_loop_t *loop, uint64_t every,
                                const struct heartbeat_events *events, void *arg)
{
    struct heartbeat *heart = calloc(1, sizeof *heart);
    if (heart == NULL)
        return NULL;
    heart->events = events;
    heart->arg = arg;
    heart->heard = true; /* somebody has just answered */
    uv_timer_init(loop, &heart->timer);
    heart->timer.data = heart;
    uv_timer_start(&heart->timer, heartbeat_callback, every, every);
    return heart;
}

void heartbeat_heard(struct heartbeat *heart)
{
    if (heart != NULL)
        heart->heard = true;
}

bool heartbeat_is_faint(const struct heartbeat *heart)
{
    return heart != NULL && heart->missed > 0;
}

void heartbeat_free(struct heartbeat *heart)
{
    if (heart != NULL)
        uv_close((uv_handle_t *)&heart->timer, heartbeat_closed_callback);
}
