/* SPDX-License-Identifier: Apache-2.0 */
/* Hears what boards' U-Boots say: their netconsole sends every character to a UDP port here
 * (U-Boot's doc/usage/netconsole.rst). Told apart by the address they send from; nobody else is
 * heard. Everything happens on the loop thread. */
#ifndef NETBOOT_NETCONSOLE_H
#define NETBOOT_NETCONSOLE_H

#include "base/error.h"

#include <stdint.h>
#include <uv.h>

#define NETCONSOLE_PORT 6666u

/* Of one board: so many lines at once, then one in so many milliseconds, and so many until it is
 * ignored. */
#define NETCONSOLE_BURST     500u
#define NETCONSOLE_PACE_MS   20u
#define NETCONSOLE_LINES_MAX 5000u

struct netconsole;
struct netconsole_ear;

/* Listens on an address of this machine, as text. NULL with err. */
struct netconsole *netconsole_open(uv_loop_t *loop, const char *address, uint16_t port,
                                   struct error *err);

/* Hears one board until netconsole_ignore: line is called with each line (printable, without its
 * end, at most 200 characters; longer ones come in pieces). Of a board that says too much some
 * lines are left out, which is told in two lines more, the first time and at the end. NULL when
 * memory is short or board is no address. */
struct netconsole_ear *netconsole_hear(struct netconsole *console, const char *board,
                                       void (*line)(const char *text, void *arg), void *arg);

/* What stands in an unfinished line is told first. NULL is allowed. */
void netconsole_ignore(struct netconsole_ear *ear);

/* Ignores all and frees, as soon as the loop has turned. NULL is allowed. */
void netconsole_close(struct netconsole *console);

#endif
