/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a device, as ssh's configuration has it: HostName and Port, through jump hosts or a
 * ProxyCommand, or straight by TCP. It ends in a connected descriptor; the program that carries it
 * lives as long as the route. */
#ifndef LINK_ROUTE_H
#define LINK_ROUTE_H

#include "base/error.h"
#include "link/link.h"
#include "link/settings.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct route;
struct settings_cache;

enum route_stage {
    ROUTE_CONFIG,  /* ssh -G reads the configuration */
    ROUTE_CONNECT, /* name lookup and TCP */
    ROUTE_READY,   /* the descriptor was handed over; a proxy may still be on its way */
};

/* All on the loop, never inside route_begin; any of them may call route_stop. */
struct route_events {
    /* fd: a stream socket that now belongs to the owner. */
    void (*ready)(int fd, void *arg);
    void (*failed)(const struct error *err, void *arg);
    /* What route_await_words waited for; may be NULL where that is not called. */
    void (*spoken)(void *arg);
};

/* config: copied as far as a route needs it. port: the port to reach by the way that leads to ssh's
 * (the agent's own); 0: ssh's itself. cache: of what ssh's configuration says; must outlive the
 * route. NULL when memory is short. */
struct route *route_new(uv_loop_t *loop, struct settings_cache *cache,
                        const struct link_config *config, unsigned port,
                        const struct route_events *events, void *arg);

/* Starts; name lookup and connect may take `timeout` ms, all else is for the owner to bound. */
void route_begin(struct route *route, uint64_t timeout);

enum route_stage route_stage(const struct route *route);

/* From ready on. The settings may be taken over (copy the struct, then zero it). */
struct settings *route_settings(struct route *route);
const char *route_address(const struct route *route); /* numeric, "" behind a proxy */
const char *route_via(const struct route *route); /* "direct", or the proxy command as it was run */

/* Adds what the proxy said last (or that it ended) to the sentence of an error. */
void route_add_words(const struct route *route, struct error *err);

/* The connection broke: a proxy that still runs is about to say why. True: `spoken` comes when it
 * has ended, 300 ms from now at the latest. False: nothing to wait for. */
bool route_await_words(struct route *route);

/* Gives up, ends the proxy, frees. NULL is allowed. */
void route_stop(struct route *route);

#endif
