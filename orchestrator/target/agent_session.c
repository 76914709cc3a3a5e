/* SPDX-License-Identifier: Apache-2.0 */
#include "target/agent_session_internal.h"

#include <stdlib.h>
#include <string.h>

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

void session_enter(struct agent_session *session)
{
    session->depth++;
}

void session_leave(struct agent_session *session)
{
    if (--session->depth == 0 && session->freeing)
        agent_session_free(session);
}

void session_lose(struct agent_session *session, const struct error *err)
{
    if (session->dead)
        return;
    session->dead = true;
    struct error copy = *err;
    session_quiet(session);
    session->events->lost(&copy, session->arg);
}

void session_breach(struct agent_session *session, const char *what)
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
