/* SPDX-License-Identifier: Apache-2.0 */
/* A reliable byte stream to a device, whatever carries it: an ssh channel, the agent's own TCP
 * port, a socket pair. The owner writes whole buffers and gets callbacks, all on the loop thread.
 *
 * An implementation embeds struct wire as its first member and fills ops. */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct wire;

/* Callbacks never run inside wire_write or wire_close. Any of them may call wire_close. */
struct wire_events {
    /* The stream is open: the remote program runs. */
    void (*opened)(struct wire *wire, void *arg);
    /* Bytes from the other side (a remote program's stdout). data is valid during the call. */
    void (*data)(struct wire *wire, const uint8_t *data, size_t size, void *arg);
    /* A remote program's stderr; NULL: dropped. */
    void (*diagnostic)(struct wire *wire, const char *text, size_t size, void *arg);
    /* wire_pending has fallen below the low-water mark (256 KiB) after having been above it. */
    void (*drain)(struct wire *wire, void *arg);
    /* The stream has ended; no callback follows. exit_status is the remote program's, -1 when not
     * known; err says why it ended where it was not orderly (cls ERROR_NONE: orderly). The owner
     * still has to call wire_close. */
    void (*closed)(struct wire *wire, int exit_status, const struct error *err, void *arg);
};

struct wire_ops {
    void (*write)(struct wire *wire, struct buffer *buffer, size_t offset, size_t size);
    void (*shut)(struct wire *wire);
    void (*close)(struct wire *wire);
};

struct wire {
    const struct wire_ops *ops;
    const struct wire_events *events;
    void *arg;
    size_t pending;      /* bytes accepted by wire_write and not yet handed to the transport */
    uint64_t bytes_sent; /* handed to the transport so far */
    uint64_t bytes_received;
};

#define WIRE_LOW_WATER (256u * 1024u)

/* Queues size bytes of buffer from offset; takes a reference of its own. Never blocks, never fails:
 * a dead stream reports itself through closed. The owner looks at wire->pending to stay bounded. */
static inline void wire_write(struct wire *wire, struct buffer *buffer, size_t offset, size_t size)
{
    wire->ops->write(wire, buffer, offset, size);
}

/* Sends end-of-file after what is queued. */
static inline void wire_shut(struct wire *wire)
{
    wire->ops->shut(wire);
}

/* Ends the stream and frees it; no callback after this returns. NULL is allowed. */
static inline void wire_close(struct wire *wire)
{
    if (wire != NULL)
        wire->ops->close(wire);
}

#endif
