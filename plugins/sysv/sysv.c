/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `sysv`: stops services through their scripts in /etc/init.d, on boards with SysV init or
 * busybox. Only what runs is stopped, in the order given, and started again on undo in the reverse
 * order.
 *
 * Whether a service runs is asked in this order: the script's own `status` where it has one (LSB: 0
 * runs, 3 does not), its pid file, a process of its name.
 */
#include <fleetflash/policy.h>
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
#define NO_SCRIPTS        99 /* exit status of our own command */

/* Prints "NAME SCRIPT running|stopped" or "NAME - missing" for each name in "$@". A script may also
 * be called S40name, as buildroot does. `status` is only asked of a script with such a case label:
 * others answer anything. %s is the folder. */
static const char survey[] =
    "d=%s; [ -d \"$d\" ] || exit 99\n"
    "for n in \"$@\"; do\n"
    "  s=$d/$n; r=\n"
    "  if [ ! -x \"$s\" ]; then for c in \"$d\"/S[0-9][0-9]\"$n\"; do s=$c; done; fi\n"
    "  if [ ! -x \"$s\" ]; then echo \"$n - missing\"; continue; fi\n"
    "  if grep -Eq '(^|[^[:alnum:]_$])\"?status\"?[[:space:]]*[|)]' \"$s\"; then\n"
    "    \"$s\" status </dev/null >/dev/null 2>&1\n"
    "    case $? in 0) r=running ;; 3) r=stopped ;; esac\n"
    "  fi\n"
    "  for p in \"/run/$n.pid\" \"/var/run/$n.pid\" \"/run/$n/$n.pid\"; do\n"
    "    [ -z \"$r\" ] && [ -s \"$p\" ] && kill -0 \"$(head -n 1 \"$p\")\" 2>/dev/null && "
    "r=running\n"
    "  done\n"
    "  [ -z \"$r\" ] && pidof \"$n\" >/dev/null 2>&1 && r=running\n"
    "  echo \"$n $s ${r:-stopped}\"\n"
    "done";

struct service {
    const char *name;   /* the host's memory */
    const char *script; /* quoted, the host's memory; NULL: there is none */
    bool running;       /* at the last look */
    bool stop_asked;
    bool down; /* seen down after its stop */
};

struct work {
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
        "ssh*",         "dropbear*",       "tinyssh*",  "network*",       "ifup*",    "dhcp*",
        "udhcpc*",      "wpa_supplicant*", "iwd",       "connman*",       "hostapd*", "dbus*",
        "messagebus",   "udev*",           "eudev*",    "mdev*",          "mdevd*",   "watchdog*",
        "wd_keepalive", "openvpn*",        "wg-quick*", "NetworkManager",
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (fnmatch(needed[i], name, 0) == 0)
            return true;
    }
    return false;
}

static void finish_no_memory(const struct ff_host *host, struct ff_target *target)
{
    host->finish(target, FF_VERDICT_FAIL, "no memory, or no link to the device");
}

/* "exit status 1: first line of stderr" or why it did not run. */
static void describe(const struct ff_result *result, char *out, size_t out_size)
{
    if (result->error[0] != '\0')
        snprintf(out, out_size, "%s", result->error);
    else
        snprintf(out, out_size, "exit status %d%s%.*s", result->exit_status,
                 result->err[0] == '\0' ? "" : ": ", (int)strcspn(result->err, "\r\n"),
                 result->err);
}

/* --- what runs -------------------------------------------------------------------------------- */

/* Asks about the services from first on, count of them. */
static void survey_run(const struct ff_host *host, struct ff_target *target, size_t first,
                       size_t count, ff_command_callback callback)
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
    fprintf(stream, "set --");
    for (size_t i = first; i < first + count; i++)
        fprintf(stream, " %s", work->services[i].name);
    fputc('\n', stream);
    fprintf(stream, survey, folder);
    if (fclose(stream) != 0 || host->run(target, command, SURVEY_TIMEOUT_MS, callback, NULL) != 0)
        finish_no_memory(host, target);
    free(command);
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

static bool survey_read(const struct ff_host *host, struct ff_target *target,
                        const struct ff_result *result)
{
    char reason[300], detail[200];
    if (result->exit_status == NO_SCRIPTS) {
        host->finish(target, FF_VERDICT_FAIL,
                     "the device has no /etc/init.d; policy systemd may fit");
        return false;
    }
    if (result->exit_status != 0) {
        describe(result, detail, sizeof detail);
        snprintf(reason, sizeof reason, "cannot ask which services run: %s", detail);
        host->finish(target, FF_VERDICT_FAIL, reason);
        return false;
    }
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
        describe(result, work->first_error, sizeof work->first_error);
        host->log(target, "stop of %s: %s", work->services[work->at].name, work->first_error);
    }
    poll_callback(host, target, data);
}

/* Runs a service's script. */
static int stop_service(const struct ff_host *host, struct ff_target *target,
                        const struct service *service)
{
    const struct work *work = target->policy_data;
    char command[800];
    snprintf(command, sizeof command, "%s stop </dev/null", service->script);
    return host->run(target, command, (unsigned)work->timeout_ms, stopped_callback, NULL);
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
    stop_next(host, target);
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
        describe(result, detail, sizeof detail);
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
    char command[1200];
    int size = 0;
    if (!service->down)
        size = snprintf(command, sizeof command, "%s stop </dev/null >/dev/null 2>&1; ", script);
    snprintf(command + size, sizeof command - (size_t)size, "%s start </dev/null >/dev/null 2>&1",
             script);
    return host->run(target, command, 2 * (unsigned)work->timeout_ms, started_callback, NULL);
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

/* --- the policy ------------------------------------------------------------------------------- */

static bool is_service_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < 100 && name[0] != '-' && name[0] != '.' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "._@+-")] == '\0';
}

static bool is_plain_folder(const char *folder)
{
    return folder[0] == '/' && strlen(folder) < 200 &&
           strcspn(folder, " \t\r\n'") == strlen(folder);
}

static void sysv_check(const struct ff_host *host, struct ff_target *target)
{
    const char *name, *folder = host->parameter(target, "scripts", 0);
    size_t count = 0;
    for (; (name = host->parameter(target, "stop", count)) != NULL; count++) {
        if (!is_service_name(name))
            host->mistake(target, "stop", "'%.60s' is no name of a service in /etc/init.d", name);
    }
    if (count > SERVICES_MAX)
        host->mistake(target, "stop", "%zu services are too many, %u can be given", count,
                      SERVICES_MAX);
    if (folder != NULL && !is_plain_folder(folder))
        host->mistake(target, "scripts", "'%.60s' is no absolute path without spaces", folder);
    if (host->number(target, "timeout", 0) > TIMEOUT_MAX_MS)
        host->mistake(target, "timeout", "'timeout' is for each service and can be 10m at most");
}

static void sysv_stop(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = calloc(1, sizeof *work);
    const char *name;
    target->policy_data = work;
    if (work == NULL) {
        finish_no_memory(host, target);
        return;
    }
    work->timeout_ms = host->number(target, "timeout", TIMEOUT_MS);
    for (size_t i = 0; (name = host->parameter(target, "stop", i)) != NULL; i++) {
        if (!is_service_name(name) || work->count == SERVICES_MAX)
            host->log(target, "%s is no name of a service, left out", name);
        else if (is_protected(name))
            host->log(target, "%s is needed by the flash itself, left alone", name);
        else
            work->services[work->count++].name = name;
    }
    host->deadline(target, (unsigned)work->timeout_ms * 2 * (unsigned)(work->count + 1) +
                               SURVEY_TIMEOUT_MS);
    if (work->count == 0)
        host->finish(target, FF_VERDICT_GO, NULL);
    else
        survey_run(host, target, 0, work->count, surveyed_callback);
}

static void sysv_undo(const struct ff_host *host, struct ff_target *target)
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

static void sysv_end(const struct ff_host *host, struct ff_target *target)
{
    (void)host;
    free(target->policy_data);
}

static const struct ff_parameter parameters[] = {
    {.key = "stop",
     .help = "services to stop, in this order: names of scripts in /etc/init.d",
     .required = 1,
     .list = 1},
    {.key = "timeout",
     .help = "how long each may take to stop; default 60s",
     .type = FF_TYPE_DURATION},
    {.key = "scripts", .help = "folder of the scripts; default /etc/init.d"},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,
    .name = "sysv",
    .longname = "SysV init scripts",
    .description = "stops services through their scripts in /etc/init.d",
    .parameters = parameters,
    .check = sysv_check,
    .stop = sysv_stop,
    .undo = sysv_undo,
    .end = sysv_end,
};
FF_REGISTER_POLICY(policy)
