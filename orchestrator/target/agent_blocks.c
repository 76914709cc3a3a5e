/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks that the agent wants, from the store to the wire. */
#include "target/agent_session_internal.h"

#include <sodium.h>
#include <stdlib.h>

#define PENDING_HIGH (768u * 1024u)

/* Keeps TRANSFER_SAMPLES of all blocks seen, each with the same chance (Vitter's algorithm R). */
static void count_sample(struct transfer_count *count, uint32_t index)
{
    if (index < 8)
        return;
    count->samples_seen++;
    if (count->sample_count < TRANSFER_SAMPLES) {
        count->samples[count->sample_count++] = index;
        return;
    }
    uint32_t place = randombytes_uniform(count->samples_seen);
    if (place < TRANSFER_SAMPLES)
        count->samples[place] = index;
}

static void session_send_block(struct agent_session *session, uint32_t index, struct buffer *data,
                               enum block_encoding encoding)
{
    struct buffer *prefix = buffer_new(PROTOCOL_BLOCK_PREFIX);
    if (prefix == NULL || session->wire == NULL) {
        buffer_unref(prefix);
        return;
    }
    struct block_header header = {.index = index, .encoding = (uint8_t)encoding};
    size_t size = protocol_encode_block_prefix(&header, (uint32_t)data->size, prefix->data);
    wire_write(session->wire, prefix, 0, size);
    wire_write(session->wire, data, 0, data->size);
    buffer_unref(prefix);
    session->count->blocks_sent++;
    session->events->alive(session->arg);
    count_sample(session->count, index);
}

static void block_fetched_callback(struct buffer *data, enum block_encoding encoding,
                                   const struct error *err, void *arg)
{
    struct fetch_slot *slot = arg;
    struct agent_session *session = slot->session;
    slot->fetch = NULL;
    session_enter(session);
    if (data == NULL) {
        session_lose(session, err);
    } else {
        session_send_block(session, slot->index, data, encoding);
        pace_spend(&session->pace, data->size);
        session_pump(session);
    }
    session_leave(session);
}

bool session_want(struct agent_session *session, const struct want_range *range)
{
    if (session->range_count == RANGES_MAX)
        return false;
    session->ranges[(session->range_first + session->range_count++) % RANGES_MAX] = *range;
    return true;
}

/* The next wanted block, or false. */
static bool session_next_wanted(struct agent_session *session, uint32_t *index)
{
    if (session->range_count == 0)
        return false;
    struct want_range *range = &session->ranges[session->range_first];
    *index = range->first++;
    if (--range->count == 0) {
        session->range_first = (session->range_first + 1) % RANGES_MAX;
        session->range_count--;
    }
    return true;
}

static void rate_timer_callback(uv_timer_t *timer)
{
    session_pump(timer->data);
}

/* True when the next block has to wait. */
static bool session_throttled(struct agent_session *session)
{
    if (session->rate_timer == NULL)
        return false;
    uint64_t wait = pace_wait(&session->pace, uv_now(session->rate_timer->loop));
    if (wait > 0)
        uv_timer_start(session->rate_timer, rate_timer_callback, wait, 0);
    return wait > 0;
}

/* Reads ahead as far as slots, wire and rate allow. */
void session_pump(struct agent_session *session)
{
    if (session->dead || session->store == NULL)
        return;
    for (size_t i = 0; i < FETCHES_MAX; i++) {
        struct fetch_slot *slot = &session->slots[i];
        if (slot->fetch != NULL)
            continue;
        if (session->wire->pending > PENDING_HIGH || session_throttled(session))
            return;
        if (!session_next_wanted(session, &slot->index))
            return;
        slot->fetch = store_fetch(session->store, slot->index, block_fetched_callback, slot);
    }
}

void agent_session_set_rate(struct agent_session *session, uv_loop_t *loop, uint64_t rate)
{
    session->pace.rate = rate;
    if (rate == 0 || session->rate_timer != NULL)
        return;
    session->rate_timer = malloc(sizeof *session->rate_timer);
    if (session->rate_timer == NULL)
        return;
    uv_timer_init(loop, session->rate_timer);
    session->rate_timer->data = session;
}
