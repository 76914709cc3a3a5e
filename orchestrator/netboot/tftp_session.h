/* SPDX-License-Identifier: Apache-2.0 */
/* A transfer with its socket and its timer: what joins tftp_transfer.h to the loop. */
#ifndef NETBOOT_TFTP_SESSION_H
#define NETBOOT_TFTP_SESSION_H

#include "netboot/netboot_name.h"
#include "netboot/tftp_server.h"
#include "netboot/tftp_transfer.h"

#include <netinet/in.h>

#define REQUEST_MAX 512u /* bytes: RFC 2347 */

struct tftp_guest {
    struct tftp_guest *next;
    struct tftp_server *server;
    char mac[MAC_TEXT_SIZE];
    bool bound;                      /* address is known */
    bool asked;                      /* … and has asked */
    unsigned refused;                /* refusals that were told of */
    struct sockaddr_storage address; /* the port does not matter */
    struct netboot_files *files;
    const struct tftp_guest_events *events;
    void *arg;
};

struct tftp_server {
    uv_loop_t *loop;
    uv_udp_t socket;
    struct sockaddr_storage address;
    char address_text[64];
    uint16_t port;
    struct tftp_server_options options; /* defaults filled in; no strings */
    struct transfer_limits limits;
    struct tftp_guest *guests;
    struct tftp_session *sessions;
    unsigned session_count;
    unsigned handles; /* not closed yet */
    bool closing;
    size_t packet_size;
    uint8_t *in, *out; /* packet_size bytes each: one packet is looked at, or made, at a time */
};

struct tftp_session {
    struct tftp_session *next;
    struct tftp_server *server;
    struct tftp_guest *guest; /* NULL: dismissed, the answer to its report goes on */
    struct sockaddr_storage peer;
    uv_udp_t socket;
    uv_timer_t timer;
    unsigned handles;
    uint64_t timer_at;       /* µs: when the timer comes, 0: it is not set */
    uint64_t begun_at;       /* µs */
    uint64_t progress_at;    /* µs: when progress was told last */
    uint64_t progress_bytes; /* how many that was */
    bool proven;             /* the client has answered to our port */
    bool summed;             /* the part's crc32 is noted */
    bool ended;
    struct tftp_transfer transfer;
    struct netboot_name name;
    size_t request_size;
    uint8_t request[REQUEST_MAX]; /* as it came, to know it again */
};

/* µs, never 0. */
uint64_t session_clock(void);

/* Same host; same host and port. */
bool session_address_equals(const struct sockaddr_storage *a, const struct sockaddr_storage *b);
bool session_peer_equals(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

/* Begins to answer. source: what is read, NULL for a write; the session closes it, whatever comes
 * of it. NULL when memory or sockets are short. */
struct tftp_session *session_begin(struct tftp_guest *guest, const struct sockaddr *peer,
                                   const struct tftp_request *request,
                                   const struct netboot_name *name, struct byte_source *source,
                                   const uint8_t *packet, size_t packet_size);

/* The same request came again. */
void session_asked_again(struct tftp_session *session);

/* Ends it from our side, telling the client and, unless quiet, the owner. */
void session_abort(struct tftp_session *session, enum tftp_code code, const struct error *why,
                   bool quiet);

/* Hands a report to the guest's owner. 0, or -1 with err: it is not true. */
int guest_report(struct tftp_guest *guest, const struct netboot_report *report, struct error *err);

/* Frees the server once its last handle is closed. */
void server_settle(struct tftp_server *server);

/* For a datagram handle's close callback: counts server->handles down. */
void server_handle_closed(struct tftp_server *server);

#endif
