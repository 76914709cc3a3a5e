/* SPDX-License-Identifier: Apache-2.0 */
#include "link/dial.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attempt {
    uv_tcp_t tcp;
    uv_connect_t request;
    struct dial *dial; /* NULL: given up */
};

/* Outlives a dial that was stopped while the resolver was at work. */
struct lookup {
    uv_getaddrinfo_t request;
    struct dial *dial;
};

struct dial {
    uv_timer_t timer; /* share of the current attempt; 0 ms to leave the caller's stack */
    uv_loop_t *loop;
    char *host;
    unsigned port;
    uint64_t deadline; /* uv_now milliseconds */
    struct lookup *lookup;
    struct addrinfo *addresses;
    struct addrinfo *next;
    struct attempt *attempt;
    unsigned tried;
    struct error err;
    char address[INET6_ADDRSTRLEN + 20];
    dial_callback callback; /* NULL: told, or stopped */
    void *arg;
};

static void dial_try_next(struct dial *dial);

static void dial_finish(struct dial *dial, int fd)
{
    uv_timer_stop(&dial->timer);
    dial_callback callback = dial->callback;
    dial->callback = NULL;
    callback(fd, dial->address, fd >= 0 ? NULL : &dial->err, dial->arg);
}

static void attempt_closed_callback(uv_handle_t *handle)
{
    free(handle->data);
}

static void dial_drop_attempt(struct dial *dial)
{
    if (dial->attempt == NULL)
        return;
    dial->attempt->dial = NULL;
    uv_close((uv_handle_t *)&dial->attempt->tcp, attempt_closed_callback);
    dial->attempt = NULL;
}

static void dial_note_failure(struct dial *dial, const char *why, enum error_class cls)
{
    if (dial->tried > 1)
        error_set(&dial->err, cls, "cannot connect to %s: %u addresses tried, the last (%s) %s",
                  dial->host, dial->tried, dial->address, why);
    else
        error_set(&dial->err, cls, "cannot connect to %s%s%s port %u: %s", dial->host,
                  strcmp(dial->host, dial->address) == 0 ? "" : " at ",
                  strcmp(dial->host, dial->address) == 0 ? "" : dial->address, dial->port, why);
    error_remedy(&dial->err,
                 "check that the device is on, that %s is its address and that sshd "
                 "listens on port %u",
                 dial->host, dial->port);
}

static void dial_connected_callback(uv_connect_t *request, int status)
{
    struct attempt *attempt = request->data;
    struct dial *dial = attempt->dial;
    if (dial == NULL)
        return;
    int fd = -1;
    uv_os_fd_t own;
    if (status == 0 && uv_fileno((uv_handle_t *)&attempt->tcp, &own) == 0)
        fd = fcntl(own, F_DUPFD_CLOEXEC, 3);
    dial_drop_attempt(dial);
    if (fd >= 0) {
        dial_finish(dial, fd);
        return;
    }
    dial_note_failure(dial, status < 0 ? uv_strerror(status) : "no descriptor left", ERROR_NETWORK);
    dial_try_next(dial);
}

static void dial_timer_callback(uv_timer_t *timer)
{
    struct dial *dial = timer->data;
    if (dial->attempt != NULL) {
        dial_drop_attempt(dial);
        dial_note_failure(dial, "no answer in time", ERROR_TIMEOUT);
    }
    dial_try_next(dial);
}

static uint64_t dial_share(struct dial *dial)
{
    uint64_t now = uv_now(dial->loop);
    unsigned left = 0;
    for (struct addrinfo *info = dial->next; info != NULL; info = info->ai_next)
        left++;
    return now >= dial->deadline ? 1 : (dial->deadline - now) / (left + 1) + 1;
}

static int dial_begin_attempt(struct dial *dial, const struct addrinfo *info)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return UV_ENOMEM;
    attempt->dial = dial;
    attempt->request.data = attempt;
    int rc = uv_tcp_init(dial->loop, &attempt->tcp);
    attempt->tcp.data = attempt;
    if (rc != 0) {
        free(attempt);
        return rc;
    }
    dial->attempt = attempt;
    rc = uv_tcp_connect(&attempt->request, &attempt->tcp, info->ai_addr, dial_connected_callback);
    if (rc != 0)
        dial_drop_attempt(dial);
    return rc;
}

/* Starts on the next address; with none left, tells the owner. */
static void dial_try_next(struct dial *dial)
{
    while (dial->next != NULL) {
        const struct addrinfo *info = dial->next;
        dial->next = info->ai_next;
        dial->tried++;
        getnameinfo(info->ai_addr, info->ai_addrlen, dial->address, sizeof dial->address, NULL, 0,
                    NI_NUMERICHOST);
        int rc = dial_begin_attempt(dial, info);
        if (rc == 0) {
            uv_timer_start(&dial->timer, dial_timer_callback, dial_share(dial), 0);
            return;
        }
        dial_note_failure(dial, uv_strerror(rc), ERROR_NETWORK);
    }
    dial_finish(dial, -1);
}

static void dial_resolved_callback(uv_getaddrinfo_t *request, int status, struct addrinfo *result)
{
    struct lookup *lookup = (struct lookup *)request;
    struct dial *dial = lookup->dial;
    free(lookup);
    if (dial == NULL) {
        uv_freeaddrinfo(result);
        return;
    }
    dial->lookup = NULL;
    if (status != 0) {
        error_set(&dial->err, ERROR_NETWORK, "cannot resolve %s: %s", dial->host,
                  uv_strerror(status));
        error_remedy(&dial->err, "check the name, or give the device's address as host");
    }
    dial->addresses = dial->next = result;
    dial_try_next(dial);
}

/* A numeric address needs no resolver (and none of its threads). */
static bool dial_resolve_numeric(struct dial *dial, const struct addrinfo *hints, const char *port)
{
    struct addrinfo numeric = *hints;
    numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(dial->host, port, &numeric, &dial->addresses) != 0)
        return false;
    dial->next = dial->addresses;
    return true;
}

static void dial_resolve(struct dial *dial)
{
    char port[16];
    snprintf(port, sizeof port, "%u", dial->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (dial_resolve_numeric(dial, &hints, port)) {
        uv_timer_start(&dial->timer, dial_timer_callback, 0, 0);
        return;
    }
    int rc = UV_ENOMEM;
    dial->lookup = calloc(1, sizeof *dial->lookup);
    if (dial->lookup != NULL) {
        dial->lookup->dial = dial;
        rc = uv_getaddrinfo(dial->loop, &dial->lookup->request, dial_resolved_callback, dial->host,
                            port, &hints);
    }
    if (rc != 0) {
        free(dial->lookup);
        dial->lookup = NULL;
        error_set(&dial->err, ERROR_NETWORK, "cannot resolve %s: %s", dial->host, uv_strerror(rc));
        uv_timer_start(&dial->timer, dial_timer_callback, 0, 0);
    }
}

struct dial *dial_start(uv_loop_t *loop, const char *host, unsigned port, uint64_t timeout,
                        dial_callback callback, void *arg)
{
    struct dial *dial = calloc(1, sizeof *dial);
    if (dial == NULL)
        return NULL;
    dial->host = strdup(host);
    if (dial->host == NULL) {
        free(dial);
        return NULL;
    }
    dial->loop = loop;
    dial->port = port;
    dial->callback = callback;
    dial->arg = arg;
    dial->deadline = uv_now(loop) + timeout;
    uv_timer_init(loop, &dial->timer);
    dial->timer.data = dial;
    dial_resolve(dial);
    return dial;
}

static void dial_closed_callback(uv_handle_t *handle)
{
    struct dial *dial = handle->data;
    if (dial->addresses != NULL)
        freeaddrinfo(dial->addresses);
    free(dial->host);
    free(dial);
}

void dial_stop(struct dial *dial)
{
    if (dial == NULL)
        return;
    dial->callback = NULL;
    dial_drop_attempt(dial);
    if (dial->lookup != NULL) {
        dial->lookup->dial = NULL;
        uv_cancel((uv_req_t *)&dial->lookup->request);
        dial->lookup = NULL;
    }
    uv_close((uv_handle_t *)&dial->timer, dial_closed_callback);
}
