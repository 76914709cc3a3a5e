/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves a name and connects by TCP, trying every address in turn. */
#ifndef LINK_DIAL_H
#define LINK_DIAL_H

#include "base/error.h"

#include <stdint.h>
#include <uv.h>

struct dial;

/* fd: a connected socket that now belongs to the callee, or -1 with err saying why not. address:
 * the numeric address that answered. Both strings are valid during the call. */
typedef void (*dial_callback)(int fd, const char *address, const struct error *err, void *arg);

/* host: a name or a numeric address. timeout: ms for all addresses together; each gets an equal
 * share of what is left. Names are looked up on libuv's thread pool, numeric addresses are not. The
 * callback runs once, later, unless dial_stop comes first. NULL when memory is short. */
struct dial *dial_start(uv_loop_t *loop, const char *host, unsigned port, uint64_t timeout,
                        dial_callback callback, void *arg);

/* Gives up and frees; also called after the callback has run. NULL is allowed. */
void dial_stop(struct dial *dial);

#endif
