/* SPDX-License-Identifier: Apache-2.0 */
#include "run/notify.h"

#include "report/json_report.h"
#include "run/run_internal.h"

#include <stdlib.h>
#include <string.h>

#define NOTIFY_TIMEOUT_MS 60000u

/* Nothing waits for the answer; that it failed is worth a line, not another exit code. */
static void notify_callback(int exit_status, const char *out, const char *err, const char *error,
                            void *arg)
{
    struct run *run = arg;
    (void)out;
    if (exit_status > 0)
        run_message(run, LOG_WARNING, "the notify command ended with exit status %d: %.*s",
                    exit_status, (int)strcspn(err, "\r\n"), err);
    else if (exit_status < 0)
        run_message(run, LOG_WARNING, "the notify command %s", error);
}

void notify_send(struct run *run)
{
    const struct inventory *inventory = run->config.inventory;
    if (inventory->notify_command == NULL || run->config.check ||
        (run->view.exit_code == 0 && !inventory->notify_always))
        return;
    const char *const argv[] = {"/bin/sh", "-c", inventory->notify_command, NULL};
    char *report = report_text(&run->view);
    if (report == NULL || local_start(run->config.loop, argv, report, NOTIFY_TIMEOUT_MS,
                                      notify_callback, run) == NULL)
        run_message(run, LOG_WARNING, "no memory to run the notify command");
    free(report);
}
