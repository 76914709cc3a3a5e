/* SPDX-License-Identifier: Apache-2.0 */
/* A file on an http(s) server as a source. A connection that breaks is made again and goes on where
 * it stopped, as long as the server says by a strong validator that the file is still the same
 * (RFC 9110, 13.1.5). Proxies come from the environment, as with curl(1). */
#ifndef SOURCE_HTTP_H
#define SOURCE_HTTP_H

#include "source/source.h"

/* How patient to be. */
struct http_patience {
    unsigned connect_seconds, idle_seconds; /* without any byte */
    unsigned tries;                         /* again, in a row without getting on by a MiB */
    unsigned backoff_ms;                    /* before the first of them; doubled each time */
};

/* Asks for url and waits for the server's answer; its body is read by source_read. status (may be
 * NULL) gets the HTTP status, 0 when none came. patience NULL: the usual. Returns NULL with err:
 * ERROR_USAGE (no such file, no access, wrong certificate), ERROR_NETWORK or ERROR_TIMEOUT. */
struct source *http_source_open(const char *url, int cancel_fd,
                                const struct http_patience *patience, long *status,
                                struct error *err);

#endif
