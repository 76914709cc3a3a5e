/* SPDX-License-Identifier: Apache-2.0 */
/* What the netboot targets of a run share: TFTP servers by address and port, and the image's parts
 * by their size. Everything is opened when it is first asked for. */
#ifndef NETBOOT_STATION_H
#define NETBOOT_STATION_H

#include "inventory.h"
#include "netboot/netconsole.h"
#include "netboot/part.h"
#include "netboot/tftp_server.h"

struct station;

/* NULL when memory is short. */
struct station *station_new(uv_loop_t *loop);

/* The server for a target: on netboot.server, or on the address from which the target's host is
 * reached; owned by the station. NULL with err: no such address, no rights to the port, or somebody
 * else has it (told anew at each call). */
struct tftp_server *station_server(struct station *station, const struct target_spec *spec,
                                   struct error *err);

/* Where the target's boot loader sends its console to: at the server's address; owned by the
 * station. NULL with err. */
struct netconsole *station_console(struct station *station, const struct target_spec *spec,
                                   struct error *err);

/* What somebody asked a server for that is nobody's, and no other target's before or after its
 * turn: "10.0.0.7 asked for …"; of the target's own address if that did, else the last one; ""
 * where nobody did. Why a board seems not to ask is most often another MAC address. */
const char *station_stranger(const struct station *station, const struct target_spec *spec);

/* The address of that server, into size bytes of out. 0, or -1 with err. */
int station_address(const struct target_spec *spec, char *out, size_t size, struct error *err);

/* The parts of the store's image as a target gets them; owned by the station. NULL with err (an
 * image that its layout cannot take). All calls must name the same store. */
struct parts *station_parts(struct station *station, struct store *store,
                            const struct netboot_spec *netboot, struct error *err);

/* Closes all; no guests may be left. The store must not be closed before. NULL is allowed. */
void station_free(struct station *station);

#endif
