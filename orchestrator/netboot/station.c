/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/station.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct place {
    char address[INET6_ADDRSTRLEN + 20];
    uint16_t port;
    struct tftp_server *server;
    struct place *next;
};

struct cut {
    uint64_t size;
    struct parts *parts;
    struct cut *next;
};

struct station {
    uv_loop_t *loop;
    struct place *places;
    struct cut *cuts;
};

struct station *station_new(uv_loop_t *loop)
{
    struct station *station = calloc(1, sizeof *station);
    if (station != NULL)
        station->loop = loop;
    return station;
}

/* The address that packets to an address leave from: a datagram socket knows once it is connected,
 * and sends nothing for that. */
static int address_towards(const char *host, char *out, size_t out_size, struct error *err)
{
    static const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                          .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, "9", &hints, &found) != 0) {
        error_set(err, ERROR_USAGE,
                  "%s is a name: which address of this machine its boot loader asks is not known",
                  host);
        return error_remedy(err, "write netboot: {server: ADDRESS}");
    }
    struct sockaddr_storage local;
    socklen_t size = sizeof local;
    int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = -1;
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0 ||
        getsockname(fd, (struct sockaddr *)&local, &size) != 0)
        error_set(err, ERROR_NETWORK, "there is no route to %s: %s", host, strerror(errno));
    else if (getnameinfo((struct sockaddr *)&local, size, out, (socklen_t)out_size, NULL, 0,
                         NI_NUMERICHOST) != 0)
        error_set(err, ERROR_NETWORK, "this machine's address towards %s is not known", host);
    else
        result = 0;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return result;
}

struct tftp_server *station_server(struct station *station, const struct target_spec *spec,
                                   struct error *err)
{
    char address[sizeof station->places->address];
    if (spec->netboot.server != NULL)
        snprintf(address, sizeof address, "%s", spec->netboot.server);
    else if (address_towards(spec->host, address, sizeof address, err) != 0)
        return NULL;
    for (struct place *place = station->places; place != NULL; place = place->next)
        if (place->port == spec->netboot.port && strcmp(place->address, address) == 0)
            return place->server;
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) {
        error_set(err, ERROR_IO, "no memory");
        return NULL;
    }
    struct tftp_server_options options = {.address = address, .port = (uint16_t)spec->netboot.port};
    place->server = tftp_server_open(station->loop, &options, err);
    if (place->server == NULL) {
        free(place);
        return NULL;
    }
    memcpy(place->address, address, sizeof place->address);
    place->port = (uint16_t)spec->netboot.port;
    place->next = station->places;
    station->places = place;
    return place->server;
}

struct parts *station_parts(struct station *station, struct store *store, uint64_t part_size,
                            struct error *err)
{
    for (struct cut *cut = station->cuts; cut != NULL; cut = cut->next)
        if (cut->size == part_size)
            return cut->parts;
    struct part_layout layout = {.size = part_size};
    struct cut *cut = calloc(1, sizeof *cut);
    if (cut == NULL) {
        error_set(err, ERROR_IO, "no memory");
        return NULL;
    }
    cut->parts = parts_open(station->loop, store, &layout, err);
    if (cut->parts == NULL) {
        free(cut);
        return NULL;
    }
    cut->size = part_size;
    cut->next = station->cuts;
    station->cuts = cut;
    return cut->parts;
}

void station_free(struct station *station)
{
    if (station == NULL)
        return;
    for (struct place *place = station->places, *next; place != NULL; place = next) {
        next = place->next;
        tftp_server_close(place->server);
        free(place);
    }
    for (struct cut *cut = station->cuts, *next; cut != NULL; cut = next) {
        next = cut->next;
        parts_close(cut->parts);
        free(cut);
    }
    free(station);
}
