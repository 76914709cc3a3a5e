/* SPDX-License-Identifier: Apache-2.0 */
#include "run/jumps.h"

#include "run/hosts.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOKUP_PATIENCE_MS 5000u
#define KEY_MAX            2048u

struct node {
    const struct target_spec *spec;
    unsigned wave;
    bool is_local;
    /* In hosts; SIZE_MAX: not reached by ssh; after: where the new system is reached as the old. */
    size_t host, after;
    char *key;
    size_t gate_count, behind;
    size_t *gates;
};

struct jumps {
    size_t count;
    struct node *nodes;
};

/* --- which device ---------------------------------------------------------------------- */

static size_t key_add(char *key, size_t used, const struct host *host, const char *before)
{
    int size = snprintf(key + used, KEY_MAX - used, "%s%s port %u", before, host->settings.host,
                        host->settings.port);
    for (char *c = key + used; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return used + (size_t)size < KEY_MAX ? used + (size_t)size : KEY_MAX - 1;
}

/* (address, port, jump host). A proxy command is its own words, expanded. */
static int key_make(struct node *node, const struct hosts *hosts)
{
    char key[KEY_MAX];
    if (node->is_local) {
        node->key = strdup("this machine");
        return node->key != NULL ? 0 : -1;
    }
    const struct host *host = hosts->list[node->host];
    size_t used = key_add(key, 0, host, "");
    if (host->settings.proxy_command != NULL) {
        char *command = settings_expand(&host->settings, host->settings.proxy_command);
        if (command != NULL)
            snprintf(key + used, sizeof key - used, " via '%s'", command);
        free(command);
    } else {
        for (size_t i = 0; i < host->hop_count; i++)
            used = key_add(key, used, hosts->list[host->hops[i]], i == 0 ? " via " : ", ");
    }
    node->key = strdup(key);
    return node->key != NULL ? 0 : -1;
}

static int compare_keys(const void *a, const void *b)
{
    const struct node *const *left = a, *const *right = b;
    return strcmp((*left)->key, (*right)->key);
}

static int check_twins(const struct jumps *jumps, struct error *err)
{
    const struct node **sorted = calloc(jumps->count + 1, sizeof *sorted);
    if (sorted == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    for (size_t i = 0; i < jumps->count; i++)
        sorted[i] = &jumps->nodes[i];
    qsort(sorted, jumps->count, sizeof *sorted, compare_keys);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < jumps->count; i++) {
        if (strcmp(sorted[i]->key, sorted[i + 1]->key) != 0)
            continue;
        rc = error_set(err, ERROR_USAGE, "%s and %s are one device: for ssh both are %.200s",
                       sorted[i]->spec->name, sorted[i + 1]->spec->name, sorted[i]->key);
        error_remedy(err, "leave one of them out, or correct HostName in ssh's configuration");
    }
    free(sorted);
    return rc;
}

/* --- who goes through whom ------------------------------------------------------------- */

static int gate_add(struct jumps *jumps, struct node *node, size_t gate)
{
    for (size_t i = 0; i < node->gate_count; i++)
        if (node->gates[i] == gate)
            return 0;
    size_t *gates = realloc(node->gates, (node->gate_count + 1) * sizeof *gates);
    if (gates == NULL)
        return -1;
    gates[node->gate_count++] = gate;
    node->gates = gates;
    jumps->nodes[gate].behind++;
    return 0;
}

/* Every target that is this hop, or one of those that the hop is reached through. */
static int gates_of_hop(struct jumps *jumps, struct node *node, const struct hosts *hosts,
                        size_t hop, bool *seen)
{
    const struct host *host = hosts->list[hop];
    if (seen[hop])
        return 0;
    seen[hop] = true;
    for (size_t i = 0; i < jumps->count; i++)
        if (&jumps->nodes[i] != node && !jumps->nodes[i].is_local &&
            hosts_same(host, hosts->list[jumps->nodes[i].host]) && gate_add(jumps, node, i) != 0)
            return -1;
    for (size_t i = 0; i < host->hop_count; i++)
        if (gates_of_hop(jumps, node, hosts, host->hops[i], seen) != 0)
            return -1;
    return 0;
}

static int gates_of(struct jumps *jumps, struct node *node, const struct hosts *hosts)
{
    const size_t ways[] = {node->host, node->after};
    bool *seen = calloc(hosts->count + 1, sizeof *seen);
    int rc = seen != NULL ? 0 : -1;
    for (size_t w = 0; w < 2 && ways[w] != SIZE_MAX; w++) {
        const struct host *host = hosts->list[ways[w]];
        for (size_t i = 0; rc == 0 && i < host->hop_count; i++)
            rc = gates_of_hop(jumps, node, hosts, host->hops[i], seen);
    }
    free(seen);
    return rc;
}

static int gates_find(struct jumps *jumps, const struct hosts *hosts)
{
    for (size_t i = 0; i < jumps->count; i++)
        if (gates_of(jumps, &jumps->nodes[i], hosts) != 0)
            return -1;
    return 0;
}

static int check_waves(const struct jumps *jumps, struct error *err)
{
    for (size_t n = 0; n < jumps->count; n++) {
        const struct node *node = &jumps->nodes[n];
        for (size_t i = 0; i < node->gate_count; i++) {
            const struct node *gate = &jumps->nodes[node->gates[i]];
            if (gate->wave >= node->wave)
                continue;
            error_set(err, ERROR_USAGE,
                      "%s is reached through %s, which would be flashed first: it is in wave %u, "
                      "%s in wave %u",
                      node->spec->name, gate->spec->name, gate->wave + 1, node->spec->name,
                      node->wave + 1);
            return error_remedy(err,
                                "a jump host goes last: put %s into the same or a later wave, or "
                                "leave it out with --limit '!%s'",
                                gate->spec->name, gate->spec->name);
        }
    }
    return 0;
}

/* Takes away whoever nobody is behind, again and again: what is left goes round in a circle. */
static int check_circles(const struct jumps *jumps, struct error *err)
{
    size_t *behind = calloc(jumps->count + 1, sizeof *behind);
    bool *gone = calloc(jumps->count + 1, sizeof *gone);
    if (behind == NULL || gone == NULL) {
        free(behind);
        free(gone);
        return error_set(err, ERROR_IO, "out of memory");
    }
    for (size_t n = 0; n < jumps->count; n++)
        behind[n] = jumps->nodes[n].behind;
    for (bool again = true; again;) {
        again = false;
        for (size_t n = 0; n < jumps->count; n++) {
            if (gone[n] || behind[n] > 0)
                continue;
            again = gone[n] = true;
            for (size_t i = 0; i < jumps->nodes[n].gate_count; i++)
                behind[jumps->nodes[n].gates[i]]--;
        }
    }
    int rc = 0;
    for (size_t n = 0; rc == 0 && n < jumps->count; n++) {
        if (gone[n] || jumps->nodes[n].gate_count == 0)
            continue;
        size_t other = SIZE_MAX;
        for (size_t i = 0; i < jumps->nodes[n].gate_count; i++)
            if (!gone[jumps->nodes[n].gates[i]])
                other = jumps->nodes[n].gates[i];
        if (other == SIZE_MAX)
            continue;
        rc = error_set(err, ERROR_USAGE,
                       "%s is reached through %s, and that one through it or others that go "
                       "through it: none of them can be the last",
                       jumps->nodes[n].spec->name, jumps->nodes[other].spec->name);
        error_remedy(err, "flash them one after the other with --limit, or correct ProxyJump and "
                          "ProxyCommand in ssh's configuration");
    }
    free(behind);
    free(gone);
    return rc;
}

/* --- all of it ------------------------------------------------------------------------- */

static void add_hosts(struct jumps *jumps, struct hosts *hosts)
{
    for (size_t i = 0; i < jumps->count; i++) {
        struct node *node = &jumps->nodes[i];
        const struct target_spec *spec = node->spec;
        const struct after_spec *after = &spec->after;
        node->host = node->after = SIZE_MAX;
        if (node->is_local)
            continue;
        node->host = hosts_add(hosts, spec->host, spec->user, spec->port);
        if (after->host != NULL || after->port != 0 || after->user != NULL)
            node->after = hosts_add(hosts, after->host != NULL ? after->host : spec->host,
                                    after->user != NULL ? after->user : spec->user,
                                    after->port != 0 ? after->port : spec->port);
    }
}

static bool any_hops(const struct hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->list[i]->hop_count > 0)
            return true;
    return false;
}

static uint64_t longest_patience(const struct jumps *jumps)
{
    uint64_t longest = 1;
    for (size_t i = 0; i < jumps->count; i++)
        if (jumps->nodes[i].spec->connect_timeout > longest)
            longest = jumps->nodes[i].spec->connect_timeout;
    return longest;
}

static int jumps_fill(struct jumps *jumps, uv_loop_t *loop, struct hosts *hosts, struct error *err)
{
    add_hosts(jumps, hosts);
    if (hosts->short_of_memory || hosts_read(hosts, loop, longest_patience(jumps)) != 0)
        return error_set(err, ERROR_IO, "out of memory");
    if (any_hops(hosts))
        hosts_resolve(hosts, loop, LOOKUP_PATIENCE_MS);
    for (size_t i = 0; i < jumps->count; i++)
        if (key_make(&jumps->nodes[i], hosts) != 0)
            return error_set(err, ERROR_IO, "out of memory");
    if (gates_find(jumps, hosts) != 0)
        return error_set(err, ERROR_IO, "out of memory");
    if (check_twins(jumps, err) != 0 || check_circles(jumps, err) != 0)
        return -1;
    return check_waves(jumps, err);
}

struct jumps *jumps_find(uv_loop_t *loop, const struct jumps_target *targets, size_t count,
                         const char *ssh_config, struct settings_cache *cache, struct error *err)
{
    struct hosts hosts = {.ssh_config = ssh_config, .cache = cache};
    struct jumps *jumps = calloc(1, sizeof *jumps);
    if (jumps == NULL || (jumps->nodes = calloc(count + 1, sizeof *jumps->nodes)) == NULL) {
        free(jumps);
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    jumps->count = count;
    for (size_t i = 0; i < count; i++) {
        jumps->nodes[i].spec = targets[i].spec;
        jumps->nodes[i].wave = targets[i].wave;
        jumps->nodes[i].is_local = targets[i].is_local;
    }
    int rc = jumps_fill(jumps, loop, &hosts, err);
    hosts_free(&hosts);
    if (rc == 0)
        return jumps;
    jumps_free(jumps);
    return NULL;
}

const char *jumps_key(const struct jumps *jumps, size_t target)
{
    return jumps->nodes[target].key;
}

const struct target_spec *jumps_spec(const struct jumps *jumps, size_t target)
{
    return jumps->nodes[target].spec;
}

size_t jumps_gates(const struct jumps *jumps, size_t target, const size_t **gates)
{
    *gates = jumps->nodes[target].gates;
    return jumps->nodes[target].gate_count;
}

size_t jumps_behind(const struct jumps *jumps, size_t target)
{
    return jumps->nodes[target].behind;
}

void jumps_free(struct jumps *jumps)
{
    if (jumps == NULL)
        return;
    for (size_t i = 0; i < jumps->count; i++) {
        free(jumps->nodes[i].key);
        free(jumps->nodes[i].gates);
    }
    free(jumps->nodes);
    free(jumps);
}
