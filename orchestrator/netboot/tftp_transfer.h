/* SPDX-License-Identifier: Apache-2.0 */
/* One TFTP transfer seen from the server: a state machine without sockets and clocks. Its owner
 * hands in what happens (a packet, time has come, bytes are there) with the time, sends what it
 * wants sent, and calls it again at its deadline. */
#ifndef NETBOOT_TFTP_TRANSFER_H
#define NETBOOT_TFTP_TRANSFER_H

#include "base/error.h"
#include "netboot/byte_source.h"
#include "netboot/tftp_packet.h"

#include <stdbool.h>
#include <stdint.h>

enum transfer_state {
    TRANSFER_OFFERING,  /* read: OACK sent, ACK 0 awaited */
    TRANSFER_SENDING,   /* read: DATA sent, ACKs awaited */
    TRANSFER_RECEIVING, /* write: OACK or ACK sent, DATA awaited */
    TRANSFER_DALLYING,  /* write: all is here; the last ACK is repeated for one who missed it */
    TRANSFER_ENDED,
};

enum transfer_result {
    TRANSFER_RUNNING,
    TRANSFER_COMPLETE,    /* every block acknowledged; received and told */
    TRANSFER_UNCONFIRMED, /* every block sent, the last ones never acknowledged: the client may have
                             all of it, and go on without a word */
    TRANSFER_FAILED,      /* err says why */
};

/* What both sides agree to; see tftp_transfer_agree. */
struct transfer_terms {
    uint32_t blksize;    /* bytes */
    uint32_t windowsize; /* blocks; 1 without the option */
    uint32_t timeout_ms; /* the longest wait before something is repeated for the first time */
    struct tftp_wishes agreed; /* what the OACK says; nothing set: there is none */
};

struct transfer_limits {
    uint32_t blksize, windowsize; /* the largest that are agreed to */
    uint32_t give_up_ms;          /* without progress */
};

struct tftp_transfer;

struct transfer_ops {
    void (*send)(const uint8_t *data, size_t size, void *arg);
    /* All bytes of a write are here. Returns 0, or -1 with err, whose sentence the client gets. */
    int (*received)(const uint8_t *data, size_t size, struct error *err, void *arg);
};

#define TRANSFER_UPLOAD_MAX 256u /* bytes of a report */

struct tftp_transfer {
    enum transfer_state state;
    enum transfer_result result;
    struct error err; /* with TRANSFER_FAILED */
    struct transfer_terms terms;
    struct transfer_limits limits;
    const struct transfer_ops *ops;
    void *arg;
    uint8_t *scratch;     /* TFTP_HEAD_SIZE + terms.blksize bytes, the owner's; used only inside
                             a call */
    uint64_t deadline;    /* µs: call tftp_transfer_expire then; 0: nothing is waited for */
    uint64_t acked_bytes; /* progress: of a read, acknowledged; of a write, received */
    uint64_t repeated;    /* packets sent more than once */
    struct byte_source *source; /* of a read; the owner's */

    /* Inside. Block numbers count on where the 16 bits on the wire wrap. */
    uint64_t acked, next;  /* the last block acknowledged (received); the next to send */
    uint64_t sent;         /* the highest that was ever sent */
    uint64_t last, total;  /* the final block (0: not known yet), and all bytes up to its end */
    uint64_t progress_at;  /* µs */
    uint64_t window_at;    /* µs: when the window was begun; 0: it was repeated */
    uint64_t rtt, wait;    /* µs: smoothed round trip (0: none yet); until the next repeat */
    uint64_t restarted;    /* acked + 1 when a window was last begun again after an ACK */
    uint64_t expect_until; /* one superfluous ACK may come until this block is acknowledged */
    bool starved;          /* the window waits for the source */
    bool timed_out;        /* the window was sent again because no ACK came; none has since */
    size_t upload_size;
    uint8_t upload[TRANSFER_UPLOAD_MAX];
};

/* What is agreed to of a request's wishes. size: of the file to be read, -1: not known; of a write
 * request, the most that may be written. */
void tftp_transfer_agree(const struct tftp_request *request, const struct transfer_limits *limits,
                         int64_t size, struct transfer_terms *terms);

/* Times in microseconds of a clock that never goes back and is never 0.
 *
 * Begins to answer a request: a read from transfer->source, or a write where that is NULL. The
 * fields terms, limits, ops, arg, scratch and source are set, everything else is zero. */
void tftp_transfer_begin(struct tftp_transfer *transfer, uint64_t now);

/* The same request came again, from the same port. */
void tftp_transfer_asked_again(struct tftp_transfer *transfer, uint64_t now);

/* A packet from the client's port. */
void tftp_transfer_packet(struct tftp_transfer *transfer, const uint8_t *data, size_t size,
                          uint64_t now);

/* The deadline has come. */
void tftp_transfer_expire(struct tftp_transfer *transfer, uint64_t now);

/* The source called ready. */
void tftp_transfer_ready(struct tftp_transfer *transfer, uint64_t now);

/* Ends it from our side and tells the client. */
void tftp_transfer_abort(struct tftp_transfer *transfer, enum tftp_code code,
                         const struct error *why);

#endif
