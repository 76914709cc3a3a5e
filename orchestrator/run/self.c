/* SPDX-License-Identifier: Apache-2.0 */
#include "run/self.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void own_name(char *out, size_t size)
{
    if (gethostname(out, size) != 0)
        out[0] = '\0';
    out[size - 1] = '\0';
}

struct inventory *self_inventory(struct diagnostics *mistakes)
{
    char name[128], text[400];
    own_name(name, sizeof name);
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    if (name[0] == '\0' || strspn(name, allowed) != strlen(name))
        snprintf(name, sizeof name, "localhost");
    int size =
        snprintf(text, sizeof text,
                 "groups: {local: {hosts: {\"%s\": {host: localhost, mode: local}}}}\n", name);
    return inventory_parse(SELF_INVENTORY, text, (size_t)size, mistakes);
}

/* --- whose address ---------------------------------------------------------------------------- */

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr,
                      &((const struct sockaddr_in *)(const void *)b)->sin_addr,
                      sizeof(struct in_addr)) == 0;
    return a->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

static bool is_loopback(const struct sockaddr *address)
{
    return address->sa_family == AF_INET &&
           (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) ==
               IN_LOOPBACKNET;
}

static bool is_own(const struct ifaddrs *interfaces, const struct sockaddr *address)
{
    bool own = is_loopback(address);
    for (const struct ifaddrs *at = interfaces; at != NULL && !own; at = at->ifa_next)
        own = at->ifa_addr != NULL && same_address(at->ifa_addr, address);
    return own;
}

/* Every address of a name must be ours: one that is another machine's may be the one that is meant.
 */
bool self_is_host(const char *host)
{
    char name[256];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct ifaddrs *interfaces = NULL;
    own_name(name, sizeof name);
    if (strcasecmp(host, "localhost") == 0 || strcasecmp(host, name) == 0)
        return true; /* whether or not it can be looked up */
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    bool own = getifaddrs(&interfaces) == 0 && found != NULL;
    for (const struct addrinfo *at = found; at != NULL && own; at = at->ai_next)
        own = is_own(interfaces, at->ai_addr);
    freeifaddrs(interfaces);
    freeaddrinfo(found);
    return own;
}

/* --- what is asked for ------------------------------------------------------------------------ */

int self_check(const struct self_question *question, struct error *err)
{
    const struct inventory *inventory = question->inventory;
    const struct target_spec *local = NULL, *other = NULL;
    for (size_t i = 0; i < inventory->target_count; i++) {
        const struct target_spec *spec = &inventory->targets[i];
        if (!question->selected[i])
            continue;
        if (question->all_local || (!question->mode_given && spec->mode == INVENTORY_LOCAL)) {
            if (!self_is_host(spec->host)) {
                error_set(err, ERROR_USAGE,
                          "%s:%u: %s: mode local, and its host %s is not this machine",
                          inventory->file, spec->at.line, spec->name, spec->host);
                return error_remedy(err, "run fleetflash on %s itself, or use another mode",
                                    spec->name);
            }
            other = local != NULL ? local : other;
            local = spec;
        } else {
            other = spec;
        }
    }
    if (local == NULL || other == NULL || question->check)
        return 0;
    error_set(err, ERROR_USAGE,
              "%s is this machine (mode local): its flash ends this program, so it is flashed "
              "alone, not with %s",
              local->name, other->name);
    return error_remedy(err, "flash the others with --limit '!%s', then %s with --limit %s",
                        local->name, local->name, local->name);
}
