/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/station.h"

#include "netboot/flash_script.h"
#include "netboot/netboot_name.h"

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
    struct netconsole *console; /* opened when it is first wanted */
    struct place *next;
};

struct cut {
    struct part_layout layout;
    struct parts *parts;
    struct cut *next;
};

#define STRANGERS_MAX 16u

/* A board of this run: when its flash is over it is nobody's to the server, but no stranger. */
struct known {
    char mac[MAC_TEXT_SIZE];
    struct known *next;
};

struct stranger {
    char address[INET6_ADDRSTRLEN];
    char text[160];
};

struct station {
    uv_loop_t *loop;
    struct stranger strangers[STRANGERS_MAX]; /* the last ones */
    unsigned next_stranger;
    struct known *known;
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

int station_address(const struct target_spec *spec, char *out, size_t size, struct error *err)
{
    if (spec->netboot.server == NULL)
        return address_towards(spec->host, out, size, err);
    snprintf(out, size, "%s", spec->netboot.server);
    return 0;
}

static bool is_known(const struct station *station, const char *mac)
{
    for (const struct known *known = station->known; known != NULL; known = known->next)
        if (strcmp(known->mac, mac) == 0)
            return true;
    return false;
}

static void note_known(struct station *station, const char *mac)
{
    char why[160];
    struct known known = {.next = station->known};
    if (mac == NULL || mac_canonical(mac, known.mac, why, sizeof why) != 0 ||
        is_known(station, known.mac))
        return;
    struct known *kept = malloc(sizeof *kept);
    if (kept == NULL)
        return;
    *kept = known;
    station->known = kept;
}

static void note_stranger(const char *address, const char *name, void *arg)
{
    struct station *station = arg;
    struct netboot_name parsed;
    if (netboot_name_parse(name, &parsed) == 0 && is_known(station, parsed.mac))
        return;
    struct stranger *stranger = &station->strangers[station->next_stranger++ % STRANGERS_MAX];
    snprintf(stranger->address, sizeof stranger->address, "%s", address);
    snprintf(stranger->text, sizeof stranger->text, "%s asked for %s, which is nobody's", address,
             name);
}

const char *station_stranger(const struct station *station, const struct target_spec *spec)
{
    for (unsigned i = 0; i < STRANGERS_MAX; i++)
        if (strcmp(station->strangers[i].address, spec->host) == 0)
            return station->strangers[i].text;
    return station->strangers[(station->next_stranger + STRANGERS_MAX - 1) % STRANGERS_MAX].text;
}

static struct place *find_place(struct station *station, const struct target_spec *spec,
                                struct error *err)
{
    char address[sizeof station->places->address];
    if (station_address(spec, address, sizeof address, err) != 0)
        return NULL;
    for (struct place *place = station->places; place != NULL; place = place->next)
        if (place->port == spec->netboot.port && strcmp(place->address, address) == 0)
            return place;
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) {
        error_set(err, ERROR_IO, "no memory");
        return NULL;
    }
    struct tftp_server_options options = {.address = address,
                                          .port = (uint16_t)spec->netboot.port,
                                          .unknown = note_stranger,
                                          .arg = station};
    place->server = tftp_server_open(station->loop, &options, err);
    if (place->server == NULL) {
        if (err->cls == ERROR_BUSY)
            err->cls = ERROR_IO; /* it is the port that is held, not a device */
        free(place);
        return NULL;
    }
    memcpy(place->address, address, sizeof place->address);
    place->port = (uint16_t)spec->netboot.port;
    place->next = station->places;
    station->places = place;
    return place;
}

struct tftp_server *station_server(struct station *station, const struct target_spec *spec,
                                   struct error *err)
{
    struct place *place = find_place(station, spec, err);
    note_known(station, spec->mac);
    return place != NULL ? place->server : NULL;
}

struct netconsole *station_console(struct station *station, const struct target_spec *spec,
                                   struct error *err)
{
    struct place *place = find_place(station, spec, err);
    if (place == NULL)
        return NULL;
    /* One address may have servers on several ports, but has one console. */
    for (struct place *other = station->places; other != NULL; other = other->next)
        if (other->console != NULL && strcmp(other->address, place->address) == 0)
            return other->console;
    place->console = netconsole_open(station->loop, place->address, NETCONSOLE_PORT, err);
    return place->console;
}

struct parts *station_parts(struct station *station, struct store *store,
                            const struct netboot_spec *netboot, struct error *err)
{
    struct part_layout layout = {.size = netboot->part_size};
    if (flash_script_range(netboot->layout, store_info(store), &layout, err) != 0)
        return NULL;
    for (struct cut *cut = station->cuts; cut != NULL; cut = cut->next)
        if (cut->layout.size == layout.size && cut->layout.start == layout.start)
            return cut->parts;
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
    cut->layout = layout;
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
        netconsole_close(place->console);
        free(place);
    }
    for (struct known *known = station->known, *next; known != NULL; known = next) {
        next = known->next;
        free(known);
    }
    for (struct cut *cut = station->cuts, *next; cut != NULL; cut = next) {
        next = cut->next;
        parts_close(cut->parts);
        free(cut);
    }
    free(station);
}
