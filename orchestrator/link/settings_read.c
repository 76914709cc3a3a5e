/* SPDX-License-Identifier: Apache-2.0 */
#include "link/settings_read.h"

#include "link/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings_reader {
    uv_loop_t *loop;
    uv_timer_t soon; /* 0 ms: what must not run on the caller's stack */
    char *name, *host, *user, *ssh_config;
    unsigned port;
    struct settings_cache *cache;
    struct settings settings;
    struct process *process;
    settings_read_callback callback;
    void *arg;
};

static void reader_free(struct settings_reader *reader)
{
    settings_free(&reader->settings);
    free(reader->name);
    free(reader->host);
    free(reader->user);
    free(reader->ssh_config);
    free(reader);
}

static void reader_finish(struct settings_reader *reader, const struct error *err)
{
    process_stop(reader->process);
    reader->process = NULL;
    reader->callback(err == NULL ? &reader->settings : NULL, err, reader->arg);
}

static void reader_fail_memory(struct settings_reader *reader)
{
    struct error err;
    error_set(&err, ERROR_IO, "%s: out of memory", reader->name);
    reader_finish(reader, &err);
}

static struct settings_query reader_query(const struct settings_reader *reader)
{
    return (struct settings_query){.host = reader->host,
                                   .user = reader->user,
                                   .ssh_config = reader->ssh_config,
                                   .port = reader->port};
}

/* From what ssh printed, now or a moment ago. */
static void reader_finish_parsed(struct settings_reader *reader, const char *text)
{
    if (settings_parse(&reader->settings, text) != 0)
        reader_fail_memory(reader);
    else
        reader_finish(reader, NULL);
}

static void reader_process_callback(const struct process_result *result, void *arg)
{
    struct settings_reader *reader = arg;
    struct error err;
    if (result->exit_status != 0) {
        error_set(&err, ERROR_USAGE, "%s: ssh does not accept its configuration: %s", reader->name,
                  result->err_text);
        error_remedy(&err, "ssh -G %s shows what is wrong", reader->host);
        reader_finish(reader, &err);
        return;
    }
    struct settings_query query = reader_query(reader);
    if (reader->cache != NULL)
        settings_cache_keep(reader->cache, &query, result->out, uv_now(reader->loop));
    reader_finish_parsed(reader, result->out);
}

/* Without the ssh program there is nobody to read a configuration: fine as long as there is none.
 */
static bool config_exists(const struct settings_reader *reader)
{
    char *path = reader->ssh_config != NULL ? strdup(reader->ssh_config)
                                            : settings_expand(&reader->settings, "~/.ssh/config");
    bool exists = path != NULL && access(path, F_OK) == 0;
    free(path);
    return exists;
}

static int reader_spawn(struct settings_reader *reader)
{
    char port[16];
    const char *arguments[12];
    size_t n = 0;
    arguments[n++] = "ssh";
    arguments[n++] = "-G";
    if (reader->ssh_config != NULL) {
        arguments[n++] = "-F";
        arguments[n++] = reader->ssh_config;
    }
    if (reader->user != NULL) {
        arguments[n++] = "-l";
        arguments[n++] = reader->user;
    }
    if (reader->port != 0) {
        snprintf(port, sizeof port, "%u", reader->port);
        arguments[n++] = "-p";
        arguments[n++] = port;
    }
    arguments[n++] = "--";
    arguments[n++] = reader->host;
    arguments[n] = NULL;
    return process_start(reader->loop, arguments, -1, reader_process_callback, reader,
                         &reader->process);
}

static void reader_soon_callback(uv_timer_t *soon)
{
    struct settings_reader *reader = soon->data;
    struct error err;
    if (settings_init(&reader->settings, reader->host, reader->user, reader->port) != 0) {
        reader_fail_memory(reader);
        return;
    }
    struct settings_query query = reader_query(reader);
    const char *text = reader->cache != NULL
                           ? settings_cache_find(reader->cache, &query, uv_now(reader->loop))
                           : NULL;
    if (text != NULL) {
        reader_finish_parsed(reader, text);
        return;
    }
    int rc = reader_spawn(reader);
    if (rc == 0)
        return;
    if (rc == UV_ENOENT && !config_exists(reader)) {
        reader_finish(reader, NULL);
        return;
    }
    error_set(&err, ERROR_USAGE,
              "%s: the ssh program, which reads ssh's configuration, cannot be started: %s",
              reader->name, uv_strerror(rc));
    error_remedy(&err, "install the OpenSSH client");
    reader_finish(reader, &err);
}

static bool copy_string(char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

struct settings_reader *settings_read_start(uv_loop_t *loop, const struct settings_query *query,
                                            settings_read_callback callback, void *arg)
{
    struct settings_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return NULL;
    bool ok = copy_string(&reader->name, query->name);
    ok &= copy_string(&reader->host, query->host);
    ok &= copy_string(&reader->user, query->user);
    ok &= copy_string(&reader->ssh_config, query->ssh_config);
    if (!ok) {
        reader_free(reader);
        return NULL;
    }
    reader->loop = loop;
    reader->port = query->port;
    reader->cache = query->cache;
    reader->callback = callback;
    reader->arg = arg;
    uv_timer_init(loop, &reader->soon);
    reader->soon.data = reader;
    uv_timer_start(&reader->soon, reader_soon_callback, 0, 0);
    return reader;
}

static void reader_closed_callback(uv_handle_t *handle)
{
    reader_free(handle->data);
}

void settings_read_stop(struct settings_reader *reader)
{
    if (reader == NULL)
        return;
    process_stop(reader->process);
    reader->process = NULL;
    uv_close((uv_handle_t *)&reader->soon, reader_closed_callback);
}
