/* SPDX-License-Identifier: Apache-2.0 */
#include "run/hosts.h"

#include "link/settings_read.h"

#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define READERS_MAX 4u
#define DEPTH_MAX   8u /* jump hosts of jump hosts of … */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void host_free(struct host *host)
{
    settings_free(&host->settings);
    free(host->name);
    free(host->user);
    free(host);
}

static size_t add(struct hosts *hosts, const struct host *wanted)
{
    for (size_t i = 0; i < hosts->count; i++) {
        const struct host *host = hosts->list[i];
        if (host->port == wanted->port && host->guessed == wanted->guessed &&
            same_text(host->name, wanted->name) && same_text(host->user, wanted->user))
            return i;
    }
    if (hosts->count == hosts->capacity) {
        size_t capacity = hosts->capacity * 2 + 16;
        struct host **list = realloc(hosts->list, capacity * sizeof *list);
        if (list == NULL)
            return SIZE_MAX;
        hosts->list = list;
        hosts->capacity = capacity;
    }
    struct host *host = calloc(1, sizeof *host);
    if (host == NULL)
        return SIZE_MAX;
    *host = *wanted;
    host->name = strdup(wanted->name);
    host->user = wanted->user != NULL ? strdup(wanted->user) : NULL;
    if (host->name == NULL || (wanted->user != NULL && host->user == NULL) ||
        settings_init(&host->settings, host->name, host->user, host->port) != 0) {
        host_free(host);
        return SIZE_MAX;
    }
    hosts->list[hosts->count] = host;
    return hosts->count++;
}

size_t hosts_add(struct hosts *hosts, const char *name, const char *user, unsigned port)
{
    struct host wanted = {
        .name = (char *)(uintptr_t)name, .user = (char *)(uintptr_t)user, .port = port};
    size_t index = add(hosts, &wanted);
    hosts->short_of_memory |= index == SIZE_MAX;
    return index;
}

/* --- who is on the way ----------------------------------------------------------------- */

static void add_hop(struct hosts *hosts, struct host *host, struct host *hop)
{
    if (hop->name[0] == '\0' || host->hop_count == HOPS_MAX || host->depth >= DEPTH_MAX)
        return;
    hop->depth = host->depth + 1;
    size_t index = add(hosts, hop);
    if (index == SIZE_MAX)
        hosts->short_of_memory = true;
    else if (hosts->list[index] != host)
        host->hops[host->hop_count++] = index;
}

/* "[ssh://][user@]host[:port]", an IPv6 address in brackets. */
static void add_jump(struct hosts *hosts, struct host *host, char *jump)
{
    struct host hop = {.name = jump};
    if (strncmp(jump, "ssh://", 6) == 0)
        hop.name += 6;
    char *at = strrchr(hop.name, '@');
    if (at != NULL) {
        *at = '\0';
        hop.user = hop.name;
        hop.name = at + 1;
    }
    char *bracket = hop.name[0] == '[' ? strchr(hop.name, ']') : NULL;
    char *colon = strchr(bracket != NULL ? bracket : hop.name, ':');
    if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *colon = '\0';
        hop.port = (unsigned)strtoul(colon + 1, NULL, 10);
    }
    if (bracket != NULL) {
        *bracket = '\0';
        hop.name++;
    }
    add_hop(hosts, host, &hop);
}

/* Could it be a host, and another than the one that the command leads to? */
static bool may_be_host(const struct host *host, const char *word)
{
    return word[0] != '-' && strlen(word) < 256 && strspn(word, "0123456789") != strlen(word) &&
           strcasecmp(word, host->name) != 0 && strcasecmp(word, host->settings.host) != 0;
}

/* Nobody can know which words of a command are hosts; those that name a target matter, and one too
 * many only makes that one wait. */
static void add_command_words(struct hosts *hosts, struct host *host, char *command)
{
    char *save = NULL;
    static const char between[] = " \t'\"=,@[]/";
    for (char *word = strtok_r(command, between, &save); word != NULL;
         word = strtok_r(NULL, between, &save)) {
        char *colon = strchr(word, ':');
        if (colon != NULL && strchr(colon + 1, ':') == NULL)
            *colon = '\0';
        struct host hop = {.name = word, .guessed = true};
        if (may_be_host(host, word))
            add_hop(hosts, host, &hop);
    }
}

static void find_hops(struct hosts *hosts, struct host *host)
{
    const struct settings *settings = &host->settings;
    char *text = NULL, *save = NULL;
    if (settings->proxy_command != NULL)
        text = settings_expand(settings, settings->proxy_command);
    else if (settings->proxy_jump != NULL)
        text = strdup(settings->proxy_jump);
    if (text == NULL)
        return;
    if (settings->proxy_command != NULL)
        add_command_words(hosts, host, text);
    else
        for (char *jump = strtok_r(text, ",", &save); jump != NULL;
             jump = strtok_r(NULL, ",", &save))
            add_jump(hosts, host, jump);
    free(text);
}

/* --- asking ssh ------------------------------------------------------------------------ */

struct slot {
    struct hosts *hosts;
    struct host *host; /* NULL: idle */
    struct settings_reader *reader;
    uv_timer_t timer;
};

static void slot_finish(struct slot *slot, struct settings *settings)
{
    struct host *host = slot->host;
    if (settings != NULL) {
        settings_free(&host->settings);
        host->settings = *settings;
        memset(settings, 0, sizeof *settings);
    }
    host->known = true;
    uv_timer_stop(&slot->timer);
    settings_read_stop(slot->reader);
    slot->reader = NULL;
    slot->host = NULL;
    find_hops(slot->hosts, host);
}

/* What cannot be read is told where the device is connected to. */
static void slot_read_callback(struct settings *settings, const struct error *err, void *arg)
{
    (void)err;
    slot_finish(arg, settings);
}

static void slot_timer_callback(uv_timer_t *timer)
{
    slot_finish(timer->data, NULL);
}

static void slot_start(struct slot *slot, struct host *host, uint64_t patience)
{
    struct settings_query query = {.name = host->name,
                                   .host = host->name,
                                   .user = host->user,
                                   .ssh_config = slot->hosts->ssh_config,
                                   .port = host->port,
                                   .cache = slot->hosts->cache};
    slot->host = host;
    slot->reader = settings_read_start(slot->timer.loop, &query, slot_read_callback, slot);
    uv_timer_start(&slot->timer, slot_timer_callback, slot->reader != NULL ? patience : 0, 0);
}

/* True while there is something to wait for. The list grows meanwhile. */
static bool slots_fill(struct slot *slots, struct hosts *hosts, size_t *next, uint64_t patience)
{
    bool busy = false;
    for (size_t i = 0; i < READERS_MAX; i++) {
        if (slots[i].host == NULL && *next < hosts->count)
            slot_start(&slots[i], hosts->list[(*next)++], patience);
        busy |= slots[i].host != NULL;
    }
    return busy;
}

static void slot_closed_callback(uv_handle_t *handle)
{
    struct slot *slot = handle->data;
    slot->hosts = NULL;
}

int hosts_read(struct hosts *hosts, uv_loop_t *loop, uint64_t patience)
{
    struct slot slots[READERS_MAX];
    size_t next = 0;
    memset(slots, 0, sizeof slots);
    for (size_t i = 0; i < READERS_MAX; i++) {
        slots[i].hosts = hosts;
        uv_timer_init(loop, &slots[i].timer);
        slots[i].timer.data = &slots[i];
    }
    while (slots_fill(slots, hosts, &next, patience))
        uv_run(loop, UV_RUN_ONCE);
    for (size_t i = 0; i < READERS_MAX; i++)
        uv_close((uv_handle_t *)&slots[i].timer, slot_closed_callback);
    for (size_t i = 0; i < READERS_MAX; i++)
        while (slots[i].hosts != NULL)
            uv_run(loop, UV_RUN_ONCE);
    return hosts->short_of_memory ? -1 : 0;
}

/* --- addresses ------------------------------------------------------------------------- */

struct lookups {
    unsigned references; /* lookups under way, and hosts_resolve itself */
    bool over;           /* nobody waits any more */
};

struct lookup {
    uv_getaddrinfo_t request;
    struct lookups *all;
    struct host *host;
};

static void lookups_unref(struct lookups *all)
{
    if (--all->references == 0)
        free(all);
}

static void lookup_callback(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *lookup = (struct lookup *)request;
    struct host *host = lookup->host;
    bool wanted = status == 0 && !lookup->all->over;
    for (struct addrinfo *info = found; wanted && info != NULL; info = info->ai_next)
        if (host->address_count < ADDRESSES_MAX &&
            getnameinfo(info->ai_addr, info->ai_addrlen, host->addresses[host->address_count],
                        sizeof host->addresses[0], NULL, 0, NI_NUMERICHOST) == 0)
            host->address_count++;
    uv_freeaddrinfo(found);
    lookups_unref(lookup->all);
    free(lookup);
}

static void lookup_start(struct lookups *all, struct host *host, uv_loop_t *loop)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL)
        return;
    lookup->all = all;
    lookup->host = host;
    if (uv_getaddrinfo(loop, &lookup->request, lookup_callback, host->settings.host, NULL,
                       &hints) == 0)
        all->references++;
    else
        free(lookup);
}

static void patience_callback(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void patience_closed_callback(uv_handle_t *handle)
{
    *(bool *)handle->data = false;
}

void hosts_resolve(struct hosts *hosts, uv_loop_t *loop, uint64_t patience)
{
    bool flag = false; /* at first: out of patience; then: to be closed */
    uv_timer_t timer;
    struct lookups *all = calloc(1, sizeof *all);
    if (all == NULL)
        return;
    all->references = 1;
    uv_timer_init(loop, &timer);
    timer.data = &flag;
    uv_update_time(loop);
    uv_timer_start(&timer, patience_callback, patience, 0);
    for (size_t i = 0; i < hosts->count; i++)
        if (!hosts->list[i]->guessed && hosts->list[i]->hop_count == 0)
            lookup_start(all, hosts->list[i], loop);
    while (!flag && all->references > 1)
        uv_run(loop, UV_RUN_ONCE);
    all->over = true;
    lookups_unref(all);
    flag = true;
    uv_close((uv_handle_t *)&timer, patience_closed_callback);
    while (flag)
        uv_run(loop, UV_RUN_ONCE);
}

/* --- who is who ------------------------------------------------------------------------ */

static bool addresses_meet(const struct host *a, const struct host *b)
{
    for (size_t i = 0; i < a->address_count; i++)
        for (size_t k = 0; k < b->address_count; k++)
            if (strcmp(a->addresses[i], b->addresses[k]) == 0)
                return true;
    return false;
}

bool hosts_same(const struct host *hop, const struct host *target)
{
    const char *names[] = {hop->name, hop->settings.host};
    if (!hop->guessed && hop->settings.port != target->settings.port)
        return false;
    for (size_t i = 0; i < 2; i++)
        if (strcasecmp(names[i], target->name) == 0 ||
            strcasecmp(names[i], target->settings.host) == 0)
            return true;
    return addresses_meet(hop, target);
}

void hosts_free(struct hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        host_free(hosts->list[i]);
    free(hosts->list);
}
