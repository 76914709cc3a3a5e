/* SPDX-License-Identifier: Apache-2.0 */
/* A link's life: its turn, the route, the handshake's thread, up, down. */
#include "link/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define AGENT_VARIABLE "SSH_AUTH_SOCK"

void link_enter(struct link *link)
{
    link->busy++;
}

static void link_destroy(struct link *link);

void link_leave(struct link *link)
{
    if (link->busy == 1)
        channel_sweep(link);
    if (--link->busy == 0 && link->closing)
        link_destroy(link);
}

static uint64_t time_left(const struct link *link)
{
    uint64_t left = uv_timer_get_due_in(&link->timer);
    return left > 0 ? left : 1;
}

/* Lets go of everything that is under way. The session must not be on our stack (busy). */
static void link_stop_all(struct link *link)
{
    uv_timer_stop(&link->timer);
    uv_timer_stop(&link->soon);
    if (link->handshake != NULL) {
        /* Its thread gets errors from here on and ends; the pool frees what it leaves. */
        if (link->fd >= 0)
            shutdown(link->fd, SHUT_RDWR);
        link->handshake->owner = NULL;
        link->handshake = NULL;
    }
    agent_relay_stop(link->relay);
    link->relay = NULL;
    session_stop(link);
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    route_stop(link->route);
    link->route = NULL;
}

void link_fail(struct link *link, const struct error *err)
{
    if (link->state == LINK_DOWN || link->closing)
        return;
    link->err = *err;
    if (link->route != NULL)
        route_add_words(link->route, &link->err);
    pool_leave(link);
    link->state = LINK_DOWN;
    link_stop_all(link);
    link_enter(link);
    channel_orphan_all(link, &link->err);
    if (!link->closing && link->events->down != NULL)
        link->events->down(link, &link->err, link->arg);
    link_leave(link);
}

static void link_fail_memory(struct link *link)
{
    struct error err;
    error_set(&err, ERROR_IO, "%s: out of memory or descriptors", link->name);
    link_fail(link, &err);
}

static const char *stage_text(const struct link *link)
{
    if (link->state == LINK_ROUTE)
        return route_stage(link->route) == ROUTE_CONFIG ? "while ssh read its configuration"
                                                        : "while connecting";
    if (link->handshake == NULL)
        return "behind its proxy";
    switch (atomic_load(&link->handshake->stage)) {
    case STAGE_AUTH:
        return link->relay != NULL ? "while logging in (is the ssh agent answering?)"
                                   : "while logging in";
    case STAGE_HOSTKEY:
        return "while its host key was checked";
    default:
        return "in the ssh handshake";
    }
}

static void link_timeout_callback(uv_timer_t *timer)
{
    struct link *link = timer->data;
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "%s: no connection to %s within %.1f s: it hung %s", link->name,
              link->host, (double)link->connect_timeout / 1000.0, stage_text(link));
    error_remedy(&err, "check the device and the network, or raise connect_timeout");
    link_fail(link, &err);
}

static void link_keepalive_callback(uv_timer_t *timer)
{
    session_keepalive(timer->data);
}

static void link_up(struct link *link, struct handshake *handshake)
{
    struct error err;
    link->session = handshake->session;
    handshake->session = NULL;
    link->kept = handshake;
    if (session_start(link, &err) != 0) {
        link_fail(link, &err);
        return;
    }
    pool_leave(link);
    link->state = LINK_UP;
    uv_timer_stop(&link->timer);
    if (link->keepalive > 0)
        uv_timer_start(&link->timer, link_keepalive_callback, link->keepalive, link->keepalive);
    link->facts = (struct link_facts){
        .host_fingerprint = handshake->host_fingerprint,
        .host_key_type = handshake->host_key_type,
        .host_key_known = handshake->host_key_known,
        .cipher = link->cipher,
        .server_banner = link->banner,
        .peer_address = link->peer_address,
        .route = link->via,
    };
    link_enter(link);
    if (link->events->up != NULL)
        link->events->up(link, &link->facts, link->arg);
    session_kick(link);
    link_leave(link);
}

static void link_spoken_callback(void *arg)
{
    struct link *link = arg;
    struct error err = link->err;
    link_fail(link, &err);
}

void link_handshake_done(struct link *link, struct handshake *handshake)
{
    link->handshake = NULL;
    agent_relay_stop(link->relay);
    link->relay = NULL;
    if (handshake->ok) {
        link_up(link, handshake);
        return;
    }
    struct error err = handshake->err;
    handshake_free(handshake);
    if (err.cls != ERROR_NETWORK || !route_await_words(link->route)) {
        link_fail(link, &err);
        return;
    }
    link->err = err;
    link->state = LINK_GRACE;
}

/* The agent's socket: IdentityAgent, else the environment's. NULL: none. */
static const char *agent_path(const struct settings *settings, char *space, size_t size)
{
    const char *path = settings->identity_agent;
    if (path == NULL || strcmp(path, AGENT_VARIABLE) == 0)
        path = getenv(AGENT_VARIABLE);
    else if (strcasecmp(path, "none") == 0)
        return NULL;
    else if (path[0] == '$')
        path = getenv(path + 1);
    if (path == NULL || path[0] == '\0')
        return NULL;
    char *expanded = settings_expand(settings, path);
    if (expanded == NULL)
        return NULL;
    snprintf(space, size, "%s", expanded);
    free(expanded);
    return space;
}

/* fd is ours from here on. */
static void link_start_handshake(struct link *link, int fd)
{
    char path[512];
    struct handshake *handshake = handshake_new();
    link->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (handshake == NULL || link->fd < 0) {
        handshake_free(handshake);
        close(fd);
        link_fail_memory(link);
        return;
    }
    link->state = LINK_HANDSHAKE;
    handshake->fd = fd;
    handshake->settings = *route_settings(link->route);
    memset(route_settings(link->route), 0, sizeof handshake->settings);
    handshake->name = strdup(link->name);
    handshake->fingerprint = link->fingerprint != NULL ? strdup(link->fingerprint) : NULL;
    handshake->hostkey = link->hostkey;
    handshake->timeout = time_left(link);
    handshake->owner = link;
    const char *agent = agent_path(&handshake->settings, path, sizeof path);
    if (agent != NULL)
        link->relay =
            agent_relay_start(link->pool->loop, agent, &handshake->keys, &handshake->agent_fd);
    if (handshake->name == NULL || pool_start_handshake(link->pool, handshake) != 0) {
        agent_relay_stop(link->relay);
        link->relay = NULL;
        handshake_free(handshake);
        link_fail_memory(link);
        return;
    }
    link->handshake = handshake;
}

static void link_route_ready_callback(int fd, void *arg)
{
    struct link *link = arg;
    snprintf(link->peer_address, sizeof link->peer_address, "%s", route_address(link->route));
    link->via = strdup(route_via(link->route));
    if (link->via == NULL) {
        close(fd);
        link_fail_memory(link);
        return;
    }
    link_start_handshake(link, fd);
}

static void link_route_failed_callback(const struct error *err, void *arg)
{
    link_fail(arg, err);
}

static const struct route_events route_events = {.ready = link_route_ready_callback,
                                                 .failed = link_route_failed_callback,
                                                 .spoken = link_spoken_callback};

void link_begin(struct link *link)
{
    link->state = LINK_ROUTE;
    uv_update_time(link->pool->loop);
    uv_timer_start(&link->timer, link_timeout_callback, link->connect_timeout, 0);
    route_begin(link->route, link->connect_timeout);
}

static void link_free_memory(struct link *link)
{
    handshake_free(link->kept);
    char *strings[] = {link->name, link->host, link->fingerprint, link->via};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        free(strings[i]);
    free(link);
}

static bool copy_string(char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static bool copy_config(struct link *link, const struct link_config *config)
{
    link->hostkey = config->hostkey;
    link->connect_timeout = config->connect_timeout > 0 ? config->connect_timeout : 1;
    link->keepalive = config->keepalive;
    bool ok = copy_string(&link->name, config->name != NULL ? config->name : config->host);
    ok &= copy_string(&link->host, config->host);
    ok &= copy_string(&link->fingerprint, config->fingerprint);
    return ok;
}

/* Later, as any link comes up. */
static void link_local_callback(uv_timer_t *soon)
{
    struct link *link = soon->data;
    if (link->closing)
        return;
    link->state = LINK_UP;
    link->facts = (struct link_facts){
        .host_fingerprint = "",
        .host_key_type = "",
        .cipher = "no cipher",
        .server_banner = "this machine",
        .peer_address = "",
        .route = "local",
    };
    if (link->events->up != NULL)
        link->events->up(link, &link->facts, link->arg);
}

struct link *link_open(struct link_pool *pool, const struct link_config *config,
                       const struct link_events *events, void *arg)
{
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    if (!copy_config(link, config) ||
        (!config->is_local && (link->route = route_new(pool->loop, pool->settings, config, 0,
                                                       &route_events, link)) == NULL)) {
        link_free_memory(link);
        return NULL;
    }
    link->pool = pool;
    link->events = events;
    link->arg = arg;
    link->fd = -1;
    TAILQ_INIT(&link->channels);
    uv_timer_init(pool->loop, &link->timer);
    uv_timer_init(pool->loop, &link->soon);
    link->timer.data = link->soon.data = link;
    link->handles = 2;
    pool->links++;
    link->is_local = config->is_local;
    if (link->is_local) {
        link->state = LINK_ROUTE; /* in nobody's queue */
        uv_timer_start(&link->soon, link_local_callback, 0, 0);
    } else {
        pool_enqueue(link);
    }
    return link;
}

void link_handle_closed_callback(uv_handle_t *handle)
{
    struct link *link = handle->data;
    if (--link->handles > 0)
        return;
    struct link_pool *pool = link->pool;
    link_free_memory(link);
    pool_link_gone(pool);
}

static void link_destroy(struct link *link)
{
    link_stop_all(link);
    channel_forget_all(link);
    uv_close((uv_handle_t *)&link->timer, link_handle_closed_callback);
    uv_close((uv_handle_t *)&link->soon, link_handle_closed_callback);
}

bool link_is_up(const struct link *link)
{
    return link->state == LINK_UP;
}

void link_close(struct link *link)
{
    if (link == NULL || link->closing)
        return;
    struct error err;
    error_set(&err, ERROR_CANCELLED, "%s: the connection was closed", link->name);
    if (link->state != LINK_DOWN)
        pool_leave(link);
    link->closing = true;
    link_enter(link);
    channel_orphan_all(link, &err);
    link_leave(link);
}
