/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/tftp_transfer.h"

#include <string.h>

#define MS            1000u
#define WAIT_DEFAULT  (1000u * MS) /* before a round trip has been seen */
#define WAIT_MIN      (50u * MS)
#define WAIT_MIN_LAST (200u * MS)  /* a client that has all may be gone, and busy otherwise */
#define WAIT_MAX      (5000u * MS) /* of the back-off, unless a longer one was agreed to */
#define DALLY_PERIODS 3u

/* --- ending -------------------------------------------------------------------------- */

static void transfer_end(struct tftp_transfer *transfer, enum transfer_result result)
{
    transfer->state = TRANSFER_ENDED;
    transfer->result = result;
    transfer->deadline = 0;
}

void tftp_transfer_abort(struct tftp_transfer *transfer, enum tftp_code code,
                         const struct error *why)
{
    if (transfer->state == TRANSFER_ENDED)
        return;
    uint8_t packet[TFTP_ERROR_SIZE];
    size_t size = tftp_write_error(packet, code, why->text);
    transfer->ops->send(packet, size, transfer->arg);
    transfer->err = *why;
    transfer_end(transfer, TRANSFER_FAILED);
}

/* --- waiting ------------------------------------------------------------------------- */

static uint64_t wait_longest(const struct tftp_transfer *transfer)
{
    return (uint64_t)transfer->terms.timeout_ms * MS;
}

/* A multiple of the round trip where it is known: a lost packet costs little then, though a client
 * had a timeout of many seconds agreed to. */
static uint64_t wait_first(const struct tftp_transfer *transfer)
{
    uint64_t wait = transfer->rtt != 0 ? 4 * transfer->rtt : WAIT_DEFAULT;
    uint64_t least = transfer->last != 0 ? WAIT_MIN_LAST : WAIT_MIN;
    if (wait < least)
        wait = least;
    return wait < wait_longest(transfer) ? wait : wait_longest(transfer);
}

static void wait_begin(struct tftp_transfer *transfer, uint64_t now)
{
    transfer->wait = wait_first(transfer);
    transfer->deadline = now + transfer->wait;
}

static void wait_longer(struct tftp_transfer *transfer, uint64_t now)
{
    uint64_t most = wait_longest(transfer) > WAIT_MAX ? wait_longest(transfer) : WAIT_MAX;
    transfer->wait = 2 * transfer->wait < most ? 2 * transfer->wait : most;
    transfer->deadline = now + transfer->wait;
}

/* Round trips of windows that were sent once only (RFC 6298 calls it Karn's algorithm). */
static void rtt_note(struct tftp_transfer *transfer, uint64_t now)
{
    if (transfer->window_at == 0)
        return;
    uint64_t sample = now - transfer->window_at + 1;
    transfer->rtt = transfer->rtt == 0 ? sample : (7 * transfer->rtt + sample) / 8;
}

/* --- sending ------------------------------------------------------------------------- */

/* Sends block next. False: it is not there yet, or the transfer has ended. */
static bool block_send(struct tftp_transfer *transfer)
{
    uint32_t blksize = transfer->terms.blksize;
    struct error err;
    ssize_t count = transfer->source->ops->read(transfer->source, (transfer->next - 1) * blksize,
                                                transfer->scratch + TFTP_HEAD_SIZE, blksize, &err);
    if (count == SOURCE_FAILED)
        tftp_transfer_abort(transfer, TFTP_CODE_OTHER, &err);
    if (count < 0)
        return false;
    tftp_write_head(transfer->scratch, TFTP_DATA, (uint16_t)transfer->next);
    transfer->ops->send(transfer->scratch, TFTP_HEAD_SIZE + (size_t)count, transfer->arg);
    if (count < (ssize_t)blksize) {
        transfer->last = transfer->next;
        transfer->total = (transfer->next - 1) * blksize + (uint64_t)count;
    }
    if (transfer->next <= transfer->sent)
        transfer->repeated++;
    else
        transfer->sent = transfer->next;
    transfer->next++;
    return true;
}

/* Sends what the window still allows, and waits for its ACK. */
static void window_fill(struct tftp_transfer *transfer, uint64_t now)
{
    uint64_t end = transfer->acked + transfer->terms.windowsize;
    transfer->starved = false;
    while (transfer->next <= end && (transfer->last == 0 || transfer->next <= transfer->last)) {
        if (block_send(transfer))
            continue;
        transfer->starved = transfer->state != TRANSFER_ENDED;
        break;
    }
    /* Where nothing is on its way it is us who are late, and nobody to be reminded. */
    if (transfer->next == transfer->acked + 1)
        transfer->deadline = 0;
    else if (transfer->state != TRANSFER_ENDED)
        wait_begin(transfer, now);
}

/* Sends the window that begins behind the last acknowledged block, for the first time or again. */
static void window_begin(struct tftp_transfer *transfer, uint64_t now)
{
    bool again = transfer->sent > transfer->acked;
    transfer->next = transfer->acked + 1;
    transfer->window_at = again ? 0 : now;
    if (again)
        transfer->expect_until = transfer->acked + 2 * (uint64_t)transfer->terms.windowsize;
    window_fill(transfer, now);
}

/* Where a window was sent again because nothing came, the first ACK inside it answers a block that
 * the client had already, and the rest of the window is still on its way: to begin anew there would
 * have that answered in the same manner, and so on. */
static void window_go_on(struct tftp_transfer *transfer, uint64_t now)
{
    transfer->window_at = 0;
    if (transfer->next <= transfer->acked)
        transfer->next = transfer->acked + 1;
    window_fill(transfer, now);
}

/* False: there are no options to acknowledge. */
static bool oack_send(struct tftp_transfer *transfer)
{
    uint8_t packet[TFTP_OACK_SIZE];
    size_t size = tftp_write_oack(packet, &transfer->terms.agreed);
    if (size > 0)
        transfer->ops->send(packet, size, transfer->arg);
    return size > 0;
}

/* Acknowledges what was received; the OACK stands for the first ACK. */
static void ack_send(struct tftp_transfer *transfer)
{
    uint8_t packet[TFTP_HEAD_SIZE];
    if (transfer->acked == 0 && oack_send(transfer))
        return;
    tftp_write_head(packet, TFTP_ACK, (uint16_t)transfer->acked);
    transfer->ops->send(packet, sizeof packet, transfer->arg);
}

/* --- what packets do ----------------------------------------------------------------- */

typedef void (*packet_handler)(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                               uint64_t now);

/* The client has agreed to our options. */
static void offer_acked(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                        uint64_t now)
{
    if (packet->number != 0)
        return;
    rtt_note(transfer, now);
    transfer->state = TRANSFER_SENDING;
    transfer->progress_at = now;
    window_begin(transfer, now);
}

/* The same block acknowledged again. With windows it says that the first block of this one was
 * lost; but it may as well answer a duplicate, and whoever answers each of those with a window
 * sends everything twice to the end (the "sorcerer's apprentice"). So: never without windows, once
 * for each window, and not where a repeated window still accounts for a superfluous ACK. */
static void ack_again(struct tftp_transfer *transfer, uint64_t now)
{
    if (transfer->terms.windowsize == 1 || transfer->starved ||
        transfer->next == transfer->acked + 1 || transfer->restarted == transfer->acked + 1)
        return;
    transfer->restarted = transfer->acked + 1;
    if (transfer->expect_until > transfer->acked) {
        transfer->expect_until = 0;
        return;
    }
    window_begin(transfer, now);
}

/* RFC 7440: an ACK inside the window says that what follows it was lost. */
static void data_acked(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                       uint64_t now)
{
    uint64_t step = (uint16_t)(packet->number - (uint16_t)transfer->acked);
    if (step == 0) {
        ack_again(transfer, now);
        return;
    }
    if (step > transfer->sent - transfer->acked)
        return; /* an old one */
    transfer->acked += step;
    transfer->progress_at = now;
    transfer->acked_bytes = transfer->acked * transfer->terms.blksize;
    if (transfer->acked == transfer->last) {
        transfer->acked_bytes = transfer->total;
        transfer_end(transfer, TRANSFER_COMPLETE);
        return;
    }
    if (transfer->source->ops->release != NULL)
        transfer->source->ops->release(transfer->source, transfer->acked_bytes);
    bool repeated = transfer->timed_out;
    transfer->timed_out = false;
    if (transfer->acked == transfer->sent)
        rtt_note(transfer, now);
    else
        transfer->restarted = transfer->acked + 1;
    if (repeated && transfer->acked < transfer->sent)
        window_go_on(transfer, now);
    else
        window_begin(transfer, now);
}

static void upload_take(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                        uint64_t now)
{
    struct error err;
    if (transfer->upload_size + packet->payload_size > sizeof transfer->upload) {
        error_set(&err, ERROR_PROTOCOL, "a report may have %zu bytes", sizeof transfer->upload);
        tftp_transfer_abort(transfer, TFTP_CODE_FULL, &err);
        return;
    }
    memcpy(transfer->upload + transfer->upload_size, packet->payload, packet->payload_size);
    transfer->upload_size += packet->payload_size;
    transfer->acked_bytes = transfer->upload_size;
    transfer->acked++;
    transfer->progress_at = now;
    wait_begin(transfer, now);
    if (packet->payload_size < transfer->terms.blksize) {
        if (transfer->ops->received(transfer->upload, transfer->upload_size, &err, transfer->arg) !=
            0) {
            tftp_transfer_abort(transfer, TFTP_CODE_ACCESS, &err);
            return;
        }
        if (transfer->state == TRANSFER_ENDED)
            return;
        transfer->state = TRANSFER_DALLYING;
        transfer->deadline = now + DALLY_PERIODS * transfer->wait;
    }
    ack_send(transfer);
}

static void data_received(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                          uint64_t now)
{
    if (packet->number == (uint16_t)(transfer->acked + 1))
        upload_take(transfer, packet, now);
    else if (packet->number == (uint16_t)transfer->acked)
        ack_send(transfer); /* ours was lost */
}

static void data_repeated(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                          uint64_t now)
{
    (void)now;
    if (packet->number == (uint16_t)transfer->acked)
        ack_send(transfer);
}

static void client_ended(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                         uint64_t now)
{
    (void)now;
    error_set(&transfer->err, ERROR_PROTOCOL, "the client ended the transfer: %s (code %u)",
              packet->text[0] != '\0' ? packet->text : "without a reason", packet->number);
    transfer_end(transfer, TRANSFER_FAILED);
}

/* What a client may say after all of its file is here no longer matters. */
static void dally_ended(struct tftp_transfer *transfer, const struct tftp_packet *packet,
                        uint64_t now)
{
    (void)packet;
    (void)now;
    transfer_end(transfer, TRANSFER_COMPLETE);
}

/* Whatever is not here is dropped. */
static const packet_handler packet_table[][TFTP_ERROR + 1] = {
    [TRANSFER_OFFERING] = {[TFTP_ACK] = offer_acked, [TFTP_ERROR] = client_ended},
    [TRANSFER_SENDING] = {[TFTP_ACK] = data_acked, [TFTP_ERROR] = client_ended},
    [TRANSFER_RECEIVING] = {[TFTP_DATA] = data_received, [TFTP_ERROR] = client_ended},
    [TRANSFER_DALLYING] = {[TFTP_DATA] = data_repeated, [TFTP_ERROR] = dally_ended},
    [TRANSFER_ENDED] = {NULL},
};

void tftp_transfer_packet(struct tftp_transfer *transfer, const uint8_t *data, size_t size,
                          uint64_t now)
{
    struct tftp_packet packet;
    if (tftp_read_packet(data, size, &packet) != 0)
        return;
    packet_handler handler = packet_table[transfer->state][packet.opcode];
    if (handler != NULL)
        handler(transfer, &packet, now);
}

/* --- what time does ------------------------------------------------------------------ */

static void offer_repeat(struct tftp_transfer *transfer, uint64_t now)
{
    transfer->window_at = 0;
    transfer->repeated++;
    transfer->expect_until = transfer->terms.windowsize;
    oack_send(transfer);
    wait_longer(transfer, now);
}

static void data_repeat(struct tftp_transfer *transfer, uint64_t now)
{
    uint64_t wait = transfer->wait;
    window_begin(transfer, now);
    transfer->timed_out = true;
    if (transfer->deadline == 0)
        return;
    transfer->wait = wait;
    wait_longer(transfer, now);
}

static void ack_repeat(struct tftp_transfer *transfer, uint64_t now)
{
    transfer->repeated++;
    ack_send(transfer);
    wait_longer(transfer, now);
}

static void dally_over(struct tftp_transfer *transfer, uint64_t now)
{
    (void)now;
    transfer_end(transfer, TRANSFER_COMPLETE);
}

static void (*const expire_table[])(struct tftp_transfer *transfer, uint64_t now) = {
    [TRANSFER_OFFERING] = offer_repeat,
    [TRANSFER_SENDING] = data_repeat,
    [TRANSFER_RECEIVING] = ack_repeat,
    [TRANSFER_DALLYING] = dally_over,
};

static void transfer_give_up(struct tftp_transfer *transfer)
{
    if (transfer->last != 0 && transfer->sent == transfer->last) {
        transfer_end(transfer, TRANSFER_UNCONFIRMED);
        return;
    }
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "no answer for %u s", transfer->limits.give_up_ms / 1000);
    tftp_transfer_abort(transfer, TFTP_CODE_OTHER, &err);
}

void tftp_transfer_expire(struct tftp_transfer *transfer, uint64_t now)
{
    if (transfer->deadline == 0 || now < transfer->deadline)
        return;
    bool waits = transfer->state != TRANSFER_DALLYING;
    if (waits && now - transfer->progress_at >= (uint64_t)transfer->limits.give_up_ms * MS)
        transfer_give_up(transfer);
    else
        expire_table[transfer->state](transfer, now);
}

/* --- beginning ----------------------------------------------------------------------- */

void tftp_transfer_agree(const struct tftp_request *request, const struct transfer_limits *limits,
                         int64_t size, struct transfer_terms *terms)
{
    struct tftp_wishes agreed = request->wishes;
    if (agreed.blksize > limits->blksize)
        agreed.blksize = limits->blksize;
    if (agreed.windowsize > limits->windowsize)
        agreed.windowsize = limits->windowsize;
    if (request->write) {
        agreed.has_windowsize = false; /* a report is one block */
    } else if (agreed.has_tsize) {
        agreed.has_tsize = size >= 0;
        agreed.tsize = size >= 0 ? (uint64_t)size : 0;
    }
    *terms = (struct transfer_terms){
        .blksize = agreed.has_blksize ? agreed.blksize : TFTP_BLKSIZE_DEFAULT,
        .windowsize = agreed.has_windowsize ? agreed.windowsize : 1,
        .timeout_ms = agreed.has_timeout ? agreed.timeout * 1000 : WAIT_DEFAULT / MS,
        .agreed = agreed,
    };
}

void tftp_transfer_begin(struct tftp_transfer *transfer, uint64_t now)
{
    transfer->progress_at = now;
    transfer->window_at = now;
    wait_begin(transfer, now);
    if (transfer->source == NULL) {
        transfer->state = TRANSFER_RECEIVING;
        ack_send(transfer);
    } else if (oack_send(transfer)) {
        transfer->state = TRANSFER_OFFERING;
    } else {
        transfer->state = TRANSFER_SENDING;
        window_begin(transfer, now);
    }
}

void tftp_transfer_asked_again(struct tftp_transfer *transfer, uint64_t now)
{
    if (transfer->state != TRANSFER_ENDED && transfer->acked == 0 && transfer->deadline != 0)
        expire_table[transfer->state](transfer, now);
}

void tftp_transfer_ready(struct tftp_transfer *transfer, uint64_t now)
{
    if (transfer->state != TRANSFER_SENDING || !transfer->starved)
        return;
    bool first = transfer->next == transfer->acked + 1;
    if (first) {
        transfer->progress_at = now; /* the time until now was ours */
        transfer->window_at = transfer->sent > transfer->acked ? 0 : now;
    }
    window_fill(transfer, now);
}
