/* SPDX-License-Identifier: Apache-2.0 */
/* Policy `systemd`: stops the units that match the inventory's patterns, together with what would
 * start them again and with what systemd takes along, waits until all of them are down, kills what
 * is not down in time, and starts exactly these again on undo.
 *
 *     stop: list-units → show of all triggers → show of what was found (again while that finds
 * more) → stop --no-block → show … until down → at the timeout: kill → show … → FAIL with the names
 *     undo: start --no-block → show … until up
 */
#include "protected.h"
#include "work.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS     90000u
#define TIMEOUT_MAX_MS 3000000u /* the host's bound on the whole is an hour */
#define NOT_SYSTEMD    99       /* exit status of our own command */

/* --- what else is concerned ------------------------------------------------------------------- */

static void show_new_units(const struct ff_host *host, struct ff_target *target);

/* Adds the units of a list that systemd stops with `cause`, or that would start it again. Protected
 * triggers are left out; protected units that would be taken along are looked at too (they may not
 * run). False when there are too many. */
static bool add_list(struct units *units, const char *list, size_t cause, bool triggers)
{
    char name[UNIT_NAME_MAX];
    for (size_t length; (length = word_next(&list)) > 0; list += length) {
        if (length >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)length, list);
        if (triggers && unit_is_protected(name))
            continue;
        if (units_add(units, list, length, cause) == NULL)
            return false;
    }
    return true;
}

/* A oneshot that has done its work long ago (and may have set up the network): nothing would stop,
 * and starting it again could do harm. */
static bool stop_changes_nothing(const struct unit_facts *facts)
{
    return facts->exited && !facts->stop_acts && facts->taken_along[0][0] == '\0' &&
           facts->taken_along[1][0] == '\0' && facts->taken_along[2][0] == '\0';
}

/* Decides about one unit. False when the whole stop cannot be (the verdict is given). */
static bool judge_unit(const struct ff_host *host, struct ff_target *target,
                       const struct unit_facts *facts)
{
    struct units *units = &((struct work *)target->policy_data)->units;
    struct unit *unit = units_find(units, facts->name);
    char reason[700];
    if (unit == NULL || unit->state != UNIT_NEW)
        return true;
    size_t index = (size_t)(unit - units->items);
    unit->state = UNIT_LEFT;
    if (!facts->running)
        return true;
    if (unit_is_protected(unit->name)) {
        snprintf(reason, sizeof reason,
                 "stopping %s would also stop %s, which the flash itself needs",
                 units_origin(units, unit)->name, unit->name);
        host->finish(target, FF_VERDICT_FAIL, reason);
        return false;
    }
    if (!facts->can_stop) {
        host->log(target, "%s does not allow to be stopped, left alone", unit->name);
        return true;
    }
    if (stop_changes_nothing(facts)) {
        host->log(target, "nothing of %s runs, left alone", unit->name);
        return true;
    }
    unit->state = UNIT_TO_STOP;
    unit->awaited = true;
    unit->was_starting = facts->starting;
    bool all = add_list(units, facts->triggered_by, index, true);
    for (size_t i = 0; all && i < sizeof facts->taken_along / sizeof *facts->taken_along; i++)
        all = add_list(units, facts->taken_along[i], index, false);
    if (!all)
        host->finish(target, FF_VERDICT_FAIL, "more than 512 units would have to stop");
    return all;
}

/* What `systemctl show` said, for the caller to free. NULL: it failed, and the target is finished.
 */
static char *shown_text(const struct ff_host *host, struct ff_target *target,
                        const struct ff_result *result)
{
    char *text = result->exit_status == 0 && !result->truncated ? strdup(result->out) : NULL;
    if (text == NULL)
        finish_failed(host, target, "systemctl show", result);
    return text;
}

static void shown_callback(const struct ff_host *host, struct ff_target *target,
                           const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    struct unit_facts facts;
    bool going = true;
    (void)data;
    char *text = shown_text(host, target, result), *cursor = text;
    if (text == NULL)
        return;
    size_t asked = work->units.count;
    while (going && unit_facts_read(&cursor, &facts))
        going = judge_unit(host, target, &facts);
    free(text);
    /* Units that systemctl kept silent about must not be asked for again and again. */
    for (size_t i = 0; i < asked && going; i++) {
        if (work->units.items[i].state == UNIT_NEW)
            work->units.items[i].state = UNIT_LEFT;
    }
    if (going)
        show_new_units(host, target);
}

static void show_new_units(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    if (units_count(&work->units, UNIT_NEW) == 0)
        work_stop(host, target);
    else
        work_run(host, target,
                 "show -p Id -p ActiveState -p SubState -p ExecStop -p ExecStopPost -p CanStop -p "
                 "RequiredBy -p BoundBy "
                 "-p ConsistsOf -p TriggeredBy",
                 UNIT_NEW, false, COMMAND_TIMEOUT_MS, shown_callback);
}

/* --- matching --------------------------------------------------------------------------------- */

/* Each line of list-units begins with the unit's name. */
static bool add_listed(const struct ff_host *host, struct ff_target *target, const char *line)
{
    struct work *work = target->policy_data;
    char name[UNIT_NAME_MAX];
    size_t length = word_next(&line);
    if (length == 0 || length >= sizeof name)
        return true;
    snprintf(name, sizeof name, "%.*s", (int)length, line);
    if (unit_is_protected(name)) {
        host->log(target, "%s matches but the flash itself needs it, left alone", name);
        return true;
    }
    return units_add(&work->units, name, length, work->units.count) != NULL;
}

static void log_unmatched(const struct ff_host *host, struct ff_target *target, const char *lines)
{
    struct work *work = target->policy_data;
    for (size_t i = 0; i < work->pattern_count; i++) {
        bool matched = false;
        for (const char *line = lines; *line != '\0' && !matched;) {
            char name[UNIT_NAME_MAX];
            size_t length = word_next(&line);
            snprintf(name, sizeof name, "%.*s", (int)length, line);
            matched = fnmatch(work->patterns[i], name, FNM_NOESCAPE) == 0;
            line += strcspn(line, "\n");
            line += *line == '\n';
        }
        if (!matched)
            host->log(target, "nothing that runs matches %s", work->patterns[i]);
    }
}

/* Whether a list names a unit that the patterns mean. */
static bool list_matches(const struct work *work, const char *list)
{
    char name[UNIT_NAME_MAX];
    for (size_t length; (length = word_next(&list)) > 0; list += length) {
        snprintf(name, sizeof name, "%.*s", (int)length, list);
        for (size_t i = 0; i < work->pattern_count && !unit_is_protected(name); i++) {
            if (fnmatch(work->patterns[i], name, FNM_NOESCAPE) == 0)
                return true;
        }
    }
    return false;
}

/* A timer or socket may start a matching unit, though that does not run now. */
static void triggers_callback(const struct ff_host *host, struct ff_target *target,
                              const struct ff_result *result, void *data)
{
    struct work *work = target->policy_data;
    struct unit_facts facts;
    bool all = true;
    (void)data;
    char *text = shown_text(host, target, result), *cursor = text;
    if (text == NULL)
        return;
    while (all && unit_facts_read(&cursor, &facts)) {
        if (facts.running && !unit_is_protected(facts.name) && list_matches(work, facts.triggers))
            all =
                units_add(&work->units, facts.name, strlen(facts.name), work->units.count) != NULL;
    }
    free(text);
    if (all)
        show_new_units(host, target);
    else
        host->finish(target, FF_VERDICT_FAIL, "more than 512 units would have to stop");
}

static void listed_callback(const struct ff_host *host, struct ff_target *target,
                            const struct ff_result *result, void *data)
{
    (void)data;
    if (result->exit_status == NOT_SYSTEMD) {
        host->finish(
            target, FF_VERDICT_FAIL,
            "the device does not run systemd (no /run/systemd/system); policy sysv may fit");
        return;
    }
    if (result->exit_status != 0) {
        finish_failed(host, target, "systemctl list-units", result);
        return;
    }
    bool all = !result->truncated;
    for (const char *line = result->out; *line != '\0' && all;) {
        all = add_listed(host, target, line);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    if (!all) {
        host->finish(target, FF_VERDICT_FAIL, "the patterns match more than 512 units");
        return;
    }
    log_unmatched(host, target, result->out);
    /* show takes patterns of loaded units; where none fits it prints nothing. */
    if (host->run(
            target,
            "LC_ALL=C systemctl show -p Id -p ActiveState -p Triggers -- '*.socket' '*.timer' "
            "'*.path'",
            COMMAND_TIMEOUT_MS, triggers_callback, NULL) != 0)
        finish_no_memory(host, target);
}

static void list_units(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    char *command = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&command, &size);
    bool complete = stream != NULL;
    if (complete)
        fprintf(stream,
                "[ -d /run/systemd/system ] || exit %d; LC_ALL=C systemctl list-units "
                "--plain --full --no-legend --no-pager "
                "--state=active,activating,reloading --",
                NOT_SYSTEMD);
    for (size_t i = 0; complete && i < work->pattern_count; i++) {
        const char *quoted = host->quote(target, work->patterns[i]);
        complete = quoted != NULL;
        fprintf(stream, " %s", complete ? quoted : "");
    }
    if (stream != NULL && fclose(stream) != 0)
        complete = false;
    if (!complete || host->run(target, command, COMMAND_TIMEOUT_MS, listed_callback, NULL) != 0)
        finish_no_memory(host, target);
    free(command);
}

/* --- patterns --------------------------------------------------------------------------------- */

/* Unit types that can be stopped: the others are systemd's scaffolding, or the fence's business. */
static const char *const stoppable[] = {".service", ".socket", ".timer", ".path", ".scope"};
static const char *const not_stoppable[] = {".mount",  ".automount", ".swap",
                                            ".target", ".slice",     ".device"};

static bool ends_in(const char *text, const char *const *suffixes, size_t count)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < count; i++) {
        size_t suffix = strlen(suffixes[i]);
        if (length > suffix && strcmp(text + length - suffix, suffixes[i]) == 0)
            return true;
    }
    return false;
}

static bool has_type(const char *pattern)
{
    return ends_in(pattern, stoppable, sizeof stoppable / sizeof *stoppable);
}

static void systemd_check(const struct ff_host *host, struct ff_target *target)
{
    const char *pattern;
    for (size_t i = 0; (pattern = host->parameter(target, "stop", i)) != NULL; i++) {
        size_t length = strlen(pattern);
        if (length == 0 || length > 200 || pattern[0] == '-' ||
            strcspn(pattern, " \t\r\n/") != length)
            host->mistake(target, "stop", "'%.60s' is no unit name or pattern", pattern);
        else if (ends_in(pattern, not_stoppable, sizeof not_stoppable / sizeof *not_stoppable))
            host->mistake(target, "stop",
                          "'%.60s': only service, socket, timer, path and scope units are stopped",
                          pattern);
    }
    if (host->number(target, "timeout", 0) > TIMEOUT_MAX_MS)
        host->mistake(target, "timeout", "'timeout' can be 50m at most");
}

/* As in systemctl, a name without a type means a service. */
static bool read_patterns(const struct ff_host *host, struct ff_target *target, struct work *work)
{
    const char *pattern;
    while ((pattern = host->parameter(target, "stop", work->pattern_count)) != NULL) {
        char **patterns =
            realloc(work->patterns, (work->pattern_count + 1) * sizeof *work->patterns);
        if (patterns == NULL)
            return false;
        work->patterns = patterns;
        size_t size = strlen(pattern) + sizeof ".service";
        char *whole = malloc(size);
        if (whole == NULL)
            return false;
        snprintf(whole, size, "%s%s", pattern, has_type(pattern) ? "" : ".service");
        work->patterns[work->pattern_count++] = whole;
    }
    return true;
}

/* --- the policy ------------------------------------------------------------------------------- */

static void systemd_stop(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = calloc(1, sizeof *work);
    target->policy_data = work;
    if (work == NULL || !read_patterns(host, target, work)) {
        finish_no_memory(host, target);
        return;
    }
    work->timeout_ms = host->number(target, "timeout", TIMEOUT_MS);
    /* Our own timeouts come first: they name the units. */
    host->deadline(target, (unsigned)work->timeout_ms + KILL_WAIT_MS + 8 * COMMAND_TIMEOUT_MS);
    list_units(host, target);
}

static void systemd_undo(const struct ff_host *host, struct ff_target *target)
{
    static const char *const scope[] = {".scope"};
    struct work *work = target->policy_data;
    for (size_t i = 0; work != NULL && i < work->units.count; i++) {
        struct unit *unit = &work->units.items[i];
        if (unit->state == UNIT_TO_STOP && ends_in(unit->name, scope, 1)) {
            host->log(target, "%s cannot be started again by systemd", unit->name);
            unit->state = UNIT_LEFT;
        }
    }
    if (work == NULL || !work->stop_asked || units_count(&work->units, UNIT_TO_STOP) == 0) {
        host->finish(target, FF_VERDICT_GO, NULL);
        return;
    }
    work_start(host, target);
}

static void systemd_end(const struct ff_host *host, struct ff_target *target)
{
    struct work *work = target->policy_data;
    (void)host;
    if (work == NULL)
        return;
    for (size_t i = 0; i < work->pattern_count; i++)
        free(work->patterns[i]);
    free(work->patterns);
    units_free(&work->units);
    free(work);
}

static const struct ff_parameter parameters[] = {
    {.key = "stop",
     .help = "units to stop: names or glob patterns; without a type a service is meant",
     .required = 1,
     .list = 1},
    {.key = "timeout",
     .help = "how long they may take to stop; default 90s",
     .type = FF_TYPE_DURATION},
    {.key = "kill", .help = "kill what is not down by then; default yes", .type = FF_TYPE_BOOL},
    {.key = NULL},
};

static const struct ff_policy policy = {
    FF_POLICY_HEADER,
    .name = "systemd",
    .longname = "systemd units",
    .description = "stops systemd units and what would start them again",
    .parameters = parameters,
    .check = systemd_check,
    .stop = systemd_stop,
    .undo = systemd_undo,
    .end = systemd_end,
};
FF_REGISTER_POLICY(policy)
