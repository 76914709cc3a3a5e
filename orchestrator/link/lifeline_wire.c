/* SPDX-License-Identifier: Apache-2.0 */
#include "link/lifeline_wire.h"

#include "link/dial.h"
#include "link/internal.h"
#include "protocol/lifeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How much sealed data may wait in the socket's queue before more is sealed. */
#define SEALED_MAX (256u * 1024u)

struct queued {
    struct buffer *buffer;
    size_t offset, size;
    STAILQ_ENTRY(queued) in_queue;
};

struct lifeline_wire {
    struct wire wire;
    uv_loop_t *loop;
    struct dial *dial;
    struct lifeline line;
    uv_tcp_t *tcp; /* NULL until connected; freed by its close callback */
    uv_timer_t timer;
    char name[128];
    unsigned port;
    uint64_t deadline;
    STAILQ_HEAD(, queued) queue;
    size_t sealed; /* bytes given to uv_write and not yet written */
    bool was_high; /* pending has been above the low-water mark */
    bool open, shutting, ended, closed;
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

/* --- the end -----------------------------------------------------------------------------------
 */

static void tcp_closed_callback(uv_handle_t *handle)
{
    free(handle);
}

static void timer_closed_callback(uv_handle_t *handle)
{
    struct lifeline_wire *self = handle->data;
    lifeline_wipe(&self->line);
    free(self->input);
    free(self->plain);
    free(self);
}

static void lifeline_release(struct lifeline_wire *self)
{
    dial_stop(self->dial);
    self->dial = NULL;
    if (self->tcp != NULL) {
        self->tcp->data = NULL;
        uv_close((uv_handle_t *)self->tcp, tcp_closed_callback);
        self->tcp = NULL;
    }
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
}

static void ended_callback(uv_timer_t *timer)
{
    struct lifeline_wire *self = timer->data;
    self->wire.events->closed(&self->wire, -1, &self->err, self->wire.arg);
}

/* The owner hears of it from the loop, never from inside its own call. */
static void lifeline_end(struct lifeline_wire *self, const struct error *err)
{
    if (self->ended || self->closed)
        return;
    self->ended = true;
    self->err = *err;
    lifeline_release(self);
    uv_timer_start(&self->timer, ended_callback, 0, 0);
}

static void lifeline_fail(struct lifeline_wire *self, const char *what)
{
    struct error err;
    error_set(&err, ERROR_NETWORK, "%s, port %u: %s", self->name, self->port, what);
    lifeline_end(self, &err);
}

static void timeout_callback(uv_timer_t *timer)
{
    struct lifeline_wire *self = timer->data;
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "%s: the agent's own port %u does not answer", self->name,
              self->port);
    lifeline_end(self, &err);
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void written_callback(uv_write_t *request, int status)
{
    struct sealed_write *write = (struct sealed_write *)request;
    /* The tcp handle outlives its requests; its data is NULL once the wire let go of it. */
    struct lifeline_wire *self = request->handle->data;
    size_t size = write->size;
    free(write);
    if (self == NULL)
        return;
    self->sealed -= size;
    if (status != 0)
        lifeline_fail(self, uv_strerror(status));
    else
        lifeline_pump(self);
}

static void lifeline_send(struct lifeline_wire *self, struct sealed_write *write)
{
    uv_buf_t buffer = uv_buf_init((char *)write->data, (unsigned)write->size);
    self->sealed += write->size;
    int status = uv_write(&write->request, (uv_stream_t *)self->tcp, &buffer, 1, written_callback);
    if (status != 0) {
        self->sealed -= write->size;
        free(write);
        lifeline_fail(self, uv_strerror(status));
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
        lifeline_fail(self, "out of memory");
        return;
    }
    write->size = lifeline_seal(&self->line, plain, size, write->data);
    self->wire.pending -= size;
    self->wire.bytes_sent += write->size;
    lifeline_send(self, write);
}

static void lifeline_pump(struct lifeline_wire *self)
{
    while (self->open && !self->ended && self->sealed < SEALED_MAX && !STAILQ_EMPTY(&self->queue))
        lifeline_seal_next(self);
    if (self->ended || !self->was_high || self->wire.pending >= WIRE_LOW_WATER)
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
    struct queued *entry = self->ended ? NULL : malloc(sizeof *entry);
    if (entry == NULL)
        return;
    *entry = (struct queued){.buffer = buffer_ref(buffer), .offset = offset, .size = size};
    STAILQ_INSERT_TAIL(&self->queue, entry, in_queue);
    wire->pending += size;
    self->was_high |= wire->pending >= WIRE_LOW_WATER;
    if (self->open)
        uv_timer_start(&self->timer, soon_callback, 0, 0);
}

static void lifeline_wire_shut(struct wire *wire)
{
    (void)wire; /* the protocol ends conversations itself */
}

static const struct wire_ops lifeline_ops = {lifeline_wire_write, lifeline_wire_shut,
                                             lifeline_wire_close};

/* --- reading -----------------------------------------------------------------------------------
 */

/* Both nonces are known: what waits can be sealed. The first record proves us to the agent; its
 * answer proves it to us. */
static void lifeline_check_open(struct lifeline_wire *self)
{
    if (self->open || !self->line.met)
        return;
    self->open = true;
    uv_timer_stop(&self->timer);
    if (self->wire.events->opened != NULL)
        self->wire.events->opened(&self->wire, self->wire.arg);
    if (!self->closed)
        lifeline_pump(self);
}

static void lifeline_take_input(struct lifeline_wire *self)
{
    size_t used = 0;
    while (!self->ended && !self->closed) {
        size_t plain_size = 0;
        int64_t taken = lifeline_open(&self->line, self->input + used, self->input_size - used,
                                      self->plain, &plain_size);
        if (taken < 0) {
            lifeline_fail(self, "who answers is not the agent of this run");
            return;
        }
        if (taken == 0)
            break;
        used += (size_t)taken;
        lifeline_check_open(self);
        if (plain_size > 0 && !self->closed && !self->ended) {
            self->wire.bytes_received += plain_size;
            self->wire.events->data(&self->wire, self->plain, plain_size, self->wire.arg);
        }
    }
    if (self->closed || self->ended)
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
    if (self == NULL || size == 0)
        return;
    if (size < 0) {
        lifeline_fail(self,
                      size == UV_EOF ? "the agent closed the connection" : uv_strerror((int)size));
        return;
    }
    self->input_size += (size_t)size;
    lifeline_take_input(self);
}

/* --- connecting --------------------------------------------------------------------------------
 */

static void dialled_callback(int fd, const char *address, const struct error *err, void *arg)
{
    (void)address;
    struct lifeline_wire *self = arg;
    dial_stop(self->dial);
    self->dial = NULL;
    if (fd < 0) {
        lifeline_end(self, err);
        return;
    }
    self->tcp = calloc(1, sizeof *self->tcp);
    if (self->tcp == NULL || uv_tcp_init(self->loop, self->tcp) != 0 ||
        uv_tcp_open(self->tcp, fd) != 0) {
        close(fd);
        free(self->tcp);
        self->tcp = NULL;
        lifeline_fail(self, "out of memory or descriptors");
        return;
    }
    self->tcp->data = self;
    uv_tcp_nodelay(self->tcp, 1);
    uv_tcp_keepalive(self->tcp, 1, 10);
    struct sealed_write *hello = malloc(sizeof *hello + LIFELINE_HELLO_SIZE);
    if (hello == NULL) {
        lifeline_fail(self, "out of memory");
        return;
    }
    hello->size = LIFELINE_HELLO_SIZE;
    lifeline_put_hello(&self->line, hello->data);
    lifeline_send(self, hello);
    if (!self->ended)
        uv_read_start((uv_stream_t *)self->tcp, allocate_callback, read_callback);
}

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
    snprintf(self->name, sizeof self->name, "%s", config->host);
    self->input = malloc(INPUT_SIZE);
    self->plain = malloc(LIFELINE_PLAIN_MAX);
    STAILQ_INIT(&self->queue);
    lifeline_start(&self->line, LIFELINE_CONTROLLER, key);
    uv_timer_init(pool->loop, &self->timer);
    self->timer.data = self;
    uv_timer_start(&self->timer, timeout_callback, config->connect_timeout, 0);
    self->dial =
        dial_start(pool->loop, config->host, port, config->connect_timeout, dialled_callback, self);
    return &self->wire;
}
