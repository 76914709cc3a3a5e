/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what ssh's configuration says about one host: `ssh -G` in a child process, because
 * `Match exec` may run for as long as it likes. */
#ifndef LINK_SETTINGS_READ_H
#define LINK_SETTINGS_READ_H

#include "link/settings.h"
#include "link/settings_cache.h"

#include <uv.h>

struct settings_reader;

/* Copied by settings_read_start. */
struct settings_query {
    const char *name;       /* for messages */
    const char *host;       /* as the user wrote it */
    const char *user;       /* NULL: not given */
    const char *ssh_config; /* NULL: the default files */
    unsigned port;          /* 0: not given */
    /* What was read a moment ago is taken from it; it must live as long as the reader. NULL: ssh is
     * asked in any case. */
    struct settings_cache *cache;
};

/* settings: may be taken over (copy the struct, then zero it); freed otherwise. NULL: err says why.
 */
typedef void (*settings_read_callback)(struct settings *settings, const struct error *err,
                                       void *arg);

/* The callback runs once, later, unless settings_read_stop comes first. Without the ssh program and
 * without a configuration file the defaults hold. NULL when memory is short. */
struct settings_reader *settings_read_start(uv_loop_t *loop, const struct settings_query *query,
                                            settings_read_callback callback, void *arg);

/* Gives up and frees; also called after the callback has run. NULL is allowed. */
void settings_read_stop(struct settings_reader *reader);

#endif
