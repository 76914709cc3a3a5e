/* SPDX-License-Identifier: Apache-2.0 */
#include "source/transfer.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define BUFFER_SIZE   (256u * 1024u) /* several times CURL_MAX_WRITE_SIZE */
#define REDIRECTS_MAX 10L
#define SETTLED_AFTER 60        /* s that a Last-Modified must be older than the answer's Date */
#define DATES_BEGIN   946684800 /* 2000: earlier ones (1970, 1980) are given to all files alike */
#define POLL_STEP     1000

struct transfer {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    char *name;
    struct transfer_answer answer;
    char etag[256], modified[64];
    time_t date;
    bool answered; /* all headers of the last answer are there */
    bool paused, ended;
    bool downgraded; /* a redirect led from https to http */
    bool idle;       /* given up for want of bytes */
    unsigned idle_seconds;
    CURLcode result;
    char detail[CURL_ERROR_SIZE];
    size_t begin, end; /* of what is in the buffer */
    uint64_t received; /* to see progress */
    uint8_t buffer[BUFFER_SIZE];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* "Name: value" → value without surrounding blanks, when the name is that one. */
static bool header_value(const char *line, size_t size, const char *name, char *out,
                         size_t out_size)
{
    size_t skip = strlen(name);
    if (size <= skip || strncasecmp(line, name, skip) != 0 || line[skip] != ':')
        return false;
    for (skip++; skip < size && (line[skip] == ' ' || line[skip] == '\t');)
        skip++;
    while (size > skip && strchr(" \t\r\n", line[size - 1]) != NULL)
        size--;
    if (size - skip >= out_size)
        return false;
    memcpy(out, line + skip, size - skip);
    out[size - skip] = '\0';
    return true;
}

/* Is the Last-Modified one that the file gets another of when it changes? */
static bool date_tells(const struct transfer *transfer)
{
    time_t modified = curl_getdate(transfer->modified, NULL); /* -1: no date */
    return modified >= DATES_BEGIN && transfer->date > 0 &&
           modified + SETTLED_AFTER <= transfer->date;
}

static void answer_complete(struct transfer *transfer)
{
    struct transfer_answer *answer = &transfer->answer;
    curl_off_t length = -1;
    /* What the file is called now is no weak validator: it says the bytes are the same. */
    if (transfer->etag[0] == '"')
        strcpy(answer->validator, transfer->etag);
    else if (date_tells(transfer))
        strcpy(answer->validator, transfer->modified);
    if (answer->status != 206 &&
        curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) ==
            CURLE_OK &&
        length > 0)
        answer->size = (uint64_t)length;
    transfer->answered = true;
}

/* Is this header a redirect from https to http? Its value may be of any length. */
static bool redirect_downgrades(const struct transfer *transfer, const char *line, size_t size)
{
    const char *scheme = NULL;
    size_t skip = 9;
    if (size <= skip || strncasecmp(line, "Location:", skip) != 0)
        return false;
    while (skip < size && (line[skip] == ' ' || line[skip] == '\t'))
        skip++;
    curl_easy_getinfo(transfer->easy, CURLINFO_SCHEME, &scheme);
    return scheme != NULL && strcasecmp(scheme, "https") == 0 && size - skip > 5 &&
           strncasecmp(line + skip, "http:", 5) == 0;
}

static size_t header_callback(char *line, size_t one, size_t size, void *arg)
{
    struct transfer *transfer = arg;
    struct transfer_answer *answer = &transfer->answer;
    char value[256];
    unsigned long long from, size_said;
    (void)one;
    if (size > 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        memset(answer, 0, sizeof *answer);
        transfer->etag[0] = transfer->modified[0] = '\0';
        transfer->date = 0;
        const char *blank = memchr(line, ' ', size);
        answer->status = blank != NULL ? strtol(blank, NULL, 10) : 0;
    } else if (header_value(line, size, "ETag", value, sizeof transfer->etag))
        strcpy(transfer->etag, value);
    else if (header_value(line, size, "Last-Modified", value, sizeof transfer->modified))
        strcpy(transfer->modified, value);
    else if (header_value(line, size, "Date", value, sizeof value))
        transfer->date = curl_getdate(value, NULL);
    else if (header_value(line, size, "Content-Range", value, sizeof value)) {
        int fields = sscanf(value, "bytes %llu-%*u/%llu", &from, &size_said);
        answer->from = fields >= 1 ? from : UINT64_MAX;
        answer->size = fields >= 2 ? size_said : 0;
    } else if (answer->status / 100 == 3 && redirect_downgrades(transfer, line, size)) {
        transfer->downgraded = true;
        return 0;
    } else if (size <= 2 && (answer->status / 100 == 2 || answer->status >= 400))
        answer_complete(transfer);
    return size;
}

static size_t body_callback(char *bytes, size_t one, size_t size, void *arg)
{
    struct transfer *transfer = arg;
    (void)one;
    transfer->received += size;
    if (transfer->answer.status / 100 != 2)
        return size; /* a page that explains the error */
    if (transfer->begin == transfer->end)
        transfer->begin = transfer->end = 0;
    if (size > BUFFER_SIZE - transfer->end) {
        transfer->received -= size;
        transfer->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    memcpy(transfer->buffer + transfer->end, bytes, size);
    transfer->end += size;
    return size;
}

/* libcurl itself does not look at these; curl(1) and OpenSSL do. */
static void use_certificates(CURL *easy)
{
    const char *file = getenv("CURL_CA_BUNDLE");
    if (file == NULL || *file == '\0')
        file = getenv("SSL_CERT_FILE");
    if (file != NULL && *file != '\0')
        curl_easy_setopt(easy, CURLOPT_CAINFO, file);
    const char *dir = getenv("SSL_CERT_DIR");
    if (dir != NULL && *dir != '\0')
        curl_easy_setopt(easy, CURLOPT_CAPATH, dir);
}

static bool add_header(struct transfer *transfer, const char *name, const char *value)
{
    char line[512];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(transfer->headers, line);
    if (longer != NULL)
        transfer->headers = longer;
    return longer != NULL;
}

/* A range as a header of our own: with CURLOPT_RESUME_FROM libcurl fails on a 200 before it can be
 * seen what the server says about it. */
static bool ask_for_rest(struct transfer *transfer, uint64_t from, const char *validator)
{
    char range[64];
    snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)from);
    return add_header(transfer, "Range", range) && add_header(transfer, "If-Range", validator);
}

static void transfer_configure(struct transfer *transfer, const char *url, unsigned connect_seconds)
{
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    bool secure = strncasecmp(url, "https:", 6) == 0;
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    /* HTTP/2 would let the server send 32 MiB into memory while we are paused. */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)connect_seconds);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "fleetflash");
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->detail);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_callback);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_callback);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    use_certificates(easy);
}

struct transfer *transfer_open(const char *url, const char *name, uint64_t from,
                               const char *validator, unsigned connect_seconds, struct error *err)
{
    pthread_once(&curl_once, curl_start);
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL)
        goto fail;
    transfer->name = strdup(name);
    transfer->multi = curl_multi_init();
    transfer->easy = curl_easy_init();
    if (transfer->name == NULL || transfer->multi == NULL || transfer->easy == NULL ||
        (from > 0 && !ask_for_rest(transfer, from, validator)))
        goto fail;
    transfer_configure(transfer, url, connect_seconds);
    if (curl_multi_add_handle(transfer->multi, transfer->easy) == CURLM_OK)
        return transfer;
fail:
    transfer_close(transfer);
    error_set(err, ERROR_IO, "out of memory");
    return NULL;
}

const struct transfer_answer *transfer_answer(const struct transfer *transfer)
{
    return &transfer->answer;
}

static void transfer_step(struct transfer *transfer)
{
    int running, left;
    if (transfer->paused && transfer->begin == transfer->end) {
        transfer->paused = false;
        curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    }
    curl_multi_perform(transfer->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(transfer->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE)
            continue;
        transfer->ended = true;
        transfer->result = message->data.result;
    }
}

static int64_t milliseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int transfer_wait(struct transfer *transfer, bool answer_only, int cancel_fd, unsigned idle_seconds,
                  struct error *err)
{
    int64_t since = milliseconds_now();
    uint64_t seen = transfer->received;
    transfer->idle_seconds = idle_seconds;
    while (!transfer->ended) {
        struct curl_waitfd cancel = {.fd = cancel_fd, .events = CURL_WAIT_POLLIN};
        transfer_step(transfer);
        if (transfer->ended || transfer->begin < transfer->end ||
            (answer_only && transfer->answered))
            return 0;
        int64_t now = milliseconds_now();
        if (transfer->received != seen)
            since = now;
        seen = transfer->received;
        if (now - since >= (int64_t)idle_seconds * 1000) {
            transfer->ended = transfer->idle = true;
            return 0;
        }
        curl_multi_poll(transfer->multi, &cancel, cancel_fd >= 0, POLL_STEP, NULL);
        if (cancel.revents != 0)
            return error_set(err, ERROR_CANCELLED, "fetching %s was cancelled", transfer->name);
    }
    return 0;
}

size_t transfer_take(struct transfer *transfer, uint8_t *out, size_t size)
{
    size_t take = transfer->end - transfer->begin;
    if (take > size)
        take = size;
    memcpy(out, transfer->buffer + transfer->begin, take);
    transfer->begin += take;
    return take;
}

/* Another try helps against these once the server has been reached. */
static bool result_is_passing(CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
        return true;
    default:
        return false;
    }
}

static enum transfer_end fail_certificate(const struct transfer *transfer, struct error *err)
{
    error_set(err, ERROR_USAGE, "the certificate of the server of %.150s is not to be trusted: %s",
              transfer->name, transfer->detail);
    error_remedy(err, "name the file with its authority's certificate in SSL_CERT_FILE, or "
                      "use the host name the certificate is for");
    return TRANSFER_DEAD;
}

static enum transfer_end fail_connect(const struct transfer *transfer, struct error *err)
{
    long number = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
    error_set(err, ERROR_NETWORK, "cannot connect to the server of %.200s: %s", transfer->name,
              number != 0 ? strerror((int)number) : transfer->detail);
    error_remedy(err, "check host, port and proxy, and that the server runs");
    return TRANSFER_BROKEN;
}

/* One sentence for each way in which libcurl fails. */
static enum transfer_end result_describe(const struct transfer *transfer, struct error *err)
{
    switch (transfer->result) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return fail_certificate(transfer, err);
    case CURLE_COULDNT_CONNECT:
        return fail_connect(transfer, err);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        error_set(err, ERROR_NETWORK, "cannot find the %s of %.200s: its name is not known",
                  transfer->result == CURLE_COULDNT_RESOLVE_HOST ? "host" : "proxy",
                  transfer->name);
        error_remedy(err, "check the spelling, and the name server");
        return TRANSFER_BROKEN;
    case CURLE_TOO_MANY_REDIRECTS:
        error_set(err, ERROR_USAGE, "%.250s leads from one place to the next, more than %ld times",
                  transfer->name, REDIRECTS_MAX);
        error_remedy(err, "give the address where the file is");
        return TRANSFER_DEAD;
    case CURLE_UNSUPPORTED_PROTOCOL:
        error_set(err, ERROR_USAGE, "%.250s leads to something that is neither http nor https",
                  transfer->name);
        error_remedy(err, "give the address where the file is");
        return TRANSFER_DEAD;
    case CURLE_URL_MALFORMAT:
        error_set(err, ERROR_USAGE, "%.250s is no address: %s", transfer->name, transfer->detail);
        error_remedy(err, "write it as https://HOST/PATH");
        return TRANSFER_DEAD;
    default:
        error_set(err, ERROR_NETWORK, "fetching %.200s failed: %.150s", transfer->name,
                  transfer->detail[0] != '\0' ? transfer->detail
                                              : curl_easy_strerror(transfer->result));
        error_remedy(err, "try again, or fetch it by hand to see what happens");
        return result_is_passing(transfer->result) ? TRANSFER_BROKEN : TRANSFER_DEAD;
    }
}

enum transfer_end transfer_end(const struct transfer *transfer, struct error *err)
{
    if (!transfer->ended)
        return TRANSFER_RUNS;
    if (transfer->idle) {
        error_set(err, ERROR_TIMEOUT, "the server of %.200s sent nothing for %u s", transfer->name,
                  transfer->idle_seconds);
        error_remedy(err, "try again; check the network and the server");
        return TRANSFER_BROKEN;
    }
    if (transfer->downgraded) {
        error_set(err, ERROR_USAGE, "%.250s leads from https to http, which anyone could change",
                  transfer->name);
        error_remedy(err, "give the address where the file is, as https");
        return TRANSFER_DEAD;
    }
    return transfer->result == CURLE_OK ? TRANSFER_WHOLE : result_describe(transfer, err);
}

void transfer_close(struct transfer *transfer)
{
    if (transfer == NULL)
        return;
    if (transfer->multi != NULL && transfer->easy != NULL)
        curl_multi_remove_handle(transfer->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    curl_multi_cleanup(transfer->multi);
    curl_slist_free_all(transfer->headers);
    free(transfer->name);
    free(transfer);
}
