/* SPDX-License-Identifier: Apache-2.0 */
#include "source/http.h"

#include "source/transfer.h"
#include "source/url.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOT_ON       (1u << 20) /* bytes after which the count of tries begins anew */
#define BACKOFF_MOST 30000u     /* ms */

static const struct http_patience usual = {
    .connect_seconds = 30, .idle_seconds = 30, .tries = 6, .backoff_ms = 500};

struct http_source {
    struct source base;
    char *url;
    int cancel_fd;
    struct http_patience patience;
    struct transfer *transfer; /* NULL: to be opened again at base.offset */
    char validator[256];       /* of the first answer; "": none, so it cannot go on after a break */
    bool met;                  /* a first answer came */
    bool whole;                /* to the end */
    unsigned failures;         /* in a row … */
    uint64_t failed_at;        /* … and where the first of them was */
    long status;
};

/* Sleeps; -1 with err when cancelled meanwhile. */
static int back_off(struct http_source *http, struct error *err)
{
    unsigned wait = http->patience.backoff_ms << (http->failures - 1);
    struct pollfd cancel = {.fd = http->cancel_fd, .events = POLLIN};
    if (wait > BACKOFF_MOST)
        wait = BACKOFF_MOST;
    int ready = poll(&cancel, 1, (int)wait);
    if (ready > 0 || (ready < 0 && errno != EINTR))
        return error_set(err, ERROR_CANCELLED, "fetching %s was cancelled", http->base.name);
    return 0;
}

/* Counts a failure (reason). 0: try again; -1 with err, which says how often it was tried. */
static int count_failure(struct http_source *http, const struct error *reason, struct error *err)
{
    transfer_close(http->transfer);
    http->transfer = NULL;
    if (http->failures == 0 || http->base.offset >= http->failed_at + GOT_ON) {
        http->failures = 0;
        http->failed_at = http->base.offset;
    }
    if (http->failures++ < http->patience.tries)
        return back_off(http, err);
    error_set(err, reason->cls, "%.330s (at byte %llu, after %u tries)", reason->text,
              (unsigned long long)http->base.offset, http->failures);
    return error_remedy(err, "%s", reason->remedy);
}

static int changed_meanwhile(const struct http_source *http, struct error *err)
{
    error_set(err, ERROR_USAGE, "%.250s changed on the server while it was being fetched",
              http->base.name);
    return error_remedy(err, "start again when the new file is there completely");
}

/* A status that says no. */
static int status_refuse(const struct http_source *http, long status, struct error *err)
{
    const char *name = http->base.name;
    switch (status) {
    case 404:
    case 410:
        error_set(err, ERROR_USAGE, "the server has no %.250s (status %ld)", name, status);
        return error_remedy(err, "check the address");
    case 401:
    case 403:
        error_set(err, ERROR_USAGE, "the server does not give out %.250s (status %ld)", name,
                  status);
        return error_remedy(err, "check the address, and user and password in it");
    case 407:
        error_set(err, ERROR_USAGE, "the proxy on the way to %.250s wants to know who asks (407)",
                  name);
        return error_remedy(err, "put user and password into the proxy's environment variable");
    default:
        error_set(err, status >= 500 ? ERROR_NETWORK : ERROR_USAGE,
                  "the server answers the question for %.250s with status %ld", name, status);
        return error_remedy(err, status >= 500 ? "try again later" : "check the address");
    }
}

static bool status_is_passing(long status)
{
    return status == 408 || status == 429 || status >= 500;
}

/* What the first answer says is what every later one must say, too. */
static void answer_remember(struct http_source *http, const struct transfer_answer *answer)
{
    struct source_identity *identity = &http->base.identity;
    http->met = true;
    http->base.size = answer->size;
    strcpy(http->validator, answer->validator);
    int size =
        snprintf(identity->path, sizeof identity->path, "%s\n%s", http->url, answer->validator);
    identity->size = answer->size;
    identity->known = answer->validator[0] != '\0' && answer->size > 0 && size > 0 &&
                      (size_t)size < sizeof identity->path;
}

/* Is this the part that was asked for, of the same file? 0 or -1 with err. */
static int answer_judge(struct http_source *http, const struct transfer_answer *answer,
                        struct error *err)
{
    bool same = answer->size == http->base.size && strcmp(answer->validator, http->validator) == 0;
    if (!http->met && answer->status == 200)
        return answer_remember(http, answer), 0;
    if (answer->status == 416 || (answer->status / 100 == 2 && !same))
        return changed_meanwhile(http, err);
    if (answer->status == (http->base.offset == 0 ? 200 : 206) &&
        (http->base.offset == 0 || answer->from == http->base.offset))
        return 0;
    if (answer->status / 100 != 2)
        return status_refuse(http, answer->status, err);
    error_set(err, ERROR_NETWORK,
              "the connection broke at byte %llu of %.200s, and the server cannot go on from there",
              (unsigned long long)http->base.offset, http->base.name);
    return error_remedy(err, "try again, or fetch the file first");
}

/* Without a validator two halves of different files could be joined. */
static int check_resumable(const struct http_source *http, struct error *err)
{
    if (http->base.offset == 0 || http->validator[0] != '\0')
        return 0;
    error_set(err, ERROR_NETWORK,
              "the connection broke at byte %llu of %.200s, and the server gives no ETag or "
              "Last-Modified by which to go on",
              (unsigned long long)http->base.offset, http->base.name);
    return error_remedy(err, "try again, or fetch the file first");
}

/* One try to get a usable answer. 1 there is one; 0 try again; -1 with err. */
static int connect_once(struct http_source *http, struct error *err)
{
    struct error reason = {0};
    const struct http_patience *patience = &http->patience;
    http->transfer = transfer_open(http->url, http->base.name, http->base.offset, http->validator,
                                   patience->connect_seconds, err);
    if (http->transfer == NULL ||
        transfer_wait(http->transfer, true, http->cancel_fd, patience->idle_seconds, err) < 0)
        return -1;
    const struct transfer_answer *answer = transfer_answer(http->transfer);
    enum transfer_end end = transfer_end(http->transfer, &reason);
    if (end == TRANSFER_DEAD || (end == TRANSFER_BROKEN && !http->met && answer->status == 0)) {
        *err = reason; /* a wrong address, most likely: say so at once */
        return -1;
    }
    http->status = answer->status;
    if (status_is_passing(answer->status)) {
        status_refuse(http, answer->status, &reason);
        return count_failure(http, &reason, err);
    }
    if (end == TRANSFER_BROKEN && answer->status == 0)
        return count_failure(http, &reason, err);
    return answer_judge(http, answer, err) < 0 ? -1 : 1;
}

static int http_connect(struct http_source *http, struct error *err)
{
    int connected = check_resumable(http, err);
    while (connected == 0 && http->transfer == NULL)
        connected = connect_once(http, err);
    return connected < 0 ? -1 : 0;
}

/* The transfer has ended. 1 the file is complete; 0 go on; -1 with err. */
static int http_ended(struct http_source *http, struct error *err)
{
    struct error reason = {0};
    enum transfer_end end = transfer_end(http->transfer, &reason);
    const struct source *base = &http->base;
    if (end == TRANSFER_WHOLE && (base->size == 0 || base->offset == base->size))
        return 1;
    if (end == TRANSFER_DEAD) {
        *err = reason;
        return -1;
    }
    if (end == TRANSFER_WHOLE)
        error_set(&reason, ERROR_NETWORK, "%.250s ended early", base->name);
    return count_failure(http, &reason, err);
}

static ssize_t http_read(struct source *source, uint8_t *out, size_t size, struct error *err)
{
    struct http_source *http = (struct http_source *)source;
    while (!http->whole) {
        if (http->transfer == NULL && http_connect(http, err) < 0)
            return -1;
        size_t taken = transfer_take(http->transfer, out, size);
        if (taken > 0)
            return (ssize_t)taken;
        if (transfer_end(http->transfer, NULL) != TRANSFER_RUNS) {
            int ended = http_ended(http, err);
            if (ended < 0)
                return -1;
            http->whole = ended > 0;
        } else if (transfer_wait(http->transfer, false, http->cancel_fd,
                                 http->patience.idle_seconds, err) < 0)
            return -1;
    }
    return 0;
}

/* Every part that was fetched carried the first answer's validator. */
static int http_check(struct source *source, struct error *err)
{
    (void)source;
    (void)err;
    return 0;
}

static void http_close(struct source *source)
{
    struct http_source *http = (struct http_source *)source;
    transfer_close(http->transfer);
    free(http->url);
    free(http);
}

static const struct source_ops http_ops = {
    .read = http_read,
    .check = http_check,
    .close = http_close,
};

struct source *http_source_open(const char *url, int cancel_fd,
                                const struct http_patience *patience, long *status,
                                struct error *err)
{
    struct http_source *http = calloc(1, sizeof *http);
    if (status != NULL)
        *status = 0;
    if (http == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    http->base.ops = &http_ops;
    http->base.name = url_display(url);
    http->base.identity.remote = true;
    http->url = strdup(url);
    http->cancel_fd = cancel_fd;
    http->patience = patience != NULL ? *patience : usual;
    bool begun = source_begin_digest(&http->base) == 0;
    int result = begun && http->base.name != NULL && http->url != NULL
                     ? http_connect(http, err)
                     : error_set(err, ERROR_IO, "out of memory");
    if (status != NULL)
        *status = http->status;
    if (result == 0)
        return &http->base;
    source_close(&http->base);
    return NULL;
}
