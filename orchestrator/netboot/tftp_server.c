/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/tftp_server.h"

#include "netboot/tftp_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOWSIZE_DEFAULT 64u
#define WINDOWSIZE_LARGEST 4096u /* the numbers of 16 bits must tell old blocks from new ones */
#define TRANSFERS_DEFAULT  1024u
#define GUEST_DEFAULT      4u
#define GIVE_UP_DEFAULT    30000u
#define REFUSED_TOLD       32u /* of each guest: anybody can ask, as fast as he likes */

static const struct error error_dismissed = {ERROR_CANCELLED, "this transfer is over", ""};

/* --- addresses ----------------------------------------------------------------------- */

static int address_read(const char *text, uint16_t port, struct sockaddr_storage *address)
{
    memset(address, 0, sizeof *address);
    return uv_ip4_addr(text, port, (struct sockaddr_in *)address) == 0 ||
                   uv_ip6_addr(text, port, (struct sockaddr_in6 *)address) == 0
               ? 0
               : -1;
}

static bool address_is_any(const struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    if (address->ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
    return ((const struct sockaddr_in *)address)->sin_addr.s_addr == INADDR_ANY;
}

/* --- reports ------------------------------------------------------------------------- */

int guest_report(struct tftp_guest *guest, const struct netboot_report *report, struct error *err)
{
    if (netboot_files_judge(guest->files, report, err) != 0)
        return -1;
    if (guest->events->reported != NULL)
        guest->events->reported(guest, report, guest->arg);
    return 0;
}

/* --- requests ------------------------------------------------------------------------ */

struct asking {
    struct tftp_server *server;
    const struct sockaddr *from;
    struct sockaddr_storage peer;
    char address[64];
    const uint8_t *packet;
    size_t packet_size;
    struct tftp_request request;
    struct netboot_name name;
    struct tftp_guest *guest;
};

static void asking_refuse(const struct asking *asking, enum tftp_code code, const char *text)
{
    uint8_t packet[TFTP_ERROR_SIZE];
    size_t size = tftp_write_error(packet, code, text);
    uv_buf_t buf = uv_buf_init((char *)packet, (unsigned)size);
    uv_udp_try_send(&asking->server->socket, &buf, 1, asking->from);
    struct tftp_guest *guest = asking->guest;
    if (guest == NULL || guest->events->refused == NULL || guest->refused == REFUSED_TOLD)
        return;
    char more[TFTP_TEXT_MAX + 40];
    snprintf(more, sizeof more, "%s%s", text,
             ++guest->refused == REFUSED_TOLD ? "; no more refusals are told" : "");
    guest->events->refused(guest, asking->address, asking->request.name, more, guest->arg);
}

static struct tftp_guest *guest_find(struct tftp_server *server, const char *mac)
{
    struct tftp_guest *guest = server->guests;
    while (guest != NULL && strcmp(guest->mac, mac) != 0)
        guest = guest->next;
    return guest;
}

/* The session that answers this very request, if its client may not have heard of it yet. */
static struct tftp_session *asking_session(const struct asking *asking)
{
    for (struct tftp_session *session = asking->server->sessions; session != NULL;
         session = session->next)
        if (!session->proven && session_peer_equals(&session->peer, &asking->peer) &&
            session->request_size == asking->packet_size &&
            memcmp(session->request, asking->packet, asking->packet_size) == 0)
            return session;
    return NULL;
}

/* A board does one thing at a time; what it left behind goes when there is too much of it. */
static void guest_make_room(struct tftp_guest *guest)
{
    static const struct error why = {ERROR_CANCELLED, "the client asked for too much at once", ""};
    struct tftp_session *idlest = NULL;
    unsigned count = 0;
    for (struct tftp_session *session = guest->server->sessions; session != NULL;
         session = session->next) {
        if (session->guest != guest)
            continue;
        count++;
        if (idlest == NULL || session->transfer.progress_at <= idlest->transfer.progress_at)
            idlest = session;
    }
    if (count >= guest->server->options.guest_max)
        session_abort(idlest, TFTP_CODE_OTHER, &why, false);
}

/* Finds out whose directory it is and whether this address may ask. */
static bool asking_admitted(struct asking *asking)
{
    struct tftp_server *server = asking->server;
    if (netboot_name_parse(asking->request.name, &asking->name) == 0)
        asking->guest = guest_find(server, asking->name.mac);
    if (asking->guest == NULL) {
        if (server->options.unknown != NULL)
            server->options.unknown(asking->address, asking->request.name, server->options.arg);
        asking_refuse(asking, TFTP_CODE_NOT_FOUND, "there is nothing for you here");
        return false;
    }
    if (asking->guest->bound && !session_address_equals(&asking->guest->address, &asking->peer)) {
        asking_refuse(asking, TFTP_CODE_ACCESS, "not for this address");
        return false;
    }
    return true;
}

/* The first valid request of a target binds it to its address. False: the owner sent it away. */
static bool guest_bind(struct asking *asking)
{
    struct tftp_guest *guest = asking->guest;
    if (guest->asked)
        return true;
    guest->asked = guest->bound = true;
    guest->address = asking->peer;
    if (guest->events->asked != NULL)
        guest->events->asked(guest, asking->address, guest->arg);
    return guest_find(asking->server, asking->name.mac) == guest;
}

static void asking_answer(struct asking *asking)
{
    struct error err = {0};
    struct byte_source *source = NULL;
    const struct netboot_name *name = &asking->name;
    if (asking->request.write && name->kind != NAME_REPORT_FILE) {
        asking_refuse(asking, TFTP_CODE_ACCESS, "only a report may be written");
        return;
    }
    if (!asking->request.write) {
        source = netboot_files_open(asking->guest->files, name, &err);
        if (source == NULL) {
            asking_refuse(asking, err.cls == ERROR_USAGE ? TFTP_CODE_NOT_FOUND : TFTP_CODE_OTHER,
                          err.text);
            return;
        }
    }
    if (!guest_bind(asking)) {
        source_close(source);
        return;
    }
    guest_make_room(asking->guest);
    if (guest_find(asking->server, name->mac) != asking->guest) {
        source_close(source);
        return;
    }
    session_begin(asking->guest, asking->from, &asking->request, name, source, asking->packet,
                  asking->packet_size);
    /* A name can be told as soon as it is asked for: its file's ACK may never come. */
    if (name->kind == NAME_REPORT && guest_find(asking->server, name->mac) == asking->guest)
        guest_report(asking->guest, &name->report, &err);
}

static void request_callback(uv_udp_t *socket, ssize_t size, const uv_buf_t *buf,
                             const struct sockaddr *from, unsigned flags)
{
    struct tftp_server *server = socket->data;
    if (size <= 0 || from == NULL || (flags & UV_UDP_PARTIAL) != 0 || size > (ssize_t)REQUEST_MAX ||
        server->closing)
        return;
    struct asking asking = {.server = server, .from = from, .packet_size = (size_t)size};
    /* The buffer is the sessions' too. */
    uint8_t packet[REQUEST_MAX];
    memcpy(packet, buf->base, (size_t)size);
    asking.packet = packet;
    memcpy(&asking.peer, from,
           from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    uv_ip_name(from, asking.address, sizeof asking.address);
    struct error err;
    if (size < 2 || packet[0] != 0 || (packet[1] != TFTP_RRQ && packet[1] != TFTP_WRQ))
        return;
    if (tftp_read_request(packet, (size_t)size, &asking.request, &err) != 0) {
        asking_refuse(&asking, TFTP_CODE_ILLEGAL, err.text);
        return;
    }
    struct tftp_session *session = asking_session(&asking);
    if (session != NULL)
        session_asked_again(session);
    else if (asking_admitted(&asking) && server->session_count < server->options.transfers_max)
        asking_answer(&asking);
}

static void alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    const struct tftp_server *server = handle->data;
    *buf = uv_buf_init((char *)server->in, (unsigned)server->packet_size);
}

/* --- guests -------------------------------------------------------------------------- */

struct tftp_guest *tftp_server_admit(struct tftp_server *server,
                                     const struct tftp_admission *admission, struct error *err)
{
    char mac[MAC_TEXT_SIZE], why[160];
    struct tftp_guest *guest = NULL;
    struct sockaddr_storage address = {0};
    if (mac_canonical(admission->mac, mac, why, sizeof why) != 0)
        error_set(err, ERROR_USAGE, "%s", why);
    else if (admission->address != NULL && address_read(admission->address, 0, &address) != 0)
        error_set(err, ERROR_USAGE, "'%s' is no address that could ask for files by TFTP",
                  admission->address);
    else if (guest_find(server, mac) != NULL)
        error_set(err, ERROR_BUSY, "a board with the MAC address %s is being flashed already", mac);
    else if ((guest = calloc(1, sizeof *guest)) == NULL)
        error_set(err, ERROR_IO, "out of memory");
    if (guest == NULL)
        return NULL;
    guest->server = server;
    strcpy(guest->mac, mac);
    guest->bound = admission->address != NULL;
    guest->address = address;
    guest->events = admission->events;
    guest->arg = admission->arg;
    guest->files = netboot_files_new(admission->parts, admission->files, admission->file_count);
    if (guest->files == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        free(guest);
        return NULL;
    }
    guest->next = server->guests;
    server->guests = guest;
    return guest;
}

/* The ACK of a report outlives its guest; everything else ends with it. */
static void session_dismiss(struct tftp_session *session)
{
    if (session->name.kind == NAME_REPORT || session->name.kind == NAME_REPORT_FILE)
        session->guest = NULL;
    else
        session_abort(session, TFTP_CODE_OTHER, &error_dismissed, true);
}

bool tftp_guest_has_all(const struct tftp_guest *guest)
{
    return netboot_files_all_served(guest->files);
}

bool tftp_guest_crc(const struct tftp_guest *guest, uint32_t *crc)
{
    return netboot_files_crc(guest->files, crc);
}

void tftp_guest_dismiss(struct tftp_guest *guest)
{
    if (guest == NULL)
        return;
    struct tftp_session *next;
    for (struct tftp_session *session = guest->server->sessions; session != NULL; session = next) {
        next = session->next;
        if (session->guest == guest)
            session_dismiss(session);
    }
    struct tftp_guest **at = &guest->server->guests;
    while (*at != guest)
        at = &(*at)->next;
    *at = guest->next;
    netboot_files_free(guest->files);
    free(guest);
}

/* --- the server ---------------------------------------------------------------------- */

static void server_free(struct tftp_server *server)
{
    free(server->in);
    free(server->out);
    free(server);
}

void server_settle(struct tftp_server *server)
{
    if (server->closing && server->handles == 0)
        server_free(server);
}

void server_handle_closed(struct tftp_server *server)
{
    server->handles--;
    server_settle(server);
}

static void socket_closed_callback(uv_handle_t *handle)
{
    server_handle_closed(handle->data);
}

static void server_defaults(struct tftp_server *server, const struct tftp_server_options *options)
{
    struct tftp_server_options *o = &server->options;
    *o = *options;
    o->address = NULL;
    if (o->blksize_max == 0)
        o->blksize_max = TFTP_BLKSIZE_ETHERNET;
    if (o->blksize_max < TFTP_BLKSIZE_DEFAULT)
        o->blksize_max = TFTP_BLKSIZE_DEFAULT;
    if (o->windowsize_max == 0)
        o->windowsize_max = WINDOWSIZE_DEFAULT;
    if (o->windowsize_max > WINDOWSIZE_LARGEST)
        o->windowsize_max = WINDOWSIZE_LARGEST;
    if (o->transfers_max == 0)
        o->transfers_max = TRANSFERS_DEFAULT;
    if (o->guest_max == 0)
        o->guest_max = GUEST_DEFAULT;
    if (o->give_up_ms == 0)
        o->give_up_ms = GIVE_UP_DEFAULT;
    server->limits = (struct transfer_limits){o->blksize_max, o->windowsize_max, o->give_up_ms};
    server->packet_size = TFTP_HEAD_SIZE + o->blksize_max;
}

/* Says what a failed bind means. */
static int bind_failed(const struct tftp_server *server, uint16_t port, int status,
                       struct error *err)
{
    const char *address = server->address_text;
    if (status == UV_EADDRINUSE) {
        error_set(err, ERROR_BUSY, "TFTP server: UDP port %u of %s is in use", port, address);
        return error_remedy(err,
                            "`ss -ulpn sport = :%u` says by whom: stop it, or write another "
                            "netboot: {port} or {server}",
                            port);
    }
    if (status == UV_EACCES) {
        error_set(err, ERROR_USAGE, "TFTP server: no right to bind UDP port %u", port);
        return error_remedy(err, "run as root or with CAP_NET_BIND_SERVICE, or write a netboot: "
                                 "{port} from 1024 on");
    }
    if (status == UV_EADDRNOTAVAIL) {
        error_set(err, ERROR_USAGE, "TFTP server: %s is no address of this machine", address);
        return error_remedy(err,
                            "`ip address` lists those there are; write one as netboot: {server}");
    }
    return error_set(err, ERROR_IO, "TFTP server: cannot bind UDP port %u of %s: %s", port, address,
                     uv_strerror(status));
}

static int server_bind(struct tftp_server *server, uint16_t port, struct error *err)
{
    int status = uv_udp_bind(&server->socket, (const struct sockaddr *)&server->address, 0);
    if (status == 0)
        status = uv_udp_recv_start(&server->socket, alloc_callback, request_callback);
    if (status != 0)
        return bind_failed(server, port, status, err);
    struct sockaddr_storage bound = {0};
    int size = sizeof bound;
    uv_udp_getsockname(&server->socket, (struct sockaddr *)&bound, &size);
    server->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

struct tftp_server *tftp_server_open(uv_loop_t *loop, const struct tftp_server_options *options,
                                     struct error *err)
{
    struct sockaddr_storage address;
    if (address_read(options->address, options->port, &address) != 0 || address_is_any(&address)) {
        error_set(err, ERROR_USAGE, "TFTP server: '%s' is not one address of this machine",
                  options->address);
        error_remedy(err, "`ip address` lists those there are; write one as netboot: {server}");
        return NULL;
    }
    struct tftp_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    server_defaults(server, options);
    server->loop = loop;
    server->address = address;
    snprintf(server->address_text, sizeof server->address_text, "%s", options->address);
    server->in = malloc(server->packet_size);
    server->out = malloc(server->packet_size);
    if (server->in == NULL || server->out == NULL || uv_udp_init(loop, &server->socket) != 0) {
        error_set(err, ERROR_IO, "out of memory");
        server_free(server);
        return NULL;
    }
    server->socket.data = server;
    server->handles = 1;
    if (server_bind(server, options->port, err) != 0) {
        tftp_server_close(server);
        return NULL;
    }
    return server;
}

uint16_t tftp_server_port(const struct tftp_server *server)
{
    return server->port;
}

unsigned tftp_server_transfers(const struct tftp_server *server)
{
    return server->session_count;
}

void tftp_server_close(struct tftp_server *server)
{
    if (server == NULL || server->closing)
        return;
    while (server->guests != NULL)
        tftp_guest_dismiss(server->guests);
    while (server->sessions != NULL)
        session_abort(server->sessions, TFTP_CODE_OTHER, &error_dismissed, true);
    server->closing = true;
    uv_close((uv_handle_t *)&server->socket, socket_closed_callback);
}
