/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/tftp_packet.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The strings of a request, one after the other. */
struct strings {
    const uint8_t *at, *end;
};

/* The next string with its terminator, or NULL at the end or where the terminator is missing. */
static const char *strings_next(struct strings *strings)
{
    const uint8_t *text = strings->at;
    const uint8_t *zero = memchr(text, 0, (size_t)(strings->end - text));
    if (zero == NULL)
        return NULL;
    strings->at = zero + 1;
    return (const char *)text;
}

/* A decimal number within limits. */
static bool number_read(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
    *number = 0;
    if (*text == '\0' || strlen(text) > 18)
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        *number = *number * 10 + (uint64_t)(*text - '0');
    }
    return *number >= min && *number <= max;
}

/* Notes an option that we know and whose value makes sense. */
static void wish_read(struct tftp_wishes *wishes, const char *name, const char *value)
{
    uint64_t number;
    if (strcasecmp(name, "blksize") == 0 && number_read(value, TFTP_BLKSIZE_MIN, 65464, &number)) {
        wishes->has_blksize = true;
        wishes->blksize = (uint32_t)number;
    } else if (strcasecmp(name, "timeout") == 0 && number_read(value, 1, 255, &number)) {
        wishes->has_timeout = true;
        wishes->timeout = (uint32_t)number;
    } else if (strcasecmp(name, "tsize") == 0 && number_read(value, 0, UINT64_MAX, &number)) {
        wishes->has_tsize = true;
        wishes->tsize = number;
    } else if (strcasecmp(name, "windowsize") == 0 && number_read(value, 1, 65535, &number)) {
        wishes->has_windowsize = true;
        wishes->windowsize = (uint32_t)number;
    }
}

int tftp_read_request(const uint8_t *data, size_t size, struct tftp_request *request,
                      struct error *err)
{
    memset(request, 0, sizeof *request);
    if (size < 2 || data[0] != 0 || (data[1] != TFTP_RRQ && data[1] != TFTP_WRQ))
        return error_set(err, ERROR_PROTOCOL, "neither a read nor a write request");
    request->write = data[1] == TFTP_WRQ;
    struct strings strings = {data + 2, data + size};
    const char *name = strings_next(&strings);
    const char *mode = name != NULL ? strings_next(&strings) : NULL;
    if (mode == NULL)
        return error_set(err, ERROR_PROTOCOL, "a request without a file name and a mode");
    if (strlen(name) >= sizeof request->name)
        return error_set(err, ERROR_PROTOCOL, "the file name is too long");
    if (strcasecmp(mode, "octet") != 0)
        return error_set(err, ERROR_PROTOCOL, "only octet (binary) mode is served");
    strcpy(request->name, name);
    for (const char *option; (option = strings_next(&strings)) != NULL;) {
        const char *value = strings_next(&strings);
        if (value == NULL)
            break;
        wish_read(&request->wishes, option, value);
    }
    return 0;
}

int tftp_read_packet(const uint8_t *data, size_t size, struct tftp_packet *packet)
{
    memset(packet, 0, sizeof *packet);
    if (size < TFTP_HEAD_SIZE || data[0] != 0 || data[1] < TFTP_DATA || data[1] > TFTP_ERROR)
        return -1;
    packet->opcode = data[1];
    packet->number = (uint16_t)(data[2] << 8 | data[3]);
    packet->payload = data + TFTP_HEAD_SIZE;
    packet->payload_size = size - TFTP_HEAD_SIZE;
    for (size_t i = 0; packet->opcode == TFTP_ERROR && i < packet->payload_size &&
                       i + 1 < sizeof packet->text && packet->payload[i] != 0;
         i++) {
        uint8_t c = packet->payload[i];
        packet->text[i] = (char)(c >= ' ' && c <= '~' ? c : '?');
    }
    return 0;
}

bool tftp_is_error(const uint8_t *data, size_t size)
{
    return size >= 2 && data[0] == 0 && data[1] == TFTP_ERROR;
}

void tftp_write_head(uint8_t *out, enum tftp_opcode opcode, uint16_t number)
{
    out[0] = 0;
    out[1] = (uint8_t)opcode;
    out[2] = (uint8_t)(number >> 8);
    out[3] = (uint8_t)number;
}

size_t tftp_write_error(uint8_t *out, enum tftp_code code, const char *text)
{
    tftp_write_head(out, TFTP_ERROR, (uint16_t)code);
    size_t length = strnlen(text, TFTP_TEXT_MAX - 1);
    memcpy(out + TFTP_HEAD_SIZE, text, length);
    out[TFTP_HEAD_SIZE + length] = 0;
    return TFTP_HEAD_SIZE + length + 1;
}

/* Appends "name\0value\0"; TFTP_OACK_SIZE holds all four with their largest values. */
static size_t option_write(uint8_t *out, size_t at, const char *name, uint64_t value)
{
    char text[48];
    int length = snprintf(text, sizeof text, "%s%c%llu", name, 0, (unsigned long long)value);
    memcpy(out + at, text, (size_t)length + 1);
    return at + (size_t)length + 1;
}

size_t tftp_write_oack(uint8_t *out, const struct tftp_wishes *agreed)
{
    size_t size = 2;
    out[0] = 0;
    out[1] = TFTP_OACK;
    if (agreed->has_blksize)
        size = option_write(out, size, "blksize", agreed->blksize);
    if (agreed->has_timeout)
        size = option_write(out, size, "timeout", agreed->timeout);
    if (agreed->has_tsize)
        size = option_write(out, size, "tsize", agreed->tsize);
    if (agreed->has_windowsize)
        size = option_write(out, size, "windowsize", agreed->windowsize);
    return size > 2 ? size : 0;
}
