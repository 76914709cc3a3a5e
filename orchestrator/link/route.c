/* SPDX-License-Identifier: Apache-2.0 */
#include "link/route.h"

#include "link/dial.h"
#include "link/process.h"
#include "link/settings_read.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GRACE_MS       300u /* for a proxy that is about to say what went wrong */
#define NOT_SENT_LIMIT (256 * 1024)

struct route {
    uv_loop_t *loop;
    struct settings_cache *cache;
    /* configuration, copied */
    char *name, *host, *user, *identity, *known_hosts, *ssh_config;
    unsigned port, other_port;
    uint64_t keepalive;
    const struct route_events *events;
    void *arg;

    enum route_stage stage;
    uint64_t deadline; /* uv_now milliseconds, of the dial */
    uv_timer_t timer;  /* grace */
    struct settings_reader *reader;
    struct settings settings;
    struct dial *dial;
    struct process *proxy;
    bool proxy_ended, awaited;
    int proxy_status; /* exit status, or -signal */
    char *via;        /* NULL: direct */
    char address[64];
};

static void route_fail(struct route *route, const struct error *err)
{
    route->events->failed(err, route->arg);
}

static void route_fail_memory(struct route *route)
{
    struct error err;
    error_set(&err, ERROR_IO, "%s: out of memory or descriptors", route->name);
    route_fail(route, &err);
}

static void route_hand_over(struct route *route, int fd)
{
    route->stage = ROUTE_READY;
    route->events->ready(fd, route->arg);
}

/* --- straight -------------------------------------------------------------------------- */

/* Small packets at once; a dead peer is noticed even with data under way; and little waits in the
 * kernel, so that keepalives are answered in time on slow lines and memory stays bounded. */
static void set_socket_options(const struct route *route, int fd)
{
    int on = 1, limit = NOT_SENT_LIMIT;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof limit);
    if (route->keepalive > 0) {
        unsigned patience = (unsigned)(route->keepalive * 3);
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
    }
}

static void route_dial_callback(int fd, const char *address, const struct error *err, void *arg)
{
    struct route *route = arg;
    if (fd < 0) {
        struct error named;
        error_set(&named, err->cls, "%s: %s", route->name, err->text);
        error_remedy(&named, "%s", err->remedy);
        route_fail(route, &named);
        return;
    }
    snprintf(route->address, sizeof route->address, "%s", address);
    dial_stop(route->dial);
    route->dial = NULL;
    set_socket_options(route, fd);
    route_hand_over(route, fd);
}

static void route_dial(struct route *route)
{
    uint64_t now = uv_now(route->loop);
    uint64_t left = route->deadline > now ? route->deadline - now : 1;
    route->stage = ROUTE_CONNECT;
    route->dial = dial_start(route->loop, route->settings.host, route->settings.port, left,
                             route_dial_callback, route);
    if (route->dial == NULL)
        route_fail_memory(route);
}

/* --- through a program ----------------------------------------------------------------- */

static void route_spoken(struct route *route)
{
    if (!route->awaited)
        return;
    route->awaited = false;
    uv_timer_stop(&route->timer);
    route->events->spoken(route->arg);
}

static void route_proxy_callback(const struct process_result *result, void *arg)
{
    struct route *route = arg;
    route->proxy_ended = true;
    route->proxy_status = result->signal != 0 ? -result->signal : result->exit_status;
    route_spoken(route);
}

static char *join_arguments(char *const *arguments)
{
    size_t size = 1;
    for (size_t i = 0; arguments[i] != NULL; i++)
        size += strlen(arguments[i]) + 1;
    char *text = calloc(1, size);
    for (size_t i = 0; arguments[i] != NULL && text != NULL; i++) {
        strcat(text, i > 0 ? " " : "");
        strcat(text, arguments[i]);
    }
    return text;
}

static void route_start_proxy(struct route *route, char *const *arguments)
{
    int pair[2];
    struct error err;
    bool shell = strcmp(arguments[0], "/bin/sh") == 0;
    route->via = shell ? strdup(arguments[2] + strlen("exec ")) : join_arguments(arguments);
    if (route->via == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        route_fail_memory(route);
        return;
    }
    int rc = process_start(route->loop, (const char *const *)arguments, pair[0],
                           route_proxy_callback, route, &route->proxy);
    close(pair[0]);
    if (rc != 0) {
        close(pair[1]);
        error_set(&err, ERROR_USAGE, "%s: its proxy '%s' cannot be started: %s", route->name,
                  arguments[0], uv_strerror(rc));
        error_remedy(&err, "install the OpenSSH client, or correct ProxyCommand");
        route_fail(route, &err);
        return;
    }
    route_hand_over(route, pair[1]);
}

/* --- which of them --------------------------------------------------------------------- */

/* Puts the other port where ssh's was. A command that does not take the port leads to ssh only. */
static int route_replace_port(struct route *route, struct error *err)
{
    struct settings *settings = &route->settings;
    if (route->other_port == 0)
        return 0;
    settings->port = route->other_port;
    if (settings->proxy_command == NULL || settings_command_takes_port(settings))
        return 0;
    error_set(err, ERROR_USAGE,
              "%s: port %u cannot be reached: the ssh configuration's ProxyCommand '%.160s' has no "
              "%%p and leads to the ssh port only",
              route->name, route->other_port, settings->proxy_command);
    return error_remedy(err, "write %%p for the port in its ProxyCommand, or use ProxyJump");
}

static void route_connect(struct route *route)
{
    struct error err;
    if (settings_override(&route->settings, route->identity, route->known_hosts) != 0) {
        route_fail_memory(route);
        return;
    }
    if (route_replace_port(route, &err) != 0) {
        route_fail(route, &err);
        return;
    }
    char **arguments = settings_proxy(&route->settings, route->ssh_config, &err);
    if (arguments != NULL) {
        route_start_proxy(route, arguments);
        free(arguments);
    } else if (err.cls != ERROR_NONE) {
        route_fail(route, &err);
    } else {
        route_dial(route);
    }
}

static void route_read_callback(struct settings *settings, const struct error *err, void *arg)
{
    struct route *route = arg;
    if (settings == NULL) {
        route_fail(route, err);
        return;
    }
    route->settings = *settings;
    memset(settings, 0, sizeof *settings);
    settings_read_stop(route->reader);
    route->reader = NULL;
    route_connect(route);
}

static void route_memory_callback(uv_timer_t *timer)
{
    route_fail_memory(timer->data);
}

void route_begin(struct route *route, uint64_t timeout)
{
    struct settings_query query = {.name = route->name,
                                   .host = route->host,
                                   .user = route->user,
                                   .ssh_config = route->ssh_config,
                                   .port = route->port,
                                   .cache = route->cache};
    route->deadline = uv_now(route->loop) + timeout;
    route->reader = settings_read_start(route->loop, &query, route_read_callback, route);
    if (route->reader == NULL)
        uv_timer_start(&route->timer, route_memory_callback, 0, 0);
}

/* --- what the owner asks --------------------------------------------------------------- */

enum route_stage route_stage(const struct route *route)
{
    return route->stage;
}

struct settings *route_settings(struct route *route)
{
    return &route->settings;
}

const char *route_address(const struct route *route)
{
    return route->address;
}

const char *route_via(const struct route *route)
{
    return route->via != NULL ? route->via : "direct";
}

void route_add_words(const struct route *route, struct error *err)
{
    if (route->proxy == NULL)
        return;
    char said[200], why[sizeof err->text];
    const char *text = process_err_text(route->proxy);
    const char *last = strrchr(text, '\n');
    snprintf(said, sizeof said, "%s", last != NULL && last[1] != '\0' ? last + 1 : text);
    snprintf(why, sizeof why, "%s", err->text);
    if (said[0] != '\0')
        snprintf(err->text, sizeof err->text, "%.180s; the proxy said: %.190s", why, said);
    else if (route->proxy_ended)
        snprintf(err->text, sizeof err->text, "%.250s; the proxy '%.80s' ended with status %d", why,
                 route->via, route->proxy_status);
}

static void route_grace_callback(uv_timer_t *timer)
{
    route_spoken(timer->data);
}

bool route_await_words(struct route *route)
{
    if (route->proxy == NULL || route->proxy_ended)
        return false;
    route->awaited = true;
    uv_timer_start(&route->timer, route_grace_callback, GRACE_MS, 0);
    return true;
}

/* --- life ------------------------------------------------------------------------------ */

static bool copy_string(char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static void route_free(struct route *route)
{
    settings_free(&route->settings);
    char *strings[] = {route->name,        route->host,       route->user, route->identity,
                       route->known_hosts, route->ssh_config, route->via};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        free(strings[i]);
    free(route);
}

static void route_closed_callback(uv_handle_t *handle)
{
    route_free(handle->data);
}

struct route *route_new(uv_loop_t *loop, struct settings_cache *cache,
                        const struct link_config *config, unsigned port,
                        const struct route_events *events, void *arg)
{
    struct route *route = calloc(1, sizeof *route);
    if (route == NULL)
        return NULL;
    bool ok = copy_string(&route->name, config->name != NULL ? config->name : config->host);
    ok &= copy_string(&route->host, config->host);
    ok &= copy_string(&route->user, config->user);
    ok &= copy_string(&route->identity, config->identity);
    ok &= copy_string(&route->known_hosts, config->known_hosts);
    ok &= copy_string(&route->ssh_config, config->ssh_config);
    if (!ok) {
        route_free(route);
        return NULL;
    }
    route->loop = loop;
    route->cache = cache;
    route->port = config->port;
    route->other_port = port;
    route->keepalive = config->keepalive;
    route->events = events;
    route->arg = arg;
    uv_timer_init(loop, &route->timer);
    route->timer.data = route;
    return route;
}

void route_stop(struct route *route)
{
    if (route == NULL)
        return;
    settings_read_stop(route->reader);
    route->reader = NULL;
    dial_stop(route->dial);
    route->dial = NULL;
    process_stop(route->proxy);
    route->proxy = NULL;
    uv_close((uv_handle_t *)&route->timer, route_closed_callback);
}
