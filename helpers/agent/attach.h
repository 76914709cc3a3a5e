/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's unix socket, from both sides. */
#ifndef ATTACH_H
#define ATTACH_H

/* The abstract name: PROTOCOL_SOCKET_NAME, or $FLEETFLASH_AGENT_SOCKET where several stand-ins for
 * devices share one machine. Returns a listening descriptor; -1 and errno (EADDRINUSE: taken). */
int attach_listen(const char *name);
/* A connection to it, or -1 and errno. */
int attach_connect(const char *name);
const char *attach_name(void);
/* `agent attach`: relays stdin and stdout until either side ends. Exit status. */
int attach_run(void);
/* Asks who holds the socket: the sentence of its FAIL frame, or a guess. */
void attach_ask_holder(const char *name, char *out, unsigned out_size);

#endif
