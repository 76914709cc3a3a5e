/* SPDX-License-Identifier: Apache-2.0 */
/* Services that init scripts start and stop. Only what runs is stopped, in the order given, and
 * started again on undo in the reverse order. A script's exit status is not believed: what counts
 * is whether the service still runs. */
#include "initscript.h"

#include "../common/finish.h"

#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SURVEY_TIMEOUT_MS 30000u
#define POLL_MS           500u
#define TIMEOUT_MS        60000u
#define TIMEOUT_MAX_MS    600000u /* for each service */
#define SERVICES_MAX      64u
#define NAME_MAX_LENGTH   99u

struct service {
    char name[NAME_MAX_LENGTH + 1];
    const char *script; /* quoted, the host's memory; NULL: there is none */
    bool running;       /* at the last look */
    bool stop_asked;
    bool down; /* seen down after its stop */
};

struct work {
    const struct initscript_dialect *dialect;
    struct service services[SERVICES_MAX];
    size_t count;
    size_t at;   /* the service at hand */
    bool failed; /* something did not start again */
    uint64_t timeout_ms;
    uint64_t deadline;
    char first_error[300];
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Stopping these would cut the branch the flash sits on. */
static bool is_protected(const char *name)
{
    static const char *const needed[] = {
        "ssh*",      "dropbear*",      "tinyssh*",        "network*",     "ifup*",
        "dhcp*",     "udhcpc*",        "wpa_supplicant*", "iwd",          "connman*",
        "hostapd*",  "dbus*",          "messagebus",      "udev*",        "eudev*",
        "mdev*",     "mdevd*",         "watchdog*",       "wd_keepalive", "openvpn*",
        "wg-quick*", "NetworkManager", "net.*",           "devfs",        "localmount",
        "fsck",      "root",           "loopback",        "cgroups",
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (fnmatch(needed[i], name, 0) == 0)
            return true;
    }
    return false;
}

static bool is_service_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= NAME_MAX_LENGTH && name[0] != '-' && name[0] != '.' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "._@+-")] == '\0';
}

/* --- what runs -------------------------------------------------------------------------------- */

/* Runs a text of the dialect with the names of count services, from first on, as "$@". */
static void dialect_run(const struct ff_host *host, struct ff_target *target, const char *text,
                        size_t first, size_t count, ff_command_callback callback)
{
    struct work *work = target->policy_data;
    const char *folder = host->parameter(target, "scripts", 0);
    char *command = NULL;
    size_t size = 0;
    folder = host->quote(target, folder == NULL ? "/etc/init.d" : folder);
    FILE *stream = folder == NULL ? NULL : open_memstream(&command, &size);
    if (stream == NULL) {
        finish_no_memory(host, target);
        return;
    }
    /* Names were checked to be plain words. */
    fprintf(stream, "d=%s\nset --", folder);
    for (size_t i = first; i < first + count; i++)
        fprintf(stream, " %s", work->services[i].name);
    fprintf(stream, "\n%s", text);
    if (fclose(stream) != 0 || host->run(target, command, SURVEY_TIMEOUT_MS, callback, NULL) != 0)
        finish_no_memory(host, target);
    free(command);
}

static void survey_run(const struct ff_host *host, struct ff_target *target, size_t first,
                       size_t count, ff_command_callback callback)
{
    const struct work *work = target->policy_data;
    dialect_run(host, target, work->dialect->survey, first, count, callback);
}

/* Takes one line of the survey over; false when it is none. */
static bool survey_line(const struct ff_host *host, struct ff_target *target, const char *line)
{
    struct work *work = target->policy_data;
    char name[128], script[400], state[16];
    if (sscanf(line, "%127s %399s %15s", name, script, state) != 3)
        return false;
    for (size_t i = 0; i < work->count; i++) {
        struct service *service = &work->services[i];
        if (strcmp(service->name, name) != 0)
            continue;
        service->running = strcmp(state, "running") == 0;
        if (strcmp(state, "missing") != 0 && service->script == NULL)
            service->script = host->quote(target, script);
        return strcmp(state, "missing") == 0 || service->script != NULL;
    }
    return false;
}

/* False, and the end of it, when the device could not be asked. */
static bool answer_is_there(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result)
{
    const struct work *work = target->policy_data;
    char reason[300], detail[200];
    if (result->exit_status == 0)
        return true;
    if (result->exit_status == INITSCRIPT_NONE) {
        host->finish(target, FF_VERDICT_FAIL, work->dialect->none);
        return false;
    }
    result_describe(result, detail, sizeof detail);
    snprintf(reason, sizeof reason, "cannot ask which services run: %s", detail);
    host->finish(target, FF_VERDICT_FAIL, reason);
    return false;
}

static bool survey_read(const struct ff_host *host, struct ff_target *target,
                        const struct ff_result *result)
{
    if (!answer_is_there(host, target, result))
        return false;
    for (const char *line = result->out; *line != '\0';) {
        if (!survey_line(host, target, line))
            host->log(target, "unexpected output: %.*s", (int)strcspn(line, "\n"), line);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return true;
}

/* --- one service after the other -------------------------------------------------------------- */

static void stop_next(const struct ff_host *host, struct ff_target *target);

static void poll_callback(const struct ff_host *host, struct ff_target *target, void *data);

static void polled_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    struct service *service = &work->services[work->at];
    char reason[500];
    (void)data;
    if (!survey_read(host, target, result))
        return;
    if (!service->running) {
        service->down = true;
        work->at++;
        stop_next(host, target);
        return;
    }
    if (now_ms() < work->deadline) {
        if (host->after(target, POLL_MS, poll_callback, NULL) != 0)
            finish_no_memory(host, target);
        return;
    }
    snprintf(reason, sizeof reason, "%s still runs %llu s after its stop%s%s", service->name,
             (unsigned long long)(work->timeout_ms / 1000),
             work->first_error[0] == '\0' ? "" : "; ", work->first_error);
    host->finish(target, FF_VERDICT_FAIL, reason);
}

static void poll_callback(const struct ff_host *host, struct ff_target *target, void *data)
{
    struct work *work = target->policy_data;
    (void)data;
    survey_run(host, target, work->at, 1, polled_callback);
}

/* A script's exit status is not believed: what counts is whether the service still runs. */
static void stopped_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    work->first_error[0] = '\0';
    if (result->exit_status != 0) {
        result_describe(result, work->first_error, sizeof work->first_error);
        host->log(target, "stop of %s: %s", work->services[work->at].name, work->first_error);
    }
    poll_callback(host, target, data);
}

/* Runs a service's script. */
static int stop_service(const struct ff_host *host, struct ff_target *target,
                        const struct service *service)
{
    const struct work *work = target->policy_data;
    char *command;
    if (asprintf(&command, "%s stop </dev/null", service->script) < 0)
        return -1;
    int asked = host->run(target, command, (unsigned)work->timeout_ms, stopped_callback, NULL);
    free(command);
    return asked;
}

static void stop_next(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    while (work->at < work->count && !work->services[work->at].running)
        work->at++;
    if (work->at == work->count) {
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    struct service *service = &work->services[work->at];
    host->log(target, "stopping %s", service->name);
    work->deadline = now_ms() + work->timeout_ms;
    service->stop_asked = true;
    if (stop_service(host, target, service) != 0)
        finish_no_memory(host, target);
}

static void left_callback(const struct ff_host *host, struct ff_target *target,
                          const struct ff_result *result, void *data)
{
    (void)data;
    undo_left(host, target, result);
    stop_next(host, target);
}

/* What runs now, for whoever has to start it again instead of us: what is down then is started,
 * from the last one to the first. */
static bool leave_word(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    const char *folder = host->parameter(target, "scripts", 0);
    char *command = NULL;
    size_t size = 0, running = 0;
    folder = host->quote(target, folder == NULL ? "/etc/init.d" : folder);
    FILE *stream =
        folder == NULL || !FF_KNOWS(host, leave_undo) ? NULL : open_memstream(&command, &size);
    if (stream == NULL)
        return false;
    fprintf(stream, "d=%s\nset --", folder);
    for (size_t i = work->count; i-- > 0;) {
        if (work->services[i].running)
            fprintf(stream, " %s", work->services[i].name);
        running += work->services[i].running;
    }
    fprintf(stream,
            "\n(%s) | while read -r n s r; do\n"
            "  [ \"$r\" != stopped ] || \"$s\" start </dev/null >/dev/null 2>&1\ndone",
            work->dialect->survey);
    bool asked = fclose(stream) == 0 && running > 0 &&
                 host->leave_undo(target, command, left_callback, NULL) == 0;
    free(command);
    return asked;
}

static void surveyed_callback(const struct ff_host *host, struct ff_target *target,
                              const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    (void)data;
    if (!survey_read(host, target, result))
        return;
    for (size_t i = 0; i < work->count; i++) {
        if (work->services[i].script == NULL)
            host->log(target, "there is no service %s", work->services[i].name);
        else if (!work->services[i].running)
            host->log(target, "%s does not run", work->services[i].name);
    }
    if (!leave_word(host, target))
        stop_next(host, target);
}

/* --- what stops along with them --------------------------------------------------------------- */

static void work_add(struct work *work, const char *name)
{
    if (work->count < SERVICES_MAX)
        snprintf(work->services[work->count++].name, NAME_MAX_LENGTH + 1, "%s", name);
}

/* The names in the order in which they stop, those that the given ones would take along included.
 */
static void ordered_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    char name[NAME_MAX_LENGTH + 1], reason[300];
    int size;
    (void)data;
    if (!answer_is_there(host, target, result))
        return;
    work->count = 0;
    for (const char *at = result->out; sscanf(at, " %99s%n", name, &size) == 1; at += size) {
        if (!is_service_name(name))
            continue;
        if (is_protected(name)) {
            snprintf(reason, sizeof reason, "%s would stop too, and is needed by the flash itself",
                     name);
            host->finish(target, FF_VERDICT_FAIL, reason);
            return;
        }
        work_add(work, name);
    }
    survey_run(host, target, 0, work->count, surveyed_callback);
}

/* --- undo ------------------------------------------------------------------------------------- */

static void start_previous(const struct ff_host *host, struct ff_target *target);

static void started_callback(const struct ff_host *host, struct ff_target *target,
                             const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    const struct service *service = &work->services[work->at];
    char detail[200];
    (void)data;
    if (result->exit_status != 0) {
        result_describe(result, detail, sizeof detail);
        if (!work->failed)
            snprintf(work->first_error, sizeof work->first_error, "%.60s did not start: %.200s",
                     service->name, detail);
        work->failed = true;
    }
    start_previous(host, target);
}

/* The script's streams are cut off: a daemon would keep them open. A stop that was cut off may
 * still go on, so it is brought to its end first. */
static int start_service(const struct ff_host *host, struct ff_target *target,
                         const struct service *service)
{
    const struct work *work = target->policy_data;
    const char *script = service->script;
    char *command;
    int size = service->down ? asprintf(&command, "%s start </dev/null >/dev/null 2>&1", script)
                             : asprintf(&command,
                                        "%s stop </dev/null >/dev/null 2>&1; %s start </dev/null "
                                        ">/dev/null 2>&1",
                                        script, script);
    if (size < 0)
        return -1;
    int asked = host->run(target, command, 2 * (unsigned)work->timeout_ms, started_callback, NULL);
    free(command);
    return asked;
}

/* From the last one to the first; work->at is the one after the next. */
static void start_previous(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    while (work->at > 0) {
        const struct service *service = &work->services[--work->at];
        if (!service->stop_asked || (service->down && service->running))
            continue; /* not ours, or somebody has started it meanwhile */
        host->log(target, "starting %s", service->name);
        if (start_service(host, target, service) != 0)
            finish_no_memory(host, target);
        return;
    }
    host->finish(target, work->failed ? FF_VERDICT_FAIL : FF_VERDICT_GO, work->first_error);
}

static void undo_surveyed_callback(const struct ff_host *host, struct ff_target *target,
                                   const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    (void)data;
    if (!survey_read(host, target, result))
        return;
    work->at = work->count;
    work->failed = false;
    work->first_error[0] = '\0';
    start_previous(host, target);
}

/* --- the policy's calls
 * ------------------------------------------------------------------------------- */

static bool is_plain_folder(const char *folder)
{
    return folder[0] == '/' && strlen(folder) < 200 &&
           strcspn(folder, " \t\r\n'") == strlen(folder);
}

void initscript_check(const struct ff_host *host, struct ff_target *target)
{
    const char *name, *folder = host->parameter(target, "scripts", 0);
    size_t count = 0;
    for (; (name = host->parameter(target, "stop", count)) != NULL; count++) {
        if (!is_service_name(name))
            host->mistake(target, "stop", "'%.60s' is no name of a service", name);
    }
    if (count > SERVICES_MAX)
        host->mistake(target, "stop", "%zu services are too many, %u can be given", count,
                      SERVICES_MAX);
    if (folder != NULL && !is_plain_folder(folder))
        host->mistake(target, "scripts", "'%.60s' is no absolute path without spaces", folder);
    if (host->number(target, "timeout", 0) > TIMEOUT_MAX_MS)
        host->mistake(target, "timeout", "'timeout' is for each service and can be 10m at most");
}

void initscript_stop(const struct ff_host *host, struct ff_target *target,
                     const struct initscript_dialect *dialect)
{
    struct work *work = calloc(1, sizeof *work);
    const char *name;
    target->policy_data = work;
    if (work == NULL) {
        finish_no_memory(host, target);
        return;
    }
    work->dialect = dialect;
    work->timeout_ms = host->number(target, "timeout", TIMEOUT_MS);
    for (size_t i = 0; (name = host->parameter(target, "stop", i)) != NULL; i++) {
        if (!is_service_name(name) || work->count == SERVICES_MAX)
            host->log(target, "%s is no name of a service, left out", name);
        else if (is_protected(name))
            host->log(target, "%s is needed by the flash itself, left alone", name);
        else
            work_add(work, name);
    }
    /* What stops along is not known yet. */
    size_t most = dialect->order != NULL ? SERVICES_MAX : work->count;
    host->deadline(target,
                   (unsigned)work->timeout_ms * 2 * (unsigned)(most + 1) + 2 * SURVEY_TIMEOUT_MS);
    if (work->count == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else if (dialect->order != NULL)
        dialect_run(host, target, dialect->order, 0, work->count, ordered_callback);
    else
        survey_run(host, target, 0, work->count, surveyed_callback);
}

void initscript_undo(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    bool something = false;
    for (size_t i = 0; work != NULL && i < work->count; i++)
        something = something || work->services[i].stop_asked;
    if (!something) {
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    host->deadline(target,
                   (unsigned)work->timeout_ms * 2 * (unsigned)work->count + 2 * SURVEY_TIMEOUT_MS);
    survey_run(host, target, 0, work->count, undo_surveyed_callback);
}

void initscript_end(const struct ff_host *host, struct ff_target *target)
{
    (void)host;
    free(target->policy_data);
}
