/* SPDX-License-Identifier: Apache-2.0 */
/* A command on the device as a wire. Owners' calls only change this struct and ask for the
 * session's pump; the pump's channel_step does what libssh has to do. */
#include "link/internal.h"

#include "link/wire_local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_PIECE (64u * 1024u)

static void channel_drop_queue(struct channel *channel)
{
    struct chunk *chunk;
    while ((chunk = STAILQ_FIRST(&channel->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&channel->queue, next);
        buffer_unref(chunk->buffer);
        free(chunk);
    }
    channel->wire.pending = 0;
}

static void channel_free(struct channel *channel)
{
    channel_drop_queue(channel);
    free(channel->command);
    free(channel);
}

/* The owner may hear of it now: neither closed by it nor told the end. */
static bool channel_is_heard(const struct channel *channel)
{
    return !channel->released && channel->state != CHANNEL_REPORTED;
}

static void channel_report(struct channel *channel)
{
    channel->state = CHANNEL_REPORTED;
    channel_drop_queue(channel);
    if (!channel->released && channel->wire.events->closed != NULL)
        channel->wire.events->closed(&channel->wire, channel->exit_status, &channel->err,
                                     channel->wire.arg);
}

/* ---- callbacks of libssh; they may run inside any call to it ---- */

static void channel_opened(struct channel *channel)
{
    channel->state = CHANNEL_RUNNING;
    if (channel_is_heard(channel) && channel->wire.events->opened != NULL)
        channel->wire.events->opened(&channel->wire, channel->wire.arg);
}

static void channel_deliver(struct channel *channel, const uint8_t *data, size_t size,
                            bool diagnostic)
{
    const struct wire_events *events = channel->wire.events;
    while (size > 0 && channel_is_heard(channel)) {
        size_t piece = size < READ_PIECE ? size : READ_PIECE;
        channel->wire.bytes_received += piece;
        if (!diagnostic && events->data != NULL)
            events->data(&channel->wire, data, piece, channel->wire.arg);
        else if (diagnostic && events->diagnostic != NULL)
            events->diagnostic(&channel->wire, (const char *)data, piece, channel->wire.arg);
        data += piece;
        size -= piece;
    }
}

static int channel_data_callback(ssh_session session, ssh_channel ssh, void *data, uint32_t size,
                                 int is_stderr, void *arg)
{
    (void)session;
    (void)ssh;
    struct channel *channel = arg;
    if (channel->state == CHANNEL_REQUESTING) /* output before the answer to the request */
        channel_opened(channel);
    channel_deliver(channel, data, size, is_stderr != 0);
    return (int)size;
}

static void channel_status_callback(ssh_session session, ssh_channel ssh, int status, void *arg)
{
    (void)session;
    (void)ssh;
    ((struct channel *)arg)->exit_status = status;
}

static void channel_signal_callback(ssh_session session, ssh_channel ssh, const char *signal,
                                    int core, const char *message, const char *language, void *arg)
{
    (void)session;
    (void)ssh;
    (void)core;
    (void)message;
    (void)language;
    struct channel *channel = arg;
    error_set(&channel->err, ERROR_IO, "%s: the command on the device was ended by signal %s",
              channel->link->name, signal);
}

static void channel_close_callback(ssh_session session, ssh_channel ssh, void *arg)
{
    (void)session;
    (void)ssh;
    struct channel *channel = arg;
    if (channel->state < CHANNEL_OVER)
        channel->state = CHANNEL_OVER; /* reported by the next step */
}

/* ---- steps ---- */

static void channel_fail(struct channel *channel, const char *what)
{
    error_set(&channel->err, ERROR_PROTOCOL, "%s: the device's ssh server %s: %s",
              channel->link->name, what, ssh_get_error(channel->link->session));
    channel->state = CHANNEL_OVER;
}

static void channel_begin(struct channel *channel)
{
    channel->ssh = ssh_channel_new(channel->link->session);
    if (channel->ssh == NULL) {
        channel_fail(channel, "gets no channel");
        return;
    }
    channel->callbacks = (struct ssh_channel_callbacks_struct){
        .userdata = channel,
        .channel_data_function = channel_data_callback,
        .channel_exit_status_function = channel_status_callback,
        .channel_exit_signal_function = channel_signal_callback,
        .channel_close_function = channel_close_callback,
    };
    ssh_callbacks_init(&channel->callbacks);
    ssh_set_channel_callbacks(channel->ssh, &channel->callbacks);
    channel->state = CHANNEL_OPENING;
}

static void channel_open_step(struct channel *channel)
{
    int rc = ssh_channel_open_session(channel->ssh);
    if (channel->state != CHANNEL_OPENING || rc == SSH_AGAIN)
        return;
    if (rc != SSH_OK) {
        channel_fail(channel, "refuses another session on this connection (MaxSessions?)");
        return;
    }
    channel->state = CHANNEL_REQUESTING;
}

static void channel_request_step(struct channel *channel)
{
    int rc = ssh_channel_request_exec(channel->ssh, channel->command);
    if (channel->state != CHANNEL_REQUESTING || rc == SSH_AGAIN)
        return;
    if (rc != SSH_OK)
        channel_fail(channel, "does not run commands");
    else
        channel_opened(channel);
}

static bool can_write(const struct channel *channel)
{
    return !STAILQ_EMPTY(&channel->queue) && ssh_channel_window_size(channel->ssh) > 0;
}

static void channel_account(struct channel *channel, size_t written)
{
    channel->wire.pending -= written;
    channel->wire.bytes_sent += written;
    while (written > 0) {
        struct chunk *chunk = STAILQ_FIRST(&channel->queue);
        size_t size = written < chunk->size ? written : chunk->size;
        chunk->offset += size;
        chunk->size -= size;
        written -= size;
        if (chunk->size == 0) {
            STAILQ_REMOVE_HEAD(&channel->queue, next);
            buffer_unref(chunk->buffer);
            free(chunk);
        }
    }
}

/* Copies the queue's first bytes, at most room. One large write costs libssh and the kernel much
 * less than several small ones: fewer packets, and all but the first go out in one call. The copy
 * also outlives a queue that an owner's callback drops during the write. */
static uint32_t channel_gather(const struct channel *channel, uint8_t *out, uint32_t room)
{
    uint32_t size = 0;
    struct chunk *chunk;
    STAILQ_FOREACH(chunk, &channel->queue, next)
    {
        size_t piece = chunk->size < room - size ? chunk->size : room - size;
        memcpy(out + size, chunk->buffer->data + chunk->offset, piece);
        size += (uint32_t)piece;
        if (size == room)
            break;
    }
    return size;
}

static void channel_tell_drain(struct channel *channel)
{
    if (!channel->above || channel->wire.pending >= WIRE_LOW_WATER)
        return;
    channel->above = false;
    if (channel_is_heard(channel) && channel->wire.events->drain != NULL)
        channel->wire.events->drain(&channel->wire, channel->wire.arg);
}

/* One piece, only while libssh holds nothing back: it would buffer without limit. */
static bool channel_write_step(struct channel *channel)
{
    ssh_session session = channel->link->session;
    if (!can_write(channel) || (ssh_get_status(session) & SSH_WRITE_PENDING) != 0)
        return false;
    uint32_t room = ssh_channel_window_size(channel->ssh);
    uint8_t *piece = channel->link->pool->piece;
    uint32_t size = channel_gather(channel, piece, room < LINK_PIECE ? room : LINK_PIECE);
    int written = ssh_channel_write(channel->ssh, piece, size);
    if (channel->released || channel->state != CHANNEL_RUNNING)
        return true;
    if (written < 0) {
        /* Closed by the other side, which will be reported, or the session is dead. */
        channel_drop_queue(channel);
        return false;
    }
    channel_account(channel, (size_t)written);
    channel_tell_drain(channel);
    return written > 0;
}

static bool needs_eof(const struct channel *channel)
{
    return channel->shut && !channel->eof_sent && STAILQ_EMPTY(&channel->queue);
}

static bool channel_run_step(struct channel *channel)
{
    if (channel_write_step(channel))
        return true;
    if (channel->state != CHANNEL_RUNNING || channel->released || !needs_eof(channel))
        return false;
    channel->eof_sent = true;
    ssh_channel_send_eof(channel->ssh);
    return true;
}

/* Released ones still finish opening: a channel that is dropped before the server's answer would
 * stay open there. */
bool channel_step(struct channel *channel)
{
    enum channel_state before = channel->state;
    switch (channel->state) {
    case CHANNEL_WAITING:
        if (!channel->released)
            channel_begin(channel);
        break;
    case CHANNEL_OPENING:
        channel_open_step(channel);
        break;
    case CHANNEL_REQUESTING:
        if (!channel->released)
            channel_request_step(channel);
        break;
    case CHANNEL_RUNNING:
        if (!channel->released)
            return channel_run_step(channel);
        break;
    case CHANNEL_OVER:
        channel_report(channel);
        break;
    case CHANNEL_REPORTED:
        break;
    }
    return channel->state != before;
}

bool channel_can_step(const struct channel *channel)
{
    if (channel->state == CHANNEL_WAITING || channel->state == CHANNEL_OVER)
        return true;
    if (channel->released)
        return channel->state != CHANNEL_OPENING;
    return channel->state == CHANNEL_RUNNING && (can_write(channel) || needs_eof(channel));
}

void channel_orphan_all(struct link *link, const struct error *err)
{
    struct channel *channel;
    link_enter(link);
    /* Owners may close and open others meanwhile: start over after each. */
    for (bool again = true; again;) {
        again = false;
        TAILQ_FOREACH(channel, &link->channels, in_list)
        {
            if (channel->released || channel->state == CHANNEL_REPORTED)
                continue;
            if (channel->state != CHANNEL_OVER)
                channel->err = *err;
            channel_report(channel);
            again = true;
            break;
        }
    }
    link_leave(link);
}

static void channel_unlink(struct channel *channel)
{
    TAILQ_REMOVE(&channel->link->channels, channel, in_list);
    channel->link->channel_count--;
    channel->link = NULL;
}

/* ssh_channel_close sends end-of-file first and gives up with SSH_AGAIN when that had to be
 * buffered; called again it goes on, which ssh_channel_free does. */
static void channel_let_go(struct channel *channel)
{
    if (channel->ssh == NULL)
        return;
    ssh_remove_channel_callbacks(channel->ssh, &channel->callbacks);
    ssh_channel_close(channel->ssh);
    ssh_channel_free(channel->ssh);
    channel->ssh = NULL;
}

void channel_sweep(struct link *link)
{
    struct channel *channel, *next;
    for (channel = TAILQ_FIRST(&link->channels); channel != NULL; channel = next) {
        next = TAILQ_NEXT(channel, in_list);
        if (!channel->released || (link->session != NULL && channel->state == CHANNEL_OPENING))
            continue;
        channel_let_go(channel);
        /* libssh may have run callbacks of other channels, which may have added some at the end. */
        next = TAILQ_NEXT(channel, in_list);
        channel_unlink(channel);
        channel_free(channel);
        session_kick(link);
    }
}

void channel_forget_all(struct link *link)
{
    struct channel *channel;
    while ((channel = TAILQ_FIRST(&link->channels)) != NULL) {
        channel_unlink(channel);
        if (channel->released)
            channel_free(channel);
    }
}

/* ---- the wire ---- */

static void channel_wire_write(struct wire *wire, struct buffer *buffer, size_t offset, size_t size)
{
    struct channel *channel = (struct channel *)wire;
    if (size == 0 || channel->shut || channel->released || channel->state >= CHANNEL_OVER)
        return;
    struct chunk *chunk = malloc(sizeof *chunk);
    if (chunk == NULL)
        abort(); /* wire_write cannot fail, and a stream with a hole must not go on */
    *chunk = (struct chunk){.buffer = buffer_ref(buffer), .offset = offset, .size = size};
    STAILQ_INSERT_TAIL(&channel->queue, chunk, next);
    wire->pending += size;
    if (wire->pending >= WIRE_LOW_WATER)
        channel->above = true;
    session_kick(channel->link);
}

static void channel_wire_shut(struct wire *wire)
{
    struct channel *channel = (struct channel *)wire;
    channel->shut = true;
    if (channel->link != NULL)
        session_kick(channel->link);
}

static void channel_wire_close(struct wire *wire)
{
    struct channel *channel = (struct channel *)wire;
    channel_drop_queue(channel);
    channel->released = true;
    if (channel->link == NULL) {
        channel_free(channel);
        return;
    }
    struct link *link = channel->link;
    if (link->busy > 0)
        return; /* link_leave or the pump sweeps */
    if (link->state == LINK_UP)
        session_kick(link);
    else
        channel_sweep(link);
}

static const struct wire_ops channel_ops = {
    .write = channel_wire_write,
    .shut = channel_wire_shut,
    .close = channel_wire_close,
};

static void channel_late_callback(uv_timer_t *soon)
{
    struct link *link = soon->data;
    struct error err = link->err;
    channel_orphan_all(link, &err);
}

struct wire *link_exec(struct link *link, const char *command, const struct wire_events *events,
                       void *arg)
{
    if (link->is_local) {
        const char *const argv[] = {"sh", "-c", command, NULL};
        return wire_spawn(link->pool->loop, argv, events, arg);
    }
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return NULL;
    channel->command = strdup(command);
    if (channel->command == NULL) {
        free(channel);
        return NULL;
    }
    channel->wire = (struct wire){.ops = &channel_ops, .events = events, .arg = arg};
    channel->link = link;
    channel->state = CHANNEL_WAITING;
    channel->exit_status = -1;
    STAILQ_INIT(&channel->queue);
    TAILQ_INSERT_TAIL(&link->channels, channel, in_list);
    link->channel_count++;
    if (link->state == LINK_DOWN)
        uv_timer_start(&link->soon, channel_late_callback, 0, 0);
    else
        session_kick(link);
    return &channel->wire;
}
