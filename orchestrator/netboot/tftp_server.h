/* SPDX-License-Identifier: Apache-2.0 */
/* The TFTP server that boards being flashed fetch their image from. It serves nobody by itself: a
 * target is let in for as long as it is being flashed, and gets only what is in its own directory.
 * Names, limits and what this does not protect against: docs/netboot.md.
 *
 * Everything happens on the loop thread. Callbacks may admit, dismiss and close. */
#ifndef NETBOOT_TFTP_SERVER_H
#define NETBOOT_TFTP_SERVER_H

#include "base/error.h"
#include "netboot/netboot_files.h"
#include "netboot/part.h"
#include "netboot/report_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define TFTP_PORT 69u

struct tftp_server;
struct tftp_guest;

struct tftp_server_options {
    const char *address;     /* the one to bind, IPv4 or IPv6; not a wildcard: with several networks
                                answers could come from another address than was asked */
    uint16_t port;           /* TFTP_PORT needs rights; 0: any that is free */
    uint32_t blksize_max;    /* bytes, 0: TFTP_BLKSIZE_ETHERNET; larger ones come in fragments */
    uint32_t windowsize_max; /* blocks, 0: 64 */
    unsigned transfers_max;  /* at once, 0: 1024; requests beyond it are not answered */
    unsigned guest_max;      /* of one target at once, 0: 4; beyond it the idlest one ends */
    uint32_t give_up_ms;     /* a transfer without progress, 0: 30000 */
    /* Somebody asked for what is nobody's (any more). NULL: not of interest. */
    void (*unknown)(const char *address, const char *name, void *arg);
    void *arg;
};

/* How a transfer ended. */
struct tftp_ended {
    const char *name; /* within the target's directory: "rpi_image_part_0" */
    int part;         /* -1: it was no part of the image */
    bool complete;    /* every byte was acknowledged */
    bool unconfirmed; /* everything was sent, but the last ACK never came: the board may have it
                         all, and what it does next tells */
    uint64_t bytes;   /* acknowledged */
    bool has_crc;     /* of a whole part: the crc32 of what was sent, unpacked */
    uint32_t crc;
    uint64_t repeated;       /* packets that were sent more than once */
    const struct error *err; /* why not; cls ERROR_NONE unless it failed */
};

/* What the owner of a target hears; any may be NULL. */
struct tftp_guest_events {
    /* It asks for the first time; from now on only this address may. */
    void (*asked)(struct tftp_guest *guest, const char *address, void *arg);
    /* Bytes of a part that were acknowledged; a few times a second. size: -1 where it is gzipped.
     */
    void (*progress)(struct tftp_guest *guest, unsigned part, uint64_t bytes, int64_t size,
                     void *arg);
    void (*ended)(struct tftp_guest *guest, const struct tftp_ended *ended, void *arg);
    /* A report, by whichever way; the same one may come more than once. That of a part was compared
     * with what was sent, and wrong ones are refused, and not told. */
    void (*reported)(struct tftp_guest *guest, const struct netboot_report *report, void *arg);
    /* A request for its directory was turned down: from another address, or for what is not there.
     */
    void (*refused)(struct tftp_guest *guest, const char *address, const char *name,
                    const char *why, void *arg);
};

struct tftp_admission {
    const char *mac;     /* any spelling */
    const char *address; /* the only one that may ask, as text; NULL: that of the first who does */
    struct parts *parts; /* the guest takes a reference; NULL: there are none */
    const struct netboot_file *files; /* in memory, copied; may have any name but those of parts and
                                         reports */
    size_t file_count;
    const struct tftp_guest_events *events; /* outlives the guest */
    void *arg;
};

/* Binds the port. NULL with err (ERROR_BUSY: another server has it; ERROR_USAGE: not this machine's
 * address, or not allowed), naming address and port and what to do. The strings are copied. */
struct tftp_server *tftp_server_open(uv_loop_t *loop, const struct tftp_server_options *options,
                                     struct error *err);

/* The port that was bound. */
uint16_t tftp_server_port(const struct tftp_server *server);

/* Transfers under way. */
unsigned tftp_server_transfers(const struct tftp_server *server);

/* Lets a target in until it is dismissed. NULL with err (ERROR_USAGE: no MAC, no address;
 * ERROR_BUSY: the MAC is in already). */
struct tftp_guest *tftp_server_admit(struct tftp_server *server,
                                     const struct tftp_admission *admission, struct error *err);

/* Whether every part has been handed out to its last byte since the target was let in. */
bool tftp_guest_has_all(const struct tftp_guest *guest);

/* The crc32 of all that was handed out to it, all parts behind one another. False: not all were. */
bool tftp_guest_crc(const struct tftp_guest *guest, uint32_t *crc);

/* Ends its transfers (without callbacks; an answer to a report still gets its ACK) and its
 * directory. The guest is gone. NULL is allowed. */
void tftp_guest_dismiss(struct tftp_guest *guest);

/* Dismisses everyone and frees the server, as soon as the loop has turned. NULL is allowed. */
void tftp_server_close(struct tftp_server *server);

#endif
