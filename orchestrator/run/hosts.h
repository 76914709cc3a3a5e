/* SPDX-License-Identifier: Apache-2.0 */
/* What ssh makes of names: each host asked for once, and all hosts on the way to it. */
#ifndef RUN_HOSTS_H
#define RUN_HOSTS_H

#include "base/error.h"
#include "link/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define HOPS_MAX      16
#define ADDRESSES_MAX 8

struct host {
    /* as asked for */
    char *name, *user; /* user may be NULL */
    unsigned port;     /* 0: ssh's */
    unsigned depth;    /* hops from a target */
    bool guessed;      /* a word of a ProxyCommand: perhaps no host at all, its port is not known */
    /* as ssh has it; where its configuration cannot be read, as asked for */
    struct settings settings;
    bool known;
    size_t hop_count;
    size_t hops[HOPS_MAX]; /* hosts that the connection goes through first */
    size_t address_count;
    char addresses[ADDRESSES_MAX][46]; /* numeric, of HostName; see hosts_resolve */
};

struct hosts {
    size_t count, capacity;
    struct host **list;
    const char *ssh_config;       /* NULL: the default files */
    struct settings_cache *cache; /* see settings_query */
    bool short_of_memory;
};

/* The index of a host, added where it is new. SIZE_MAX when memory is short. */
size_t hosts_add(struct hosts *hosts, const char *name, const char *user, unsigned port);

/* Asks ssh about all of them, and about those that they are reached through, a few at a time. Runs
 * the loop until all is known; `patience` ms for each. Returns 0, or -1 when memory is short. */
int hosts_read(struct hosts *hosts, uv_loop_t *loop, uint64_t patience);

/* Looks up the addresses of those that are reached directly (others' names mean something on their
 * jump hosts only). Runs the loop for at most `patience` ms; what is not known by then stays so. */
void hosts_resolve(struct hosts *hosts, uv_loop_t *loop, uint64_t patience);

/* Whether a hop and a target are one device, as far as names and addresses tell. */
bool hosts_same(const struct host *hop, const struct host *target);

void hosts_free(struct hosts *hosts);

#endif
