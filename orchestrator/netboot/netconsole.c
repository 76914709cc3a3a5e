/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/netconsole.h"

#include <ctype.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 200u

struct netconsole_ear {
    struct netconsole *console;
    struct in_addr board;
    void (*line)(const char *text, void *arg);
    void *arg;
    char text[LINE_SIZE + 1];
    size_t length;
    unsigned passed;   /* lines */
    uint64_t left_out; /* lines */
    uint64_t due; /* when all lines so far would have come at the steady pace; ms of the loop */
    struct netconsole_ear *next;
};

struct netconsole {
    uv_udp_t socket;
    struct netconsole_ear *ears;
    char packet[1500];
};

/* Every line costs time of the loop, and room in the journal and in --json's file. */
static bool line_fits(struct netconsole_ear *ear)
{
    uint64_t now = uv_now(ear->console->socket.loop);
    uint64_t due = ear->due > now ? ear->due : now;
    if (ear->passed == NETCONSOLE_LINES_MAX ||
        due - now > (NETCONSOLE_BURST - 1) * NETCONSOLE_PACE_MS)
        return false;
    ear->due = due + NETCONSOLE_PACE_MS;
    ear->passed++;
    return true;
}

/* A line of nothing but marks of progress is not passed on: a transfer makes hundreds of them. */
static void line_flush(struct netconsole_ear *ear)
{
    if (ear->length == 0)
        return;
    ear->text[ear->length] = '\0';
    ear->length = 0;
    if (ear->text[strspn(ear->text, " #")] == '\0')
        return;
    if (line_fits(ear))
        ear->line(ear->text, ear->arg);
    else if (ear->left_out++ == 0)
        ear->line("(it says too much: not all of that is told)", ear->arg);
}

static void take(struct netconsole_ear *ear, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n' || data[i] == '\r' || ear->length == LINE_SIZE)
            line_flush(ear);
        if (isprint((unsigned char)data[i]))
            ear->text[ear->length++] = data[i];
        else if (data[i] == '\t')
            ear->text[ear->length++] = ' ';
    }
}

static void alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct netconsole *console = handle->data;
    (void)suggested;
    *buf = uv_buf_init(console->packet, sizeof console->packet);
}

static void packet_callback(uv_udp_t *socket, ssize_t size, const uv_buf_t *buf,
                            const struct sockaddr *from, unsigned flags)
{
    struct netconsole *console = socket->data;
    (void)flags;
    if (size <= 0 || from == NULL)
        return;
    struct in_addr address = ((const struct sockaddr_in *)from)->sin_addr;
    for (struct netconsole_ear *ear = console->ears; ear != NULL; ear = ear->next) {
        if (ear->board.s_addr == address.s_addr) {
            take(ear, buf->base, (size_t)size);
            return;
        }
    }
}

struct netconsole *netconsole_open(uv_loop_t *loop, const char *address, uint16_t port,
                                   struct error *err)
{
    struct sockaddr_in at;
    struct netconsole *console = calloc(1, sizeof *console);
    if (console == NULL || uv_udp_init(loop, &console->socket) != 0) {
        free(console);
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    console->socket.data = console;
    int status = uv_ip4_addr(address, port, &at);
    if (status == 0)
        status = uv_udp_bind(&console->socket, (const struct sockaddr *)&at, 0);
    if (status == 0)
        status = uv_udp_recv_start(&console->socket, alloc_callback, packet_callback);
    if (status == 0)
        return console;
    error_set(err, ERROR_IO, "netconsole: UDP port %u of %s: %s", port, address,
              uv_strerror(status));
    netconsole_close(console);
    return NULL;
}

struct netconsole_ear *netconsole_hear(struct netconsole *console, const char *board,
                                       void (*line)(const char *text, void *arg), void *arg)
{
    struct in_addr address;
    if (uv_inet_pton(AF_INET, board, &address) != 0)
        return NULL;
    struct netconsole_ear *ear = calloc(1, sizeof *ear);
    if (ear == NULL)
        return NULL;
    ear->console = console;
    ear->board = address;
    ear->line = line;
    ear->arg = arg;
    ear->next = console->ears;
    console->ears = ear;
    return ear;
}

void netconsole_ignore(struct netconsole_ear *ear)
{
    if (ear == NULL)
        return;
    line_flush(ear);
    if (ear->left_out > 0) {
        snprintf(ear->text, sizeof ear->text, "(%" PRIu64 " of its lines were left out)",
                 ear->left_out);
        ear->line(ear->text, ear->arg);
    }
    struct netconsole_ear **link = &ear->console->ears;
    while (*link != ear)
        link = &(*link)->next;
    *link = ear->next;
    free(ear);
}

static void closed_callback(uv_handle_t *handle)
{
    free(handle->data);
}

void netconsole_close(struct netconsole *console)
{
    if (console == NULL)
        return;
    while (console->ears != NULL)
        netconsole_ignore(console->ears);
    uv_close((uv_handle_t *)&console->socket, closed_callback);
}
