/* SPDX-License-Identifier: Apache-2.0 */
/* A link's life: its turn, ssh's configuration, the connection, the handshake's thread, up, down.
 */
#include "link/internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define GRACE_MS       300u /* for a proxy that is about to say what went wrong */
#define NOT_SENT_LIMIT (256 * 1024)
#define AGENT_VARIABLE "SSH_AUTH_SOCK"

static void link_connect(struct link *link);

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
    process_stop(link->config_process);
    link->config_process = NULL;
    dial_stop(link->dial);
    link->dial = NULL;
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
    process_stop(link->proxy);
    link->proxy = NULL;
}

/* What the proxy said last, for the sentence of an error. */
static void add_proxy_words(struct link *link, struct error *err)
{
    if (link->proxy == NULL)
        return;
    char said[200], why[sizeof err->text];
    const char *text = process_err_text(link->proxy);
    const char *last = strrchr(text, '\n');
    snprintf(said, sizeof said, "%s", last != NULL && last[1] != '\0' ? last + 1 : text);
    snprintf(why, sizeof why, "%s", err->text);
    if (said[0] != '\0')
        snprintf(err->text, sizeof err->text, "%.180s; the proxy said: %.190s", why, said);
    else if (link->proxy_ended)
        snprintf(err->text, sizeof err->text, "%.250s; the proxy '%.80s' ended with status %d", why,
                 link->route, link->proxy_status);
}

void link_fail(struct link *link, const struct error *err)
{
    if (link->state == LINK_DOWN || link->closing)
        return;
    link->err = *err;
    add_proxy_words(link, &link->err);
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
    if (link->state == LINK_CONFIG)
        return "while ssh read its configuration";
    if (link->state == LINK_CONNECT)
        return "while connecting";
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
        .route = link->route != NULL ? link->route : "direct",
    };
    link_enter(link);
    if (link->events->up != NULL)
        link->events->up(link, &link->facts, link->arg);
    session_kick(link);
    link_leave(link);
}

static void link_grace_callback(uv_timer_t *timer)
{
    struct link *link = timer->data;
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
    if (link->proxy == NULL || link->proxy_ended || err.cls != ERROR_NETWORK) {
        link_fail(link, &err);
        return;
    }
    link->err = err;
    link->state = LINK_GRACE;
    uv_timer_start(&link->soon, link_grace_callback, GRACE_MS, 0);
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
    handshake->settings = link->settings;
    memset(&link->settings, 0, sizeof link->settings);
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

/* Small packets at once; a dead peer is noticed even with data under way; and little waits in the
 * kernel, so that keepalives are answered in time on slow lines and memory stays bounded. */
static void set_socket_options(const struct link *link, int fd)
{
    int on = 1, limit = NOT_SENT_LIMIT;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof limit);
    if (link->keepalive > 0) {
        unsigned patience = (unsigned)(link->keepalive * 3);
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
    }
}

static void link_dial_callback(int fd, const char *address, const struct error *err, void *arg)
{
    struct link *link = arg;
    if (fd < 0) {
        struct error named;
        error_set(&named, err->cls, "%s: %s", link->name, err->text);
        error_remedy(&named, "%s", err->remedy);
        link_fail(link, &named);
        return;
    }
    snprintf(link->peer_address, sizeof link->peer_address, "%s", address);
    dial_stop(link->dial);
    link->dial = NULL;
    set_socket_options(link, fd);
    link_start_handshake(link, fd);
}

static void link_proxy_callback(const struct process_result *result, void *arg)
{
    struct link *link = arg;
    link->proxy_ended = true;
    link->proxy_status = result->signal != 0 ? -result->signal : result->exit_status;
    if (link->state == LINK_GRACE)
        link_grace_callback(&link->soon);
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

static void link_start_proxy(struct link *link, char *const *arguments)
{
    int pair[2];
    struct error err;
    bool shell = strcmp(arguments[0], "/bin/sh") == 0;
    link->route = shell ? strdup(arguments[2] + strlen("exec ")) : join_arguments(arguments);
    if (link->route == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        link_fail_memory(link);
        return;
    }
    int rc = process_start(link->pool->loop, (const char *const *)arguments, pair[0],
                           link_proxy_callback, link, &link->proxy);
    close(pair[0]);
    if (rc != 0) {
        close(pair[1]);
        error_set(&err, ERROR_USAGE, "%s: its proxy '%s' cannot be started: %s", link->name,
                  arguments[0], uv_strerror(rc));
        error_remedy(&err, "install the OpenSSH client, or correct ProxyCommand");
        link_fail(link, &err);
        return;
    }
    link_start_handshake(link, pair[1]);
}

static void link_connect(struct link *link)
{
    struct error err;
    if (settings_override(&link->settings, link->identity, link->known_hosts) != 0) {
        link_fail_memory(link);
        return;
    }
    link->state = LINK_CONNECT;
    char **arguments = settings_proxy(&link->settings, link->ssh_config, &err);
    if (arguments != NULL) {
        link_start_proxy(link, arguments);
        free(arguments);
    } else if (err.cls != ERROR_NONE) {
        link_fail(link, &err);
    } else {
        link->dial = dial_start(link->pool->loop, link->settings.host, link->settings.port,
                                time_left(link), link_dial_callback, link);
        if (link->dial == NULL)
            link_fail_memory(link);
    }
}

static void link_config_callback(const struct process_result *result, void *arg)
{
    struct link *link = arg;
    struct error err;
    if (result->exit_status != 0) {
        error_set(&err, ERROR_USAGE, "%s: ssh does not accept its configuration: %s", link->name,
                  result->err_text);
        error_remedy(&err, "ssh -G %s shows what is wrong", link->host);
        link_fail(link, &err);
        return;
    }
    int rc = settings_parse(&link->settings, result->out);
    process_stop(link->config_process);
    link->config_process = NULL;
    if (rc != 0)
        link_fail_memory(link);
    else
        link_connect(link);
}

/* Without the ssh program there is nobody to read a configuration: fine as long as there is none.
 */
static bool config_exists(const struct link *link)
{
    char *path = link->ssh_config != NULL ? strdup(link->ssh_config)
                                          : settings_expand(&link->settings, "~/.ssh/config");
    bool exists = path != NULL && access(path, F_OK) == 0;
    free(path);
    return exists;
}

static void link_read_config(uv_timer_t *soon)
{
    struct link *link = soon->data;
    struct error err;
    char port[16];
    const char *arguments[12];
    size_t n = 0;
    if (settings_init(&link->settings, link->host, link->user, link->port) != 0) {
        link_fail_memory(link);
        return;
    }
    arguments[n++] = "ssh";
    arguments[n++] = "-G";
    if (link->ssh_config != NULL) {
        arguments[n++] = "-F";
        arguments[n++] = link->ssh_config;
    }
    if (link->user != NULL) {
        arguments[n++] = "-l";
        arguments[n++] = link->user;
    }
    if (link->port != 0) {
        snprintf(port, sizeof port, "%u", link->port);
        arguments[n++] = "-p";
        arguments[n++] = port;
    }
    arguments[n++] = "--";
    arguments[n++] = link->host;
    arguments[n] = NULL;
    int rc = process_start(link->pool->loop, arguments, -1, link_config_callback, link,
                           &link->config_process);
    if (rc == UV_ENOENT && !config_exists(link)) {
        link_connect(link);
    } else if (rc != 0) {
        error_set(&err, ERROR_USAGE,
                  "%s: the ssh program, which reads ssh's configuration, cannot be "
                  "started: %s",
                  link->name, uv_strerror(rc));
        error_remedy(&err, "install the OpenSSH client");
        link_fail(link, &err);
    }
}

void link_begin(struct link *link)
{
    link->state = LINK_CONFIG;
    uv_update_time(link->pool->loop);
    uv_timer_start(&link->timer, link_timeout_callback, link->connect_timeout, 0);
    uv_timer_start(&link->soon, link_read_config, 0, 0);
}

static void link_free_memory(struct link *link)
{
    handshake_free(link->kept);
    settings_free(&link->settings);
    char *strings[] = {link->name,        link->host,       link->user,        link->identity,
                       link->known_hosts, link->ssh_config, link->fingerprint, link->route};
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
    link->port = config->port;
    link->connect_timeout = config->connect_timeout > 0 ? config->connect_timeout : 1;
    link->keepalive = config->keepalive;
    bool ok = copy_string(&link->name, config->name != NULL ? config->name : config->host);
    ok &= copy_string(&link->host, config->host);
    ok &= copy_string(&link->user, config->user);
    ok &= copy_string(&link->identity, config->identity);
    ok &= copy_string(&link->known_hosts, config->known_hosts);
    ok &= copy_string(&link->ssh_config, config->ssh_config);
    ok &= copy_string(&link->fingerprint, config->fingerprint);
    return ok;
}

struct link *link_open(struct link_pool *pool, const struct link_config *config,
                       const struct link_events *events, void *arg)
{
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    if (!copy_config(link, config)) {
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
    pool_enqueue(link);
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
