/* SPDX-License-Identifier: Apache-2.0 */
#include "link/lifeline_wire.h"

#include "link/internal.h"
#include "protocol/lifeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How much sealed data may wait in the socket's queue before more is sealed. */
#define SEALED_MAX        (256u * 1024u)
#define KEEPALIVE_SECONDS 10u

struct queued {
    struct buffer *buffer;
    size_t offset, size;
    STAILQ_ENTRY(queued) in_queue;
};

struct lifeline_wire {
    struct wire wire; /* first */
    uv_loop_t *loop;
    struct route *route;
    struct lifeline line;
    uv_stream_t *stream; /* NULL until connected; freed by its close callback */
    uv_timer_t timer;    /* connect_timeout */
    uv_timer_t soon;     /* 0 ms: what must not run on the owner's stack */
    unsigned handles;
    char name[128];
    unsigned port;
    STAILQ_HEAD(, queued) queue;
    size_t sealed; /* bytes given to uv_write and not yet written */
    bool was_high; /* pending has been above the low-water mark */
    bool opened;   /* the agent has proven to be ours, the owner knows */
    bool broken;   /* the connection is lost: its proxy may still say why */
    bool ended;    /* the owner knows, or will from the loop */
    bool closed;   /* by the owner */
    struct error err;
    uint8_t *input;
    size_t input_size;
    uint8_t *plain;
};

struct sealed_write {
    uv_write_t request;
    struct lifeline_wire *self; /* NULL once closed */
    size_t size;
    uint8_t data[];
};

#define INPUT_SIZE (2u * LIFELINE_RECORD_MAX)

static void lifeline_pump(struct lifeline_wire *self);

/* --- the end ------------------------------------------------------------------------------ */

static void stream_closed_callback(uv_handle_t *handle)
{
    free(handle);
}

static void lifeline_free(struct lifeline_wire *self)
{
    lifeline_wipe(&self->line);
    free(self->input);
    free(self->plain);
    free(self);
}

static void timer_closed_callback(uv_handle_t *handle)
{
    struct lifeline_wire *self = handle->data;
    if (--self->handles == 0)
        lifeline_free(self);
}

static void lifeline_drop_stream(struct lifeline_wire *self)
{
    if (self->stream == NULL)
        return;
    self->stream->data = NULL;
    uv_close((uv_handle_t *)self->stream, stream_closed_callback);
    self->stream = NULL;
}

static void lifeline_release(struct lifeline_wire *self)
{
    uv_timer_stop(&self->timer);
    lifeline_drop_stream(self);
    route_stop(self->route);
    self->route = NULL;
    struct queued *entry;
    while ((entry = STAILQ_FIRST(&self->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&self->queue, in_queue);
        buffer_unref(entry->buffer);
        free(entry);
    }
}

static void lifeline_wire_close(struct wire *wire)
{
    struct lifeline_wire *self = (struct lifeline_wire *)wire;
    self->closed = true;
    lifeline_release(self);
    uv_close((uv_handle_t *)&self->timer, timer_closed_callback);
    uv_close((uv_handle_t *)&self->soon, timer_closed_callback);
}

static void ended_callback(uv_timer_t *timer)
{
    struct lifeline_wire *self = timer->data;
    self->wire.events->closed(&self->wire, -1, &self->err, self->wire.arg);
}

/* The owner hears of it from the loop, never from inside its own call. */
static void lifeline_end(struct lifeline_wire *self)
{
    if (self->ended || self->closed)
        return;
    self->ended = true;
    if (self->route != NULL)
        route_add_words(self->route, &self->err);
    if (self->err.remedy[0] == '\0')
        error_remedy(&self->err,
                     "the agent's port %u must be reachable in the way that ssh's is: look for a "
                     "firewall on the device or before it",
                     self->port);
    lifeline_release(self);
    uv_timer_start(&self->soon, ended_callback, 0, 0);
}

/* The connection is of no use any more. */
static void lifeline_break(struct lifeline_wire *self, enum error_class cls, const char *what)
{
    if (self->broken || self->ended || self->closed)
        return;
    self->broken = true;
    error_set(&self->err, cls, "%s, the agent's own port %u: %s", self->name, self->port, what);
    lifeline_drop_stream(self);
    if (!route_await_words(self->route))
        lifeline_end(self);
}

static void timeout_callback(uv_timer_t *timer)
{
    struct lifeline_wire *self = timer->data;
    bool connected = self->stream != NULL;
    if (!self->broken)
        error_set(&self->err, ERROR_TIMEOUT, "%s, the agent's own port %u: %s in time", self->name,
                  self->port, connected ? "nobody proved to be the agent" : "no connection");
    lifeline_end(self);
}

/* --- writing ------------------------------------------------------------------------------ */

static void written_callback(uv_write_t *request, int status)
{
    struct sealed_write *write = (struct sealed_write *)request;
    /* The handle outlives its requests; its data is NULL once the wire let go of it. */
    struct lifeline_wire *self = request->handle->data;
    size_t size = write->size;
    free(write);
    if (self == NULL)
        return;
    self->sealed -= size;
    if (status != 0)
        lifeline_break(self, ERROR_NETWORK, uv_strerror(status));
    else
        lifeline_pump(self);
}

static void lifeline_send(struct lifeline_wire *self, struct sealed_write *write)
{
    uv_buf_t buffer = uv_buf_init((char *)write->data, (unsigned)write->size);
    self->sealed += write->size;
    int status = uv_write(&write->request, self->stream, &buffer, 1, written_callback);
    if (status != 0) {
        self->sealed -= write->size;
        free(write);
        lifeline_break(self, ERROR_NETWORK, uv_strerror(status));
    }
}

/* Seals up to one record from what waits. */
static void lifeline_seal_next(struct lifeline_wire *self)
{
    uint8_t plain[LIFELINE_PLAIN_MAX];
    size_t size = 0;
    struct queued *entry;
    while (size < sizeof plain && (entry = STAILQ_FIRST(&self->queue)) != NULL) {
        size_t part = entry->size < sizeof plain - size ? entry->size : sizeof plain - size;
        memcpy(plain + size, entry->buffer->data + entry->offset, part);
        size += part;
        entry->offset += part;
        entry->size -= part;
        if (entry->size == 0) {
            STAILQ_REMOVE_HEAD(&self->queue, in_queue);
            buffer_unref(entry->buffer);
            free(entry);
        }
    }
    struct sealed_write *write = malloc(sizeof *write + LIFELINE_SEALED_MAX);
    if (write == NULL) {
        lifeline_break(self, ERROR_IO, "out of memory");
        return;
    }
    write->size = lifeline_seal(&self->line, plain, size, write->data);
    self->wire.pending -= size;
    self->wire.bytes_sent += write->size;
    lifeline_send(self, write);
}

static void lifeline_pump(struct lifeline_wire *self)
{
    while (self->stream != NULL && self->line.met && self->sealed < SEALED_MAX &&
           !STAILQ_EMPTY(&self->queue))
        lifeline_seal_next(self);
    if (self->broken || self->ended || !self->was_high || self->wire.pending >= WIRE_LOW_WATER)
        return;
    self->was_high = false;
    if (self->wire.events->drain != NULL)
        self->wire.events->drain(&self->wire, self->wire.arg);
}

/* Sealing waits for the next loop turn, so that drain never runs inside wire_write. */
static void soon_callback(uv_timer_t *timer)
{
    struct lifeline_wire *self = timer->data;
    lifeline_pump(self);
}

static void lifeline_wire_write(struct wire *wire, struct buffer *buffer, size_t offset,
                                size_t size)
{
    struct lifeline_wire *self = (struct lifeline_wire *)wire;
    if (self->broken || self->ended || size == 0)
        return;
    struct queued *entry = malloc(sizeof *entry);
    if (entry == NULL) {
        error_set(&self->err, ERROR_IO, "%s: out of memory", self->name);
        lifeline_end(self);
        return;
    }
    *entry = (struct queued){.buffer = buffer_ref(buffer), .offset = offset, .size = size};
    STAILQ_INSERT_TAIL(&self->queue, entry, in_queue);
    wire->pending += size;
    self->was_high |= wire->pending >= WIRE_LOW_WATER;
    if (self->line.met)
        uv_timer_start(&self->soon, soon_callback, 0, 0);
}

static void lifeline_wire_shut(struct wire *wire)
{
    (void)wire; /* the protocol ends conversations itself */
}

static const struct wire_ops lifeline_ops = {lifeline_wire_write, lifeline_wire_shut,
                                             lifeline_wire_close};

/* --- reading ------------------------------------------------------------------------------ */

/* Their first record has opened: they know the secret. */
static void lifeline_check_proven(struct lifeline_wire *self)
{
    if (self->opened || !self->line.proven)
        return;
    self->opened = true;
    uv_timer_stop(&self->timer);
    if (self->wire.events->opened != NULL)
        self->wire.events->opened(&self->wire, self->wire.arg);
}

static bool lifeline_is_over(const struct lifeline_wire *self)
{
    return self->broken || self->ended || self->closed;
}

static void lifeline_take_input(struct lifeline_wire *self)
{
    size_t used = 0;
    while (!lifeline_is_over(self)) {
        size_t plain_size = 0;
        bool met = self->line.met;
        int64_t taken = lifeline_open(&self->line, self->input + used, self->input_size - used,
                                      self->plain, &plain_size);
        if (taken < 0) {
            lifeline_break(self, ERROR_NETWORK, "who answers is not the agent of this run");
            return;
        }
        if (taken == 0)
            break;
        used += (size_t)taken;
        if (!met) /* both nonces are known: what waits can be sealed */
            lifeline_pump(self);
        lifeline_check_proven(self);
        if (plain_size > 0 && !lifeline_is_over(self)) {
            self->wire.bytes_received += plain_size;
            self->wire.events->data(&self->wire, self->plain, plain_size, self->wire.arg);
        }
    }
    if (lifeline_is_over(self))
        return;
    self->input_size -= used;
    memmove(self->input, self->input + used, self->input_size);
}

static void allocate_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct lifeline_wire *self = handle->data;
    *buffer = uv_buf_init((char *)self->input + self->input_size,
                          (unsigned)(INPUT_SIZE - self->input_size));
}

static void read_callback(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    (void)buffer;
    struct lifeline_wire *self = stream->data;
    if (self == NULL || size == 0) /* let go of, or nothing to read after all */
        return;
    if (size < 0) {
        const char *hung_up = self->opened ? "the agent closed the connection"
                                           : "whoever answers hung up and did not prove to be the "
                                             "agent of this run";
        lifeline_break(self, ERROR_NETWORK, size == UV_EOF ? hung_up : uv_strerror((int)size));
        return;
    }
    self->input_size += (size_t)size;
    lifeline_take_input(self);
}

/* --- connecting --------------------------------------------------------------------------- */

/* A socket to the device, or the end of a socket pair whose other end a proxy has. */
static int lifeline_take_socket(struct lifeline_wire *self, int fd)
{
    bool straight = route_address(self->route)[0] != '\0';
    uv_stream_t *stream = calloc(1, uv_handle_size(straight ? UV_TCP : UV_NAMED_PIPE));
    if (stream == NULL)
        return UV_ENOMEM;
    int rc = straight ? uv_tcp_init(self->loop, (uv_tcp_t *)stream)
                      : uv_pipe_init(self->loop, (uv_pipe_t *)stream, 0);
    if (rc != 0) {
        free(stream);
        return rc;
    }
    stream->data = self;
    self->stream = stream;
    if (!straight)
        return uv_pipe_open((uv_pipe_t *)stream, fd);
    rc = uv_tcp_open((uv_tcp_t *)stream, fd);
    if (rc == 0)
        uv_tcp_keepalive((uv_tcp_t *)stream, 1, KEEPALIVE_SECONDS);
    return rc;
}

static void route_ready_callback(int fd, void *arg)
{
    struct lifeline_wire *self = arg;
    struct sealed_write *hello = malloc(sizeof *hello + LIFELINE_HELLO_SIZE);
    if (hello == NULL || lifeline_take_socket(self, fd) != 0) {
        close(fd);
        free(hello);
        lifeline_break(self, ERROR_IO, "out of memory or descriptors");
        return;
    }
    hello->size = LIFELINE_HELLO_SIZE;
    lifeline_put_hello(&self->line, hello->data);
    lifeline_send(self, hello);
    if (self->stream != NULL)
        uv_read_start(self->stream, allocate_callback, read_callback);
}

static void route_failed_callback(const struct error *err, void *arg)
{
    struct lifeline_wire *self = arg;
    self->err = *err;
    if (error_is_transient(err)) /* what dial has to say is about sshd */
        self->err.remedy[0] = '\0';
    lifeline_end(self);
}

static void route_spoken_callback(void *arg)
{
    lifeline_end(arg);
}

static const struct route_events lifeline_route_events = {.ready = route_ready_callback,
                                                          .failed = route_failed_callback,
                                                          .spoken = route_spoken_callback};

struct wire *lifeline_wire_open(struct link_pool *pool, const struct link_config *config,
                                unsigned port, const uint8_t key[PROTOCOL_KEY_SIZE],
                                const struct wire_events *events, void *arg)
{
    struct lifeline_wire *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->wire = (struct wire){.ops = &lifeline_ops, .events = events, .arg = arg};
    self->loop = pool->loop;
    self->port = port;
    snprintf(self->name, sizeof self->name, "%s",
             config->name != NULL ? config->name : config->host);
    self->input = malloc(INPUT_SIZE);
    self->plain = malloc(LIFELINE_PLAIN_MAX);
    STAILQ_INIT(&self->queue);
    lifeline_start(&self->line, LIFELINE_CONTROLLER, key);
    /* No TCP_USER_TIMEOUT as ssh's keepalives bring it: an agent that waits for its disk reads
     * nothing meanwhile, and is not dead. */
    struct link_config patient = *config;
    patient.keepalive = 0;
    self->route =
        route_new(pool->loop, pool->settings, &patient, port, &lifeline_route_events, self);
    if (self->input == NULL || self->plain == NULL || self->route == NULL) {
        route_stop(self->route);
        lifeline_free(self);
        return NULL;
    }
    uv_timer_init(pool->loop, &self->timer);
    uv_timer_init(pool->loop, &self->soon);
    self->timer.data = self->soon.data = self;
    self->handles = 2;
    uv_update_time(pool->loop);
    uv_timer_start(&self->timer, timeout_callback, config->connect_timeout, 0);
    route_begin(self->route, config->connect_timeout);
    return &self->wire;
}
