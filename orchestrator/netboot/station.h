/* SPDX-License-Identifier: Apache-2.0 */
/* What the netboot targets of a run share: TFTP servers by address and port, and the image's parts
 * by their size. Everything is opened when it is first asked for. */
#ifndef NETBOOT_STATION_H
#define NETBOOT_STATION_H

#include "inventory.h"
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

/* The parts of the store's image in a size; owned by the station. NULL with err. All calls must
 * name the same store. */
struct parts *station_parts(struct station *station, struct store *store, uint64_t part_size,
                            struct error *err);

/* Closes all; no guests may be left. The store must not be closed before. NULL is allowed. */
void station_free(struct station *station);

#endif
