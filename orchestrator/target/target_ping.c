/* SPDX-License-Identifier: Apache-2.0 */
/* reach: ping; one echo request by ping(8), because raw sockets need rights that we do not have. */
#include "target/target_internal.h"

#include <stdlib.h>

static void process_closed_callback(uv_handle_t *handle)
{
    free(handle);
}

static void ping_exit_callback(uv_process_t *process, int64_t status, int signal)
{
    struct target *target = process->data;
    uv_close((uv_handle_t *)process, process_closed_callback);
    if (target == NULL) /* target_disconnect has let go of it */
        return;
    target->ping = NULL;
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "no answer to ping");
    bool answered = status == 0 && signal == 0;
    target->pinged(target, answered ? NULL : &err);
}

void target_ping(struct target *target, void (*pinged)(struct target *, const struct error *))
{
    const struct target_spec *spec = target->status.spec;
    const char *host = spec->after.host != NULL ? spec->after.host : spec->host;
    char *args[] = {"ping", "-n", "-c", "1", "-W", "1", (char *)host, NULL};
    uv_process_options_t options = {.file = "ping", .args = args, .exit_cb = ping_exit_callback};
    struct error err;
    target->pinged = pinged;
    target->ping = calloc(1, sizeof *target->ping);
    if (target->ping == NULL) {
        error_set(&err, ERROR_IO, "out of memory");
        pinged(target, &err);
        return;
    }
    target->ping->data = target;
    int status = uv_spawn(target->env->loop, target->ping, &options);
    if (status != 0) {
        error_set(&err, ERROR_IO, "cannot run ping: %s", uv_strerror(status));
        uv_close((uv_handle_t *)target->ping, process_closed_callback);
        target->ping = NULL;
        pinged(target, &err);
    }
}
