/* SPDX-License-Identifier: Apache-2.0 */
#include "finish.h"

#include <stdio.h>
#include <string.h>

void finish_no_memory(const struct ff_host *host, struct ff_target *target)
{
    host->finish(target, FF_VERDICT_FAIL, "no memory, or no link to the device");
}

void finish_failed(const struct ff_host *host, struct ff_target *target, const char *what,
                   const struct ff_result *result)
{
    char reason[300];
    const char *detail = result->error[0] != '\0' ? result->error
                         : result->err[0] != '\0' ? result->err
                                                  : "no message";
    snprintf(reason, sizeof reason, "%s failed (exit status %d): %.*s", what, result->exit_status,
             (int)strcspn(detail, "\r\n"), detail);
    host->finish(target, FF_VERDICT_FAIL, reason);
}

void result_describe(const struct ff_result *result, char *out, size_t out_size)
{
    if (result->error[0] != '\0')
        snprintf(out, out_size, "%s", result->error);
    else
        snprintf(out, out_size, "exit status %d%s%.*s", result->exit_status,
                 result->err[0] == '\0' ? "" : ": ", (int)strcspn(result->err, "\r\n"),
                 result->err);
}

void undo_left(const struct ff_host *host, struct ff_target *target, const struct ff_result *result)
{
    char detail[200];
    if (result->exit_status == 0)
        return;
    result_describe(result, detail, sizeof detail);
    host->log(target, "cannot leave word of what runs on the device: %s", detail);
}
