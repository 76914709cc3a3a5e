/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are a packet or none; what is read from them stays within its limits. */
#include "netboot/netboot_name.h"
#include "netboot/tftp_transfer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_nothing(const uint8_t *data, size_t size, void *arg)
{
    (void)data;
    (void)size;
    (void)arg;
}

static int receive_report(const uint8_t *data, size_t size, struct error *err, void *arg)
{
    struct netboot_report report;
    char text[TRANSFER_UPLOAD_MAX + 1];
    (void)arg;
    memcpy(text, data, size);
    text[size] = '\0';
    return report_text_parse(text, ' ', &report) == 0 ? 0 : error_set(err, ERROR_PROTOCOL, "no");
}

static ssize_t read_zeros(struct byte_source *source, uint64_t offset, uint8_t *out, size_t size,
                          struct error *err)
{
    (void)err;
    uint64_t left = offset < (uint64_t)source->size ? (uint64_t)source->size - offset : 0;
    size_t count = left < size ? (size_t)left : size;
    memset(out, 0, count);
    return (ssize_t)count;
}

/* Lets the rest of the bytes be packets of a transfer, each behind a byte that says how long it is.
 */
static void transfer_fuzz(const struct tftp_request *request, const uint8_t *data, size_t size)
{
    static const struct transfer_ops ops = {send_nothing, receive_report};
    static const struct source_ops source_ops = {.read = read_zeros};
    static const struct transfer_limits limits = {1468, 64, 30000};
    static uint8_t scratch[1500];
    struct byte_source source = {.ops = &source_ops, .size = 100000};
    struct tftp_transfer transfer = {.limits = limits, .ops = &ops, .scratch = scratch};
    uint64_t now = 1;
    transfer.source = request->write ? NULL : &source;
    tftp_transfer_agree(request, &limits, source.size, &transfer.terms);
    if (transfer.terms.blksize > 1468 || transfer.terms.windowsize > 64)
        abort();
    tftp_transfer_begin(&transfer, now);
    while (size > 0 && transfer.state != TRANSFER_ENDED) {
        size_t length = data[0] < size ? data[0] : size - 1;
        now += 1 + data[0] * 1000u;
        tftp_transfer_packet(&transfer, data + 1, length, now);
        tftp_transfer_expire(&transfer, now);
        data += 1 + length;
        size -= 1 + length;
        if (transfer.acked_bytes > (request->write ? TRANSFER_UPLOAD_MAX : 100000u + 1468))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tftp_request request;
    struct tftp_packet packet;
    struct netboot_name name;
    struct error err;
    if (tftp_read_packet(data, size, &packet) == 0 &&
        (packet.payload + packet.payload_size != data + size ||
         strlen(packet.text) >= TFTP_TEXT_MAX))
        abort();
    if (tftp_read_request(data, size, &request, &err) != 0)
        return 0;
    uint8_t oack[TFTP_OACK_SIZE];
    if (tftp_write_oack(oack, &request.wishes) > sizeof oack)
        abort();
    if (netboot_name_parse(request.name, &name) == 0 && strlen(name.mac) != MAC_TEXT_SIZE - 1)
        abort();
    /* The request is a string of this length at least. */
    size_t skip = 2 + strlen(request.name) + 1;
    transfer_fuzz(&request, data + skip, size - skip);
    return 0;
}
