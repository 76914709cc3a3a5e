/* SPDX-License-Identifier: Apache-2.0 */
/* TFTP packets as bytes: RFC 1350, options of RFC 2347, 2348 (blksize), 2349 (timeout, tsize) and
 * 7440 (windowsize). Pure: any bytes may come in, nothing is allocated. */
#ifndef NETBOOT_TFTP_PACKET_H
#define NETBOOT_TFTP_PACKET_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 1350, section 5. */
enum tftp_opcode {
    TFTP_RRQ = 1,
    TFTP_WRQ = 2,
    TFTP_DATA = 3,
    TFTP_ACK = 4,
    TFTP_ERROR = 5,
    TFTP_OACK = 6,
};

/* RFC 1350, appendix I; 8 is RFC 2347's. */
enum tftp_code {
    TFTP_CODE_OTHER = 0,
    TFTP_CODE_NOT_FOUND = 1,
    TFTP_CODE_ACCESS = 2,
    TFTP_CODE_FULL = 3,
    TFTP_CODE_ILLEGAL = 4,
    TFTP_CODE_UNKNOWN_TID = 5,
    TFTP_CODE_OPTION = 8,
};

#define TFTP_HEAD_SIZE        4u    /* of DATA and ACK: opcode and block number */
#define TFTP_BLKSIZE_DEFAULT  512u  /* without the option */
#define TFTP_BLKSIZE_MIN      8u    /* RFC 2348 */
#define TFTP_BLKSIZE_ETHERNET 1468u /* 1500 less the headers of IP and UDP, and ours */
#define TFTP_NAME_MAX         256u
#define TFTP_TEXT_MAX         128u /* of an ERROR that we send */

/* The options of a request that make sense; those that do not are as if they had not been there. */
struct tftp_wishes {
    bool has_blksize, has_timeout, has_tsize, has_windowsize;
    uint32_t blksize;    /* 8 … 65464 bytes */
    uint32_t timeout;    /* 1 … 255 seconds */
    uint64_t tsize;      /* bytes; 0 in a read request, which asks for it */
    uint32_t windowsize; /* 1 … 65535 blocks */
};

struct tftp_request {
    bool write; /* WRQ */
    char name[TFTP_NAME_MAX];
    struct tftp_wishes wishes;
};

/* Takes a read or write request apart. 0; -1 with err (ERROR_PROTOCOL): the sentence goes back to
 * the client with TFTP_CODE_ILLEGAL. */
int tftp_read_request(const uint8_t *data, size_t size, struct tftp_request *request,
                      struct error *err);

/* Any other packet. */
struct tftp_packet {
    enum tftp_opcode opcode; /* TFTP_DATA, TFTP_ACK or TFTP_ERROR */
    uint16_t number;         /* the block's, or an error's code */
    const uint8_t *payload;  /* of DATA: within what was read */
    size_t payload_size;
    char text[TFTP_TEXT_MAX]; /* of an ERROR: printable characters only */
};

/* Takes a packet of a running transfer apart. 0, or -1: it is none. */
int tftp_read_packet(const uint8_t *data, size_t size, struct tftp_packet *packet);

/* True for an ERROR, which is never answered by another. */
bool tftp_is_error(const uint8_t *data, size_t size);

/* Writes the head of a DATA or ACK packet: TFTP_HEAD_SIZE bytes. */
void tftp_write_head(uint8_t *out, enum tftp_opcode opcode, uint16_t number);

#define TFTP_ERROR_SIZE (TFTP_HEAD_SIZE + TFTP_TEXT_MAX)

/* Writes an ERROR into TFTP_ERROR_SIZE bytes; a longer text is cut. Returns its size. */
size_t tftp_write_error(uint8_t *out, enum tftp_code code, const char *text);

#define TFTP_OACK_SIZE 96u

/* Writes an OACK with the options whose has_… is set into TFTP_OACK_SIZE bytes. Returns its size;
 * 0: there is none to acknowledge. */
size_t tftp_write_oack(uint8_t *out, const struct tftp_wishes *agreed);

#endif
