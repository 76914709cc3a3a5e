/* SPDX-License-Identifier: Apache-2.0 */
#include "target/agent_session.h"

#include "target/heartbeat.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Blocks read ahead of the wire, and what may wait on the wire before another is read: together
 * they bound a target's memory (each block at most 128 KiB, 2 MiB in all). */
enum { FETCHES_MAX = 4 };
#define PENDING_HIGH (768u * 1024u)

/* Wanted ranges that wait; the agent asks for at most as much as it can hold, a queue longer than
 * this is a broken agent. */
enum { RANGES_MAX = 16384 };

struct fetch_slot {
    struct agent_session *session;
    struct store_fetch *fetch;
    uint32_t index;
};

struct agent_session {
    const struct agent_session_events *events;
    void *arg;
    struct transfer_count *count;
    struct wire *wire;
    uint64_t wire_sent_before; /* what of wire->bytes_sent is already in count */
    struct store *store;

    uint8_t *input; /* an incomplete frame */
    size_t input_size, input_capacity;

    struct want_range *ranges; /* a ring */
    uint32_t range_first, range_count;
    struct fetch_slot slots[FETCHES_MAX];

    uint64_t rate;        /* bytes per second, 0: no limit */
    uint64_t credit_time; /* ms of the loop's clock when the next block may go */
    uv_timer_t *rate_timer;
    struct heartbeat *heartbeat; /* NULL: none */

    char diagnostic[512];
    bool dead; /* lost has been said */
    int depth; /* callbacks under way: free waits for them */
    bool freeing;
};

static void session_pump(struct agent_session *session);

/* --- life ---------------------------------------------------------------------------- */

struct agent_session *agent_session_new(const struct agent_session_events *events, void *arg,
                                        struct transfer_count *count)
{
    struct agent_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->events = events;
    session->arg = arg;
    session->count = count;
    session->ranges = calloc(RANGES_MAX, sizeof *session->ranges);
    if (session->ranges == NULL) {
        free(session);
        return NULL;
    }
    for (size_t i = 0; i < FETCHES_MAX; i++)
        session->slots[i].session = session;
    return session;
}

void agent_session_attach(struct agent_session *session, struct wire *wire)
{
    session->wire = wire;
    session->wire_sent_before = 0;
}

static void session_account(struct agent_session *session)
{
    if (session->wire == NULL)
        return;
    session->count->bytes_sent += session->wire->bytes_sent - session->wire_sent_before;
    session->wire_sent_before = session->wire->bytes_sent;
}

static void timer_free_callback(uv_handle_t *handle)
{
    free(handle);
}

/* Stops everything that could call back. */
static void session_quiet(struct agent_session *session)
{
    session_account(session);
    for (size_t i = 0; i < FETCHES_MAX; i++) {
        if (session->slots[i].fetch != NULL)
            store_fetch_cancel(session->slots[i].fetch);
        session->slots[i].fetch = NULL;
    }
    session->range_count = 0;
    heartbeat_free(session->heartbeat);
    session->heartbeat = NULL;
    if (session->rate_timer != NULL) {
        uv_close((uv_handle_t *)session->rate_timer, timer_free_callback);
        session->rate_timer = NULL;
    }
    wire_close(session->wire);
    session->wire = NULL;
}

void agent_session_free(struct agent_session *session)
{
    if (session == NULL)
        return;
    session_quiet(session);
    session->dead = true;
    session->freeing = true;
    if (session->depth > 0)
        return; /* session_leave frees */
    free(session->input);
    free(session->ranges);
    free(session);
}

static void session_enter(struct agent_session *session)
{
    session->depth++;
}

static void session_leave(struct agent_session *session)
{
    if (--session->depth == 0 && session->freeing)
        agent_session_free(session);
}

static void session_lose(struct agent_session *session, const struct error *err)
{
    if (session->dead)
        return;
    session->dead = true;
    struct error copy = *err;
    session_quiet(session);
    session->events->lost(&copy, session->arg);
}

static void session_breach(struct agent_session *session, const char *what)
{
    struct error err;
    error_set(&err, ERROR_PROTOCOL, "the agent broke the protocol: %s", what);
    session_lose(session, &err);
}

const char *agent_session_diagnostic(const struct agent_session *session)
{
    return session->diagnostic;
}

void agent_session_set_store(struct agent_session *session, struct store *store)
{
    session->store = store;
}

/* --- requests ------------------------------------------------------------------------ */

static void session_send(struct agent_session *session, const uint8_t *frame, size_t size)
{
    if (session->wire == NULL || size == 0)
        return;
    struct buffer *buffer = buffer_copy(frame, size);
    if (buffer == NULL)
        return;
    wire_write(session->wire, buffer, 0, size);
    buffer_unref(buffer);
}

void agent_session_hello(struct agent_session *session, const uint8_t token[PROTOCOL_TOKEN_SIZE],
                         const char *run_id)
{
    struct hello hello = {.version = PROTOCOL_VERSION};
    memcpy(hello.token, token, sizeof hello.token);
    strncpy(hello.run_id, run_id, PROTOCOL_RUN_ID_MAX);
    uint8_t frame[PROTOCOL_SMALL_MAX];
    session_send(session, frame, protocol_encode_hello(&hello, frame, sizeof frame));
}

void agent_session_probe(struct agent_session *session, const char *device)
{
    uint8_t frame[PROTOCOL_SMALL_MAX];
    session_send(session, frame, protocol_encode_probe(device, frame, sizeof frame));
}

/* MANIFEST and all hashes. For a 32 GiB image that is 9 MiB, more than a target may hold at once on
 * a slow link; it is one time and small beside the image. */
void agent_session_manifest(struct agent_session *session, const struct shift *shift)
{
    const struct store_info *info = store_info(session->store);
    struct manifest manifest = {.image_size = info->image_size,
                                .block_size = info->block_size,
                                .block_count = info->block_count,
                                .first_block = shift->first_block,
                                .shift = shift->bytes};
    memcpy(manifest.image_id, info->image_id, sizeof manifest.image_id);
    uint8_t frame[PROTOCOL_SMALL_MAX];
    session_send(session, frame, protocol_encode_manifest(&manifest, frame, sizeof frame));

    for (uint32_t first = 0; first < info->block_count; first += PROTOCOL_HASHES_MAX) {
        uint32_t count = info->block_count - first;
        if (count > PROTOCOL_HASHES_MAX)
            count = PROTOCOL_HASHES_MAX;
        size_t size = protocol_hashes_size(count);
        struct buffer *buffer = buffer_new(size);
        if (buffer == NULL || session->wire == NULL) {
            buffer_unref(buffer);
            return;
        }
        size = protocol_encode_hashes(first, store_entry(session->store, first), count,
                                      buffer->data, buffer->size);
        wire_write(session->wire, buffer, 0, size);
        buffer_unref(buffer);
    }
}

void agent_session_begin(struct agent_session *session, enum flash_mode mode, uint32_t flags)
{
    uint8_t frame[PROTOCOL_SMALL_MAX];
    session_send(session, frame, protocol_encode_begin(mode, flags, frame, sizeof frame));
}

void agent_session_request(struct agent_session *session, enum frame_type type)
{
    uint8_t frame[PROTOCOL_SMALL_MAX];
    session_send(session, frame, protocol_encode_empty(type, frame, sizeof frame));
}

/* --- signs of life ------------------------------------------------------------------- */

static uint64_t session_ping_callback(void *arg)
{
    struct agent_session *session = arg;
    agent_session_request(session, FRAME_PING);
    return session->wire->bytes_sent;
}

static void session_silent_callback(void *arg)
{
    struct agent_session *session = arg;
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "nothing is heard from the agent any more");
    session_enter(session);
    session_lose(session, &err);
    session_leave(session);
}

static const struct heartbeat_events heartbeat_events = {session_ping_callback,
                                                         session_silent_callback};

bool agent_session_is_faint(const struct agent_session *session)
{
    return session == NULL || heartbeat_is_faint(session->heartbeat);
}

void agent_session_set_heartbeat(struct agent_session *session, uv_loop_t *loop, uint64_t every)
{
    if (session->heartbeat == NULL && session->wire != NULL)
        session->heartbeat = heartbeat_new(loop, every, &heartbeat_events, session);
}

/* --- serving blocks ------------------------------------------------------------------ */

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
        if (session->rate != 0)
            session->credit_time += data->size * 1000 / session->rate;
        session_pump(session);
    }
    session_leave(session);
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

/* With a rate limit: true when the next block has to wait. */
static bool session_throttled(struct agent_session *session)
{
    if (session->rate == 0 || session->rate_timer == NULL)
        return false;
    uint64_t now = uv_now(session->rate_timer->loop);
    if (session->credit_time + 200 < now)
        session->credit_time = now - 200; /* at most a fifth of a second is saved up */
    if (session->credit_time <= now)
        return false;
    uv_timer_start(session->rate_timer, rate_timer_callback, session->credit_time - now, 0);
    return true;
}

/* Reads ahead as far as slots, wire and rate allow. */
static void session_pump(struct agent_session *session)
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
    session->rate = rate;
    if (rate == 0 || session->rate_timer != NULL)
        return;
    session->rate_timer = malloc(sizeof *session->rate_timer);
    if (session->rate_timer == NULL)
        return;
    uv_timer_init(loop, session->rate_timer);
    session->rate_timer->data = session;
}

/* --- frames from the agent ----------------------------------------------------------- */

static void handle_want(struct agent_session *session, const struct frame *frame)
{
    uint32_t count = 0;
    if (protocol_decode_want(frame, &count) != 0) {
        session_breach(session, "a malformed WANT");
        return;
    }
    if (session->store == NULL) {
        session_breach(session, "a WANT before the manifest");
        return;
    }
    uint32_t blocks = store_info(session->store)->block_count;
    for (uint32_t i = 0; i < count; i++) {
        struct want_range range;
        protocol_want_range(frame, i, &range);
        if (range.count == 0 || range.first >= blocks || range.count > blocks - range.first) {
            session_breach(session, "a WANT beyond the image");
            return;
        }
        if (session->range_count == RANGES_MAX) {
            session_breach(session, "it asks for more than it can hold");
            return;
        }
        session->ranges[(session->range_first + session->range_count++) % RANGES_MAX] = range;
    }
    session->events->alive(session->arg);
    session_pump(session);
}

static void handle_reply(struct agent_session *session, const struct frame *frame)
{
    struct agent_reply reply = {.type = frame->type};
    int bad = 0;
    switch (frame->type) {
    case FRAME_HELLO_REPLY:
        bad = protocol_decode_hello_reply(frame, &reply.hello);
        break;
    case FRAME_FACTS:
        reply.facts.json = (const char *)frame->payload;
        reply.facts.size = frame->size;
        break;
    case FRAME_MODE:
        bad = protocol_decode_mode(frame, &reply.mode);
        break;
    case FRAME_STAGED:
    case FRAME_WRITTEN:
        bad = protocol_decode_tally(frame, &reply.tally);
        break;
    default: /* FENCED, PONG carry nothing */
        bad = frame->size != 0;
        break;
    }
    if (bad)
        session_breach(session, "a malformed reply");
    else if (frame->type != FRAME_PONG || session->heartbeat == NULL)
        session->events->reply(&reply, session->arg);
}

static void handle_phase(struct agent_session *session, const struct frame *frame)
{
    enum agent_phase phase = PHASE_IDLE;
    if (protocol_decode_phase(frame, &phase) != 0)
        session_breach(session, "a malformed PHASE");
    else
        session->events->phase(phase, session->arg);
}

static void handle_progress(struct agent_session *session, const struct frame *frame)
{
    struct progress progress;
    if (protocol_decode_progress(frame, &progress) != 0)
        session_breach(session, "a malformed PROGRESS");
    else
        session->events->progress(&progress, session->arg);
}

static void handle_log(struct agent_session *session, const struct frame *frame)
{
    enum log_level level = LOG_INFO;
    char text[PROTOCOL_TEXT_MAX + 1];
    if (protocol_decode_log(frame, &level, text, sizeof text) != 0)
        session_breach(session, "a malformed LOG");
    else
        session->events->log(level, text, session->arg);
}

static void handle_fail(struct agent_session *session, const struct frame *frame)
{
    struct fail fail;
    if (protocol_decode_fail(frame, &fail) != 0)
        session_breach(session, "a malformed FAIL");
    else
        session->events->fail(&fail, session->arg);
}

static void session_handle_frame(struct agent_session *session, const struct frame *frame)
{
    static const struct {
        enum frame_type type;
        void (*handle)(struct agent_session *, const struct frame *);
    } handlers[] = {
        {FRAME_HELLO_REPLY, handle_reply}, {FRAME_FACTS, handle_reply},
        {FRAME_MODE, handle_reply},        {FRAME_STAGED, handle_reply},
        {FRAME_FENCED, handle_reply},      {FRAME_WRITTEN, handle_reply},
        {FRAME_PONG, handle_reply},        {FRAME_WANT, handle_want},
        {FRAME_PHASE, handle_phase},       {FRAME_PROGRESS, handle_progress},
        {FRAME_LOG, handle_log},           {FRAME_FAIL, handle_fail},
    };
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (handlers[i].type == frame->type) {
            handlers[i].handle(session, frame);
            return;
        }
    }
    session_breach(session, "a frame that only a controller sends");
}

/* --- the wire ------------------------------------------------------------------------ */

static bool session_keep_input(struct agent_session *session, const uint8_t *data, size_t size)
{
    if (session->input_size + size > session->input_capacity) {
        size_t capacity = session->input_size + size;
        uint8_t *input = realloc(session->input, capacity);
        if (input == NULL)
            return false;
        session->input = input;
        session->input_capacity = capacity;
    }
    memmove(session->input + session->input_size, data, size);
    session->input_size += size;
    return true;
}

static void wire_data_callback(struct wire *wire, const uint8_t *data, size_t size, void *arg)
{
    (void)wire;
    struct agent_session *session = arg;
    session_enter(session);
    session_account(session); /* what fits into the window never drains */
    heartbeat_heard(session->heartbeat);
    if (!session_keep_input(session, data, size))
        session_breach(session, "out of memory for its frame");
    size_t used = 0;
    while (!session->dead) {
        struct frame frame;
        int64_t taken = protocol_parse(session->input + used, session->input_size - used, &frame);
        if (taken == 0)
            break;
        if (taken < 0) {
            session_breach(session, "bytes that are no frame");
            break;
        }
        used += (size_t)taken;
        session_handle_frame(session, &frame);
    }
    if (used > 0 && used <= session->input_size) {
        session->input_size -= used;
        memmove(session->input, session->input + used, session->input_size);
    }
    session_leave(session);
}

static void wire_diagnostic_callback(struct wire *wire, const char *text, size_t size, void *arg)
{
    (void)wire;
    struct agent_session *session = arg;
    size_t have = strlen(session->diagnostic);
    size_t room = sizeof session->diagnostic - 1 - have;
    if (size > room)
        size = room;
    memcpy(session->diagnostic + have, text, size);
    session->diagnostic[have + size] = '\0';
}

static void wire_drain_callback(struct wire *wire, void *arg)
{
    (void)wire;
    struct agent_session *session = arg;
    session_enter(session);
    session_account(session);
    session->events->alive(session->arg);
    if (!session->dead)
        session_pump(session);
    session_leave(session);
}

static void wire_closed_callback(struct wire *wire, int exit_status, const struct error *err,
                                 void *arg)
{
    (void)wire;
    struct agent_session *session = arg;
    session_enter(session);
    struct error why = *err;
    if (why.cls == ERROR_NONE) {
        session->diagnostic[strcspn(session->diagnostic, "\n")] = '\0';
        error_set(&why, ERROR_NETWORK, "the stream to the agent ended (status %d)%s%s", exit_status,
                  session->diagnostic[0] != '\0' ? ": " : "", session->diagnostic);
    }
    session_lose(session, &why);
    session_leave(session);
}

static void wire_opened_callback(struct wire *wire, void *arg)
{
    (void)wire;
    struct agent_session *session = arg;
    session->events->alive(session->arg);
}

const struct wire_events agent_session_wire_events = {
    .opened = wire_opened_callback,
    .data = wire_data_callback,
    .diagnostic = wire_diagnostic_callback,
    .drain = wire_drain_callback,
    .closed = wire_closed_callback,
};
