/* SPDX-License-Identifier: Apache-2.0 */
#include "report/junit_report.h"

#include "base/units.h"
#include "report/fleet.h"
#include "report/summary.h"
#include "report/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct suite_tally {
    size_t tests, failures, errors, skipped;
    uint64_t milliseconds;
};

struct junit {
    const struct run_view *run;
    FILE *out;
};

/* --- pieces --------------------------------------------------------------------------------- */

static void put_attribute(const struct junit *junit, const char *name, const char *text)
{
    fprintf(junit->out, " %s=\"", name);
    text_put_markup(junit->out, text);
    fputc('"', junit->out);
}

static void put_seconds(const struct junit *junit, uint64_t milliseconds)
{
    fprintf(junit->out, " time=\"%u.%03u\"", (unsigned)(milliseconds / 1000),
            (unsigned)(milliseconds % 1000));
}

/* UTC, without fraction and zone: some readers allow neither. */
static void put_timestamp(const struct junit *junit, uint64_t unix_ms)
{
    char text[TEXT_TIME_SIZE];
    text_time(unix_ms, text);
    text[strcspn(text, ".")] = '\0';
    put_attribute(junit, "timestamp", text);
}

static void put_tally(const struct junit *junit, const struct suite_tally *tally)
{
    fprintf(junit->out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\"",
            tally->tests, tally->failures, tally->errors, tally->skipped);
    put_seconds(junit, tally->milliseconds);
}

static void put_property(const struct junit *junit, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    fputs("      <property", junit->out);
    put_attribute(junit, "name", name);
    put_attribute(junit, "value", value);
    fputs("/>\n", junit->out);
}

/* "label: text" on a line of its own. */
static void put_fact(const struct junit *junit, const char *label, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    fprintf(junit->out, "%s: ", label);
    text_put_markup(junit->out, text);
    fputc('\n', junit->out);
}

/* --- a device ------------------------------------------------------------------------------- */

static bool is_skipped(const struct run_view *run, const struct target_status *target)
{
    return target->outcome != OUTCOME_FAILED && summary_is_trouble(run, target);
}

static void put_verdict(const struct junit *junit, const struct target_status *target)
{
    const char *element = target->outcome == OUTCOME_FAILED ? "failure" : "skipped";
    char meaning[160], message[600];
    summary_meaning(target, meaning, sizeof meaning);
    snprintf(message, sizeof message, "%s%s%s", meaning, target->error.text[0] != '\0' ? ": " : "",
             summary_told(target));
    fprintf(junit->out, "      <%s", element);
    put_attribute(junit, "message", message);
    if (target->outcome == OUTCOME_FAILED) {
        put_attribute(junit, "type", target_damage_name(target->damage));
        fputs(">", junit->out);
        put_fact(junit, "state", target_state_name(target->state));
        put_fact(junit, "reason", summary_told(target));
        put_fact(junit, "remedy", target->error.remedy);
        fprintf(junit->out, "</%s>\n", element);
    } else {
        fputs("/>\n", junit->out);
    }
}

static void put_facts(const struct junit *junit, const struct target_status *target)
{
    char text[300], size[32], disk[400];
    const struct target_facts *facts = &target->facts;
    fputs("      <system-out>", junit->out);
    put_fact(junit, "outcome", target_outcome_name(target->outcome));
    put_fact(junit, "address", target_address(target->spec, text, sizeof text));
    put_fact(junit, "model", facts->model);
    if (facts->known) {
        put_fact(junit, "disk", summary_disk(facts, disk, sizeof disk));
    }
    if (target->started) {
        put_fact(junit, "mode", flash_mode_name(target->mode));
        put_fact(junit, "sent", units_format_size(target->bytes_sent, size, sizeof size));
        put_fact(junit, "written", units_format_size(target->bytes_written, size, sizeof size));
    }
    for (int i = 0; i < STATE_COUNT; i++) {
        if (target->state_ms[i] > 0)
            put_fact(junit, target_state_name((enum target_state)i),
                     units_format_duration(target->state_ms[i], size, sizeof size));
    }
    put_fact(junit, "proof", target->proof);
    fputs("</system-out>\n", junit->out);
}

static void put_target(const struct junit *junit, const struct target_status *target)
{
    char class[300];
    snprintf(class, sizeof class, "fleetflash.%s",
             target->spec->group != NULL ? target->spec->group : "devices");
    fputs("    <testcase", junit->out);
    put_attribute(junit, "name", target->spec->name);
    put_attribute(junit, "classname", class);
    put_seconds(junit, target_duration(target));
    fputs(">\n", junit->out);
    if (summary_is_trouble(junit->run, target))
        put_verdict(junit, target);
    put_facts(junit, target);
    fputs("    </testcase>\n", junit->out);
}

/* --- waves ---------------------------------------------------------------------------------- */

static struct suite_tally tally_wave(const struct run_view *run, unsigned wave, uint64_t *began)
{
    struct suite_tally tally = {0};
    uint64_t last = 0;
    *began = 0;
    for (size_t i = 0; i < run->target_count; i++) {
        const struct target_status *target = run->targets[i];
        if (target->wave != wave)
            continue;
        tally.tests++;
        tally.failures += target->outcome == OUTCOME_FAILED;
        tally.skipped += is_skipped(run, target);
        if (target->started_ms != 0 && (*began == 0 || target->started_ms < *began))
            *began = target->started_ms;
        if (target->ended_ms > last)
            last = target->ended_ms;
    }
    tally.milliseconds = *began != 0 && last > *began ? last - *began : 0;
    return tally;
}

static void put_wave(const struct junit *junit, unsigned wave)
{
    const struct run_view *run = junit->run;
    char name[32];
    uint64_t began;
    struct suite_tally tally = tally_wave(run, wave, &began);
    if (tally.tests == 0)
        return;
    snprintf(name, sizeof name, "wave %u", wave + 1);
    fputs("  <testsuite", junit->out);
    put_attribute(junit, "name", name);
    put_tally(junit, &tally);
    put_timestamp(junit, began != 0 ? began : run->started_ms);
    put_attribute(junit, "hostname", run->controller);
    fputs(">\n    <properties>\n", junit->out);
    put_property(junit, "run", run->id);
    fputs("    </properties>\n", junit->out);
    for (size_t i = 0; i < run->target_count; i++) {
        if (run->targets[i]->wave == wave)
            put_target(junit, run->targets[i]);
    }
    fputs("  </testsuite>\n", junit->out);
}

/* --- the run -------------------------------------------------------------------------------- */

/* Why the run as a whole did not get through; NULL when it did, or when devices failed and that is
 * all. */
static const char *run_problem(const struct run_view *run, const struct fleet *fleet)
{
    if (run->exit_code == 0 || (run->exit_code == 1 && fleet->outcomes[OUTCOME_FAILED] > 0))
        return NULL;
    if (run->halted != NULL)
        return run->halted;
    if (run->problem != NULL)
        return run->problem;
    return run->interrupted ? "the run was interrupted" : "the run did not get through";
}

static void put_run_properties(const struct junit *junit)
{
    const struct run_view *run = junit->run;
    const struct store_info *info = run->store;
    char number[32];
    fputs("    <properties>\n", junit->out);
    put_property(junit, "run", run->id);
    put_property(junit, "command", run->command);
    put_property(junit, "inventory", run->inventory);
    put_property(junit, "image", run->image);
    if (info != NULL) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)info->image_size);
        put_property(junit, "image.sha256", info->facts.sha256);
        put_property(junit, "image.size", number);
        put_property(junit, "image.signers", info->signers);
    }
    snprintf(number, sizeof number, "%d", run->exit_code);
    put_property(junit, "exit_code", number);
    fputs("    </properties>\n", junit->out);
}

static void put_run(const struct junit *junit, const struct fleet *fleet)
{
    const struct run_view *run = junit->run;
    const char *problem = run_problem(run, fleet);
    char headline[400];
    struct suite_tally tally = {
        .tests = 1, .errors = problem != NULL, .milliseconds = run_duration(run)};
    summary_headline(run, headline, sizeof headline);
    fputs("  <testsuite name=\"run\"", junit->out);
    put_tally(junit, &tally);
    put_timestamp(junit, run->started_ms);
    put_attribute(junit, "hostname", run->controller);
    fputs(">\n", junit->out);
    put_run_properties(junit);
    fputs("    <testcase name=\"rollout\" classname=\"fleetflash\"", junit->out);
    put_seconds(junit, run_duration(run));
    fputs(">\n", junit->out);
    if (problem != NULL) {
        char type[32];
        snprintf(type, sizeof type, "exit %d", run->exit_code);
        fputs("      <error", junit->out);
        put_attribute(junit, "message", problem);
        put_attribute(junit, "type", type);
        fputs("/>\n", junit->out);
    }
    fputs("      <system-out>", junit->out);
    text_put_markup(junit->out, headline);
    fputs("\n</system-out>\n    </testcase>\n  </testsuite>\n", junit->out);
}

char *junit_report_text(const struct run_view *run)
{
    char *text = NULL;
    size_t size = 0;
    struct junit junit = {.run = run, .out = open_memstream(&text, &size)};
    struct fleet fleet;
    if (junit.out == NULL)
        return NULL;
    fleet_count(run, &fleet);
    struct suite_tally all = {.tests = run->target_count + 1,
                              .failures = fleet.outcomes[OUTCOME_FAILED],
                              .errors = run_problem(run, &fleet) != NULL,
                              .milliseconds = run_duration(run)};
    for (size_t i = 0; i < run->target_count; i++)
        all.skipped += is_skipped(run, run->targets[i]);
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"fleetflash\"", junit.out);
    put_tally(&junit, &all);
    fputs(">\n", junit.out);
    put_run(&junit, &fleet);
    for (unsigned wave = 0; wave < run->wave_count; wave++)
        put_wave(&junit, wave);
    fputs("</testsuites>", junit.out);
    bool failed = ferror(junit.out) != 0;
    if (fclose(junit.out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
