/* SPDX-License-Identifier: Apache-2.0 */
/* Drives an authenticated session from uv_poll. Every call into libssh that may send or read is
 * made from session_pump, so that no owner's callback ever runs inside wire_write or wire_close.
 *
 * Seen in libssh 0.10.6, and the reason for much here: it sets the socket to blocking during the
 * connect; any call, a write too, may read packets and run callbacks; it closes its socket by
 * itself on an error; ssh_channel_write buffers without limit when the socket is full. */
#include "link/internal.h"

#include <libssh/server.h> /* ssh_send_keepalive */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define TURN_NS (2u * 1000u * 1000u) /* of the loop, for one session */

static void session_poll_callback(uv_poll_t *poll, int status, int events);

static bool session_is_dead(const struct link *link)
{
    return !ssh_is_connected(link->session) ||
           (ssh_get_status(link->session) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0;
}

static void session_watch(struct link *link)
{
    if (!link->polling)
        return;
    int events = UV_READABLE;
    /* A session that libssh has given up may have a quiet socket: look again at once. */
    if (link->unfinished || (ssh_get_status(link->session) & SSH_WRITE_PENDING) != 0 ||
        session_is_dead(link)) {
        events |= UV_WRITABLE;
    } else {
        struct channel *channel;
        TAILQ_FOREACH(channel, &link->channels, in_list)
        if (channel_can_step(channel)) {
            events |= UV_WRITABLE;
            break;
        }
    }
    if (events != link->poll_events &&
        uv_poll_start(&link->poll, events, session_poll_callback) == 0)
        link->poll_events = events;
}

static void session_lost(struct link *link)
{
    struct error err;
    const char *why = ssh_get_error(link->session);
    static const char prefix[] = "Socket error: ";
    if (strncmp(why, prefix, sizeof prefix - 1) == 0)
        why += sizeof prefix - 1;
    error_set(&err, ERROR_NETWORK, "%s: the connection to %s was lost: %s", link->name,
              link->peer_address[0] != '\0' ? link->peer_address : link->host,
              why[0] != '\0' ? why : "closed by the device");
    link_fail(link, &err);
}

/* One round: read what is there, then let every channel do one piece of work. Channels take turns:
 * who has worked goes to the end of the list, so a full socket does not always stop the same ones.
 */
static bool session_round(struct link *link)
{
    uint64_t received = link->counter.in_bytes;
    bool again = ssh_event_dopoll(link->event, 0) != SSH_AGAIN;
    for (size_t left = link->channel_count; left > 0 && !link->closing; left--) {
        if (session_is_dead(link))
            return false;
        struct channel *channel = TAILQ_FIRST(&link->channels);
        TAILQ_REMOVE(&link->channels, channel, in_list);
        TAILQ_INSERT_TAIL(&link->channels, channel, in_list);
        again |= channel_step(channel);
    }
    /* One channel's step may have read another one's answer. */
    return again || link->counter.in_bytes != received;
}

static void session_pump(struct link *link)
{
    uint64_t end = uv_hrtime() + TURN_NS;
    bool again = true;
    link_enter(link);
    link->unfinished = false;
    while (again && !link->closing && !session_is_dead(link)) {
        again = session_round(link);
        if (uv_hrtime() > end)
            break;
    }
    link->unfinished |= again;
    if (!link->closing)
        channel_sweep(link);
    if (!link->closing) {
        if (session_is_dead(link))
            session_lost(link);
        else
            session_watch(link);
    }
    link_leave(link);
}

static void session_poll_callback(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error of the socket shows when libssh reads */
    (void)events;
    session_pump(poll->data);
}

void session_kick(struct link *link)
{
    link->unfinished = true;
    if (link->polling && link->state == LINK_UP && (link->poll_events & UV_WRITABLE) == 0 &&
        uv_poll_start(&link->poll, UV_READABLE | UV_WRITABLE, session_poll_callback) == 0)
        link->poll_events = UV_READABLE | UV_WRITABLE;
}

int session_start(struct link *link, struct error *err)
{
    ssh_session session = link->session;
    ssh_set_blocking(session, 0);
    fcntl(link->fd, F_SETFL, fcntl(link->fd, F_GETFL) | O_NONBLOCK);
    link->event = ssh_event_new();
    if (link->event == NULL || ssh_event_add_session(link->event, session) != SSH_OK ||
        uv_poll_init(link->pool->loop, &link->poll, link->fd) != 0)
        return error_set(err, ERROR_IO, "%s: the session cannot be polled", link->name);
    link->poll.data = link;
    link->polling = true;
    link->handles++;
    ssh_set_counters(session, &link->counter, NULL);
    const char *cipher = ssh_get_cipher_out(session), *banner = ssh_get_serverbanner(session);
    snprintf(link->cipher, sizeof link->cipher, "%s", cipher != NULL ? cipher : "");
    snprintf(link->banner, sizeof link->banner, "%s", banner != NULL ? banner : "");
    session_watch(link);
    return 0;
}

void session_stop(struct link *link)
{
    struct channel *channel;
    if (link->polling) {
        link->polling = false;
        uv_close((uv_handle_t *)&link->poll, link_handle_closed_callback);
    }
    if (link->session == NULL)
        return;
    TAILQ_FOREACH(channel, &link->channels, in_list)
    if (channel->ssh != NULL) {
        ssh_remove_channel_callbacks(channel->ssh, &channel->callbacks);
        channel->ssh = NULL; /* ssh_free frees it */
    }
    if (link->event != NULL) {
        ssh_event_remove_session(link->event, link->session);
        ssh_event_free(link->event);
        link->event = NULL;
    }
    handshake_end_session(link->kept, link->session);
    link->session = NULL;
}

/* Any received byte is a sign of life; keepalive@openssh.com makes the server send some, as a
 * request that it refuses. libssh sends no second request while one is unanswered; the first call
 * of a pair may just collect the last answer. */
void session_keepalive(struct link *link)
{
    struct error err;
    if (link->counter.in_bytes != link->bytes_seen)
        link->unanswered = 0;
    else if (++link->unanswered >= 3) {
        error_set(&err, ERROR_NETWORK,
                  "%s: the connection to %s is dead: no answer to keepalives for %.1f s",
                  link->name, link->peer_address[0] != '\0' ? link->peer_address : link->host,
                  (double)link->keepalive * 3 / 1000.0);
        link_fail(link, &err);
        return;
    }
    link->bytes_seen = link->counter.in_bytes;
    link_enter(link);
    ssh_send_keepalive(link->session);
    if (!link->closing)
        ssh_send_keepalive(link->session);
    bool closing = link->closing;
    link_leave(link);
    if (!closing)
        session_pump(link);
}
