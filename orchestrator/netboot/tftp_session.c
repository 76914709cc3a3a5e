/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/tftp_session.h"

#include <stdlib.h>
#include <string.h>

#define PROGRESS_EVERY 200000u /* µs */

uint64_t session_clock(void)
{
    return uv_hrtime() / 1000 + 1;
}

bool session_address_equals(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET6)
        return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                      &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

bool session_peer_equals(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    /* The port is at the same place in both families. */
    return session_address_equals(a, b) &&
           ((const struct sockaddr_in *)a)->sin_port == ((const struct sockaddr_in *)b)->sin_port;
}

/* --- sending ------------------------------------------------------------------------- */

struct late_send {
    uv_udp_send_t request;
    uint8_t data[];
};

static void late_send_callback(uv_udp_send_t *request, int status)
{
    (void)status;
    free(request->data);
}

/* At once where the socket has room, else when it has. What is lost is sent again in time. */
static void session_send_to(struct tftp_session *session, const struct sockaddr *to,
                            const uint8_t *data, size_t size)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)size);
    if (uv_udp_try_send(&session->socket, &buf, 1, to) != UV_EAGAIN)
        return;
    struct late_send *late = malloc(sizeof *late + size);
    if (late == NULL)
        return;
    memcpy(late->data, data, size);
    late->request.data = late;
    buf.base = (char *)late->data;
    if (uv_udp_send(&late->request, &session->socket, &buf, 1, to, late_send_callback) != 0)
        free(late);
}

static void transfer_send(const uint8_t *data, size_t size, void *arg)
{
    struct tftp_session *session = arg;
    session_send_to(session, (const struct sockaddr *)&session->peer, data, size);
}

/* --- ending -------------------------------------------------------------------------- */

static void handle_closed_callback(uv_handle_t *handle)
{
    struct tftp_session *session = handle->data;
    struct tftp_server *server = session->server;
    if (--session->handles == 0)
        free(session);
    server_handle_closed(server);
}

static void session_tell(struct tftp_session *session)
{
    struct tftp_guest *guest = session->guest;
    const struct tftp_transfer *transfer = &session->transfer;
    bool is_part = session->name.kind == NAME_PART;
    struct tftp_ended ended = {
        .name = session->name.file,
        .part = is_part ? (int)session->name.part : -1,
        .complete = transfer->result == TRANSFER_COMPLETE,
        .unconfirmed = transfer->result == TRANSFER_UNCONFIRMED,
        .bytes = transfer->acked_bytes,
        .repeated = transfer->repeated,
        .err = &transfer->err,
    };
    if (is_part)
        ended.has_crc = part_crc(transfer->source, &ended.crc);
    if (guest->events->ended != NULL)
        guest->events->ended(guest, &ended, guest->arg);
}

/* Takes it off the server and lets its handles go. The callback comes last but one: it may dismiss
 * the guest, which must not find the session again. */
static void session_finish(struct tftp_session *session, bool quiet)
{
    if (session->ended)
        return;
    struct tftp_server *server = session->server;
    struct tftp_session **at = &server->sessions;
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    server->session_count--;
    session->ended = true;
    if (session->guest != NULL && !quiet)
        session_tell(session);
    session->guest = NULL;
    source_close(session->transfer.source);
    session->transfer.source = NULL;
    uv_close((uv_handle_t *)&session->socket, handle_closed_callback);
    uv_close((uv_handle_t *)&session->timer, handle_closed_callback);
}

void session_abort(struct tftp_session *session, enum tftp_code code, const struct error *why,
                   bool quiet)
{
    tftp_transfer_abort(&session->transfer, code, why);
    session_finish(session, quiet);
}

/* --- what follows from each event ---------------------------------------------------- */

static void timer_callback(uv_timer_t *timer);

/* The timer is moved only to come earlier: most deadlines are put off before they come. */
static void session_set_timer(struct tftp_session *session, uint64_t now)
{
    uint64_t deadline = session->transfer.deadline;
    if (deadline == 0 || (session->timer_at != 0 && session->timer_at <= deadline))
        return;
    session->timer_at = deadline;
    uv_update_time(session->server->loop);
    uv_timer_start(&session->timer, timer_callback,
                   deadline > now ? (deadline - now + 999) / 1000 : 0, 0);
}

/* A second request from the same port is a restarted client, or an old packet that came late. Only
 * one of the two answers is answered; that one stays. */
static void session_prove(struct tftp_session *session)
{
    session->proven = true;
    struct tftp_session *next;
    for (struct tftp_session *other = session->server->sessions; other != NULL; other = next) {
        next = other->next;
        if (other != session && session_peer_equals(&other->peer, &session->peer))
            session_finish(other, true);
    }
}

/* As soon as it is known: the board may report the part before its last ACK is here. */
static void session_sum(struct tftp_session *session)
{
    uint32_t crc;
    if (session->summed || session->guest == NULL || session->name.kind != NAME_PART ||
        !part_crc(session->transfer.source, &crc))
        return;
    session->summed = true;
    netboot_files_served(session->guest->files, session->name.part, crc);
}

static void session_progress(struct tftp_session *session, uint64_t now)
{
    struct tftp_guest *guest = session->guest;
    if (guest == NULL || session->name.kind != NAME_PART || guest->events->progress == NULL ||
        now - session->progress_at < PROGRESS_EVERY ||
        session->transfer.acked_bytes == session->progress_bytes) /* what was sent again is none */
        return;
    session->progress_at = now;
    session->progress_bytes = session->transfer.acked_bytes;
    guest->events->progress(guest, session->name.part, session->transfer.acked_bytes,
                            session->transfer.source->size, guest->arg);
}

static void session_update(struct tftp_session *session, uint64_t now)
{
    if (session->ended)
        return;
    if (!session->proven && session->transfer.progress_at != session->begun_at)
        session_prove(session);
    session_sum(session);
    if (session->transfer.state == TRANSFER_ENDED) {
        session_finish(session, false);
        return;
    }
    session_set_timer(session, now);
    session_progress(session, now);
}

static void timer_callback(uv_timer_t *timer)
{
    struct tftp_session *session = timer->data;
    uint64_t now = session_clock();
    session->timer_at = 0;
    tftp_transfer_expire(&session->transfer, now);
    session_update(session, now);
}

static void source_ready_callback(struct byte_source *source, void *arg)
{
    (void)source;
    struct tftp_session *session = arg;
    uint64_t now = session_clock();
    tftp_transfer_ready(&session->transfer, now);
    session_update(session, now);
}

static int transfer_received(const uint8_t *data, size_t size, struct error *err, void *arg)
{
    struct tftp_session *session = arg;
    char text[TRANSFER_UPLOAD_MAX + 1];
    struct netboot_report report;
    memcpy(text, data, size);
    text[size] = '\0';
    if (strlen(text) != size || report_text_parse(text, ' ', &report) != 0)
        return error_set(err, ERROR_PROTOCOL, "no report: OK or FAILED and a number of bytes");
    return session->guest != NULL ? guest_report(session->guest, &report, err) : 0;
}

/* --- receiving ----------------------------------------------------------------------- */

static void alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    const struct tftp_session *session = handle->data;
    *buf = uv_buf_init((char *)session->server->in, (unsigned)session->server->packet_size);
}

/* Somebody else talks to this port: told so, and the transfer goes on (RFC 1350, section 4). */
static void session_turn_away(struct tftp_session *session, const struct sockaddr *from,
                              const uint8_t *data, size_t size)
{
    uint8_t packet[TFTP_ERROR_SIZE];
    if (tftp_is_error(data, size))
        return;
    size_t length = tftp_write_error(packet, TFTP_CODE_UNKNOWN_TID, "not your transfer");
    session_send_to(session, from, packet, length);
}

static void recv_callback(uv_udp_t *socket, ssize_t size, const uv_buf_t *buf,
                          const struct sockaddr *from, unsigned flags)
{
    struct tftp_session *session = socket->data;
    if (size <= 0 || from == NULL || (flags & UV_UDP_PARTIAL) != 0 || session->ended)
        return;
    const uint8_t *data = (const uint8_t *)buf->base;
    struct sockaddr_storage peer = {0};
    memcpy(&peer, from,
           from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (!session_peer_equals(&peer, &session->peer)) {
        session_turn_away(session, from, data, (size_t)size);
        return;
    }
    uint64_t now = session_clock();
    tftp_transfer_packet(&session->transfer, data, (size_t)size, now);
    session_update(session, now);
}

/* --- beginning ----------------------------------------------------------------------- */

/* A port of its own, as RFC 1350 wants it. 0, or -1; its handles close themselves then. */
static int session_open(struct tftp_session *session)
{
    struct tftp_server *server = session->server;
    struct sockaddr_storage address = server->address;
    ((struct sockaddr_in *)&address)->sin_port = 0; /* the same place in IPv6 */
    session->socket.data = session->timer.data = session;
    uv_timer_init(server->loop, &session->timer);
    uv_udp_init(server->loop, &session->socket);
    session->handles = 2;
    server->handles += 2;
    if (uv_udp_bind(&session->socket, (const struct sockaddr *)&address, 0) == 0 &&
        uv_udp_recv_start(&session->socket, alloc_callback, recv_callback) == 0)
        return 0;
    source_close(session->transfer.source);
    session->ended = true;
    uv_close((uv_handle_t *)&session->socket, handle_closed_callback);
    uv_close((uv_handle_t *)&session->timer, handle_closed_callback);
    return -1;
}

struct tftp_session *session_begin(struct tftp_guest *guest, const struct sockaddr *peer,
                                   const struct tftp_request *request,
                                   const struct netboot_name *name, struct byte_source *source,
                                   const uint8_t *packet, size_t packet_size)
{
    static const struct transfer_ops ops = {transfer_send, transfer_received};
    struct tftp_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        source_close(source);
        return NULL;
    }
    struct tftp_server *server = guest->server;
    struct tftp_transfer *transfer = &session->transfer;
    session->server = server;
    session->guest = guest;
    session->name = *name;
    session->progress_bytes = UINT64_MAX; /* none was told yet */
    session->request_size = packet_size;
    memcpy(session->request, packet, packet_size);
    memcpy(&session->peer, peer,
           peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    transfer->ops = &ops;
    transfer->arg = session;
    transfer->scratch = server->out;
    transfer->limits = server->limits;
    transfer->source = source;
    tftp_transfer_agree(request, &server->limits,
                        source != NULL ? source->size : (int64_t)TRANSFER_UPLOAD_MAX,
                        &transfer->terms);
    if (source != NULL) {
        source->ready = source_ready_callback;
        source->arg = session;
    }
    if (session_open(session) != 0)
        return NULL;
    session->next = server->sessions;
    server->sessions = session;
    server->session_count++;
    session->begun_at = session_clock();
    tftp_transfer_begin(transfer, session->begun_at);
    session_update(session, session->begun_at);
    return session;
}

void session_asked_again(struct tftp_session *session)
{
    uint64_t now = session_clock();
    tftp_transfer_asked_again(&session->transfer, now);
    session_update(session, now);
}
