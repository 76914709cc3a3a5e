/* SPDX-License-Identifier: Apache-2.0 */
/* What a file name that a board asks for means. Pure. */
#ifndef NETBOOT_NETBOOT_NAME_H
#define NETBOOT_NETBOOT_NAME_H

#include "address.h"
#include "netboot/report_text.h"
#include "netboot/tftp_packet.h"

#include <stdbool.h>

enum netboot_kind {
    NAME_PART,        /* <mac>/rpi_image_part_<n>, or …<n>.gz */
    NAME_REPORT,      /* <mac>/report/OK-123456-cbf43926: the name is the report */
    NAME_REPORT_FILE, /* <mac>/report: to be written */
    NAME_FILE,        /* any other: one of those in memory, if there is one of that name */
};

struct netboot_name {
    char mac[MAC_TEXT_SIZE]; /* canonical */
    enum netboot_kind kind;
    unsigned part; /* with NAME_PART */
    bool gzip;
    struct netboot_report report; /* with NAME_REPORT */
    char file[TFTP_NAME_MAX];     /* what follows the MAC and the slash */
};

/* The MAC in any spelling of inventory/address.h, and with the "01-" that PXE puts before it;
 * slashes and "./" before it do not matter. 0, or -1: the name begins with no MAC, or nothing
 * follows it. */
int netboot_name_parse(const char *text, struct netboot_name *name);

#endif
