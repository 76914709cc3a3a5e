/* SPDX-License-Identifier: Apache-2.0 */
#include "attach.h"

#include "protocol/protocol.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RELAY_SIZE (256u * 1024u)

struct relay {
    int from, to;
    uint8_t data[RELAY_SIZE];
    size_t at, size;
    bool ended; /* nothing more comes */
};

const char *attach_name(void)
{
    const char *name = getenv("FLEETFLASH_AGENT_SOCKET");
    return name != NULL && *name != '\0' ? name : PROTOCOL_SOCKET_NAME;
}

static socklen_t make_address(const char *name, struct sockaddr_un *address)
{
    size_t size = strnlen(name, sizeof address->sun_path - 1);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, name, size);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
}

int attach_listen(const char *name)
{
    struct sockaddr_un address;
    socklen_t size = make_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 8) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int attach_connect(const char *name)
{
    struct sockaddr_un address;
    socklen_t size = make_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, size) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Moves what can be moved without waiting. -1: this direction is over. */
static int relay_step(struct relay *relay, short from_events, short to_events)
{
    if (relay->size == 0 && !relay->ended && from_events != 0) {
        ssize_t n = read(relay->from, relay->data, sizeof relay->data);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            relay->ended = true;
        if (n > 0) {
            relay->at = 0;
            relay->size = (size_t)n;
        }
    }
    if (relay->size > 0 && (to_events != 0 || relay->at == 0)) {
        ssize_t n = write(relay->to, relay->data + relay->at, relay->size);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n > 0) {
            relay->at += (size_t)n;
            relay->size -= (size_t)n;
        }
    }
    return relay->ended && relay->size == 0 ? -1 : 0;
}

static void relay_loop(struct relay *up, struct relay *down)
{
    for (;;) {
        struct pollfd fds[4] = {
            {.fd = up->size == 0 ? up->from : -1, .events = POLLIN},
            {.fd = up->size > 0 ? up->to : -1, .events = POLLOUT},
            {.fd = down->size == 0 ? down->from : -1, .events = POLLIN},
            {.fd = down->size > 0 ? down->to : -1, .events = POLLOUT},
        };
        if (poll(fds, 4, -1) < 0 && errno != EINTR)
            return;
        if (relay_step(up, fds[0].revents, fds[1].revents) != 0 ||
            relay_step(down, fds[2].revents, fds[3].revents) != 0)
            return;
    }
}

int attach_run(void)
{
    int fd = attach_connect(attach_name());
    struct relay *relays = calloc(2, sizeof *relays);
    if (fd < 0 || relays == NULL) {
        fprintf(stderr, "fleetflash-agent: no agent runs on this device (%s)\n", strerror(errno));
        free(relays);
        return 1;
    }
    /* It must live on when the disk below is gone. */
    mlockall(MCL_CURRENT | MCL_FUTURE);
    for (int i = 0; i < 2; i++)
        fcntl(i, F_SETFL, fcntl(i, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    relays[0].from = STDIN_FILENO;
    relays[0].to = fd;
    relays[1].from = fd;
    relays[1].to = STDOUT_FILENO;
    relay_loop(&relays[0], &relays[1]);
    close(fd);
    free(relays);
    return 0;
}

void attach_ask_holder(const char *name, char *out, unsigned out_size)
{
    struct hello hello = {.version = PROTOCOL_VERSION}; /* nobody's run, nobody's token */
    uint8_t buffer[PROTOCOL_SMALL_MAX];
    struct frame frame;
    struct fail fail;
    size_t at = 0, size = protocol_encode_hello(&hello, buffer, sizeof buffer);
    int fd = attach_connect(name);
    text_copy(out, out_size, "being flashed by another run");
    if (fd < 0)
        return;
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (write(fd, buffer, size) == (ssize_t)size) {
        ssize_t n;
        while (at < sizeof buffer && (n = read(fd, buffer + at, sizeof buffer - at)) > 0) {
            at += (size_t)n;
            if (protocol_parse(buffer, at, &frame) > 0) {
                if (protocol_decode_fail(&frame, &fail) == 0)
                    text_copy(out, out_size, fail.text);
                break;
            }
        }
    }
    close(fd);
}
