/* SPDX-License-Identifier: Apache-2.0 */
#include "report/plan.h"

#include "base/units.h"
#include "report/fleet.h"
#include "report/plan_image.h"
#include "report/summary.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct plan {
    const struct run_view *run;
    const struct plan_extra *extras;
    const struct paint *paint;
    FILE *out;
    bool *done; /* printed already, by position */
};

/* "  label     text", the text broken and indented. */
static void put(const struct plan *plan, enum colour colour, const char *label, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

static void put(const struct plan *plan, enum colour colour, const char *label, const char *format,
                ...)
{
    char raw[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    plan_item(plan->out, plan->paint, colour, label, raw);
}

static bool is_planned(const struct target_status *target)
{
    return target->facts.known && target->outcome == OUTCOME_NONE;
}

size_t plan_count(const struct run_view *run)
{
    size_t count = 0;
    for (size_t i = 0; i < run->target_count; i++)
        count += is_planned(run->targets[i]);
    return count;
}

/* --- which devices are alike -------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* Sizes that read the same are the same here. */
static bool same_size(uint64_t a, uint64_t b)
{
    char one[32], other[32];
    return strcmp(units_format_size(a, one, sizeof one),
                  units_format_size(b, other, sizeof other)) == 0;
}

static bool same_partitions(const struct target_facts *a, const struct target_facts *b)
{
    if (a->partition_count != b->partition_count)
        return false;
    for (unsigned i = 0; i < a->partition_count; i++) {
        const struct fact_partition *one = &a->partitions[i];
        const struct fact_partition *other = &b->partitions[i];
        if (strcmp(one->path, other->path) != 0 ||
            strcmp(one->filesystem, other->filesystem) != 0 ||
            strcmp(one->label, other->label) != 0 ||
            strcmp(one->mountpoint, other->mountpoint) != 0 || one->is_data != other->is_data ||
            !same_size(one->size, other->size))
            return false;
    }
    return true;
}

static bool same_warnings(const struct plan *plan, size_t a, size_t b)
{
    const struct target_facts *one = &plan->run->targets[a]->facts;
    const struct target_facts *other = &plan->run->targets[b]->facts;
    if (one->warning_count != other->warning_count)
        return false;
    for (unsigned i = 0; i < one->warning_count; i++) {
        if (strcmp(one->warnings[i], other->warnings[i]) != 0)
            return false;
    }
    static const char *const none[] = {NULL};
    const char *const *x = plan->extras[a].warnings != NULL ? plan->extras[a].warnings : none;
    const char *const *y = plan->extras[b].warnings != NULL ? plan->extras[b].warnings : none;
    while (*x != NULL && *y != NULL && strcmp(*x, *y) == 0)
        x++, y++;
    return *x == NULL && *y == NULL;
}

static bool is_alike(const struct plan *plan, size_t a, size_t b)
{
    const struct target_facts *one = &plan->run->targets[a]->facts;
    const struct target_facts *other = &plan->run->targets[b]->facts;
    return strcmp(one->model, other->model) == 0 && strcmp(one->disk, other->disk) == 0 &&
           strcmp(one->disk_model, other->disk_model) == 0 &&
           same_size(one->disk_size, other->disk_size) && same_partitions(one, other) &&
           plan->extras[a].kept == plan->extras[b].kept &&
           same_text(plan->extras[a].mode, plan->extras[b].mode) &&
           same_text(plan->extras[a].services, plan->extras[b].services) &&
           same_warnings(plan, a, b);
}

/* --- a paragraph
 * ---------------------------------------------------------------------------------- */

/* Those that are kept, or those that are not. */
static void put_partitions(const struct plan *plan, const struct target_facts *facts, uint32_t kept,
                           bool keeps)
{
    char size[32];
    const char *label = keeps ? "keeps" : "erases";
    for (unsigned i = 0; i < facts->partition_count; i++) {
        const struct fact_partition *partition = &facts->partitions[i];
        if (((kept >> i & 1) != 0) != keeps)
            continue;
        bool is_mounted = partition->mountpoint[0] != '\0';
        put(plan, partition->is_data && !keeps ? COLOUR_YELLOW : COLOUR_NONE, label,
            "%s  %s  %s%s%s%s%s%s%s", partition->path,
            units_format_size(partition->size, size, sizeof size),
            partition->filesystem[0] != '\0' ? partition->filesystem : "no file system",
            partition->label[0] != '\0' ? "  " : "", partition->label, is_mounted ? "  on " : "",
            partition->mountpoint, partition->is_data && !keeps ? "  (DATA)" : "",
            keeps && partition->boot_loader[0] != '\0' ? "  (boot loader)" : "");
        label = "";
    }
    if (keeps && kept != 0)
        put(plan, COLOUR_NONE, "", "%s", "the partition table");
    if (!keeps && facts->partition_count == 0)
        put(plan, COLOUR_NONE, label, "%s", "the whole disk; no partitions were found on it");
}

static void put_warnings(const struct plan *plan, size_t first)
{
    const struct target_facts *facts = &plan->run->targets[first]->facts;
    for (unsigned i = 0; i < facts->warning_count; i++)
        put(plan, COLOUR_YELLOW, "warning", "%s", facts->warnings[i]);
    const char *const *extra = plan->extras[first].warnings;
    for (; extra != NULL && *extra != NULL; extra++)
        put(plan, COLOUR_YELLOW, "warning", "%s", *extra);
}

/* True when all members of the paragraph are trusted in the same way. */
static bool is_trust_common(const struct plan *plan, const bool *members, size_t first)
{
    for (size_t i = first; i < plan->run->target_count; i++) {
        if (members[i] && !same_text(plan->extras[i].trust, plan->extras[first].trust))
            return false;
    }
    return true;
}

/* The names (or serials) widest in the paragraph, for a column. */
static unsigned column_for(const struct plan *plan, const bool *members, bool serial)
{
    unsigned widest = 0;
    for (size_t i = 0; i < plan->run->target_count; i++) {
        const struct target_status *target = plan->run->targets[i];
        unsigned width = text_columns(serial ? target->facts.disk_serial : target->spec->name);
        if (members[i] && width > widest)
            widest = width;
    }
    return widest < 24 ? widest : 24;
}

/* One line for each member: name, disk serial, how it is reached afterwards. */
static void put_members(const struct plan *plan, const bool *members, bool with_trust)
{
    int names = (int)column_for(plan, members, false);
    int serials = (int)column_for(plan, members, true);
    const char *label = "devices";
    for (size_t i = 0; i < plan->run->target_count; i++) {
        if (!members[i])
            continue;
        const struct target_status *target = plan->run->targets[i];
        const struct plan_extra *extra = &plan->extras[i];
        put(plan, COLOUR_NONE, label, "%-*s  %s%-*s%s%s", names, target->spec->name,
            serials > 0 ? "serial " : "", serials, target->facts.disk_serial,
            extra->reached_as != NULL ? "  then " : "",
            extra->reached_as != NULL ? extra->reached_as : "");
        if (with_trust && extra->trust != NULL)
            put(plan, COLOUR_NONE, "", "  then trusted: %s", extra->trust);
        label = "";
    }
}

static void put_common(const struct plan *plan, size_t first)
{
    char size[32];
    const struct target_facts *facts = &plan->run->targets[first]->facts;
    const struct plan_extra *extra = &plan->extras[first];
    if (facts->disk_size != 0) {
        put(plan, COLOUR_NONE, "disk", "%s, %s%s%s", facts->disk,
            units_format_size(facts->disk_size, size, sizeof size),
            facts->disk_model[0] != '\0' ? ", " : "", facts->disk_model);
        put_partitions(plan, facts, extra->kept, false);
        put_partitions(plan, facts, extra->kept, true);
    } else { /* netboot: nobody is asked */
        put(plan, COLOUR_NONE, "disk", "%s", facts->disk);
        put(plan, COLOUR_YELLOW, "erases", "%s, whatever there is",
            extra->kept != 0 ? "all behind its boot loader's partition" : "all of it");
    }
    if (extra->mode != NULL)
        put(plan, COLOUR_NONE, "mode", "%s", extra->mode);
    put(plan, COLOUR_NONE, "stops", "%s",
        extra->services != NULL ? extra->services : "no policy; what is in the way is ended");
}

static void put_paragraph(const struct plan *plan, size_t first, const bool *members)
{
    char title[200];
    size_t count = 0;
    const struct target_status *target = plan->run->targets[first];
    for (size_t i = first; i < plan->run->target_count; i++)
        count += members[i];
    const char *model = target->facts.model[0] != '\0' ? target->facts.model : "unknown model";
    if (count > 1)
        snprintf(title, sizeof title, "%zu devices: %s", count, model);
    else
        snprintf(title, sizeof title, "%s: %s", target->spec->name, model);
    fputc('\n', plan->out);
    plan_title(plan->out, plan->paint, title);
    put_common(plan, first);
    bool common = is_trust_common(plan, members, first);
    if (count == 1) {
        if (target->facts.disk_serial[0] != '\0')
            put(plan, COLOUR_NONE, "serial", "%s", target->facts.disk_serial);
        if (plan->extras[first].reached_as != NULL)
            put(plan, COLOUR_NONE, "then", "%s", plan->extras[first].reached_as);
    }
    if (common && plan->extras[first].trust != NULL)
        put(plan, COLOUR_NONE, "trusted", "%s", plan->extras[first].trust);
    put_warnings(plan, first);
    if (count > 1)
        put_members(plan, members, !common);
}

/* All that look like the target at position first. */
static void print_alike(const struct plan *plan, size_t first)
{
    bool *members = calloc(plan->run->target_count, sizeof *members);
    if (members == NULL)
        return;
    for (size_t i = first; i < plan->run->target_count; i++) {
        if (!plan->done[i] && is_planned(plan->run->targets[i]) && is_alike(plan, first, i))
            members[i] = plan->done[i] = true;
    }
    put_paragraph(plan, first, members);
    free(members);
}

/* Those that will not be touched, with the reason. */
static void print_left_alone(const struct plan *plan)
{
    bool begun = false;
    for (size_t i = 0; i < plan->run->target_count; i++) {
        const struct target_status *target = plan->run->targets[i];
        if (is_planned(target))
            continue;
        if (!begun) {
            fputc('\n', plan->out);
            plan_title(plan->out, plan->paint, "Left alone");
        }
        begun = true;
        const char *outcome = target_outcome_name(target->outcome);
        const char *why = target->error.text[0] != '\0' ? summary_told(target) : target->proof;
        put(plan, target->outcome == OUTCOME_FAILED ? COLOUR_RED : COLOUR_NONE, NULL,
            "%s: %s%s%s%s%s", target->spec->name, outcome[0] != '\0' ? outcome : "not probed",
            why[0] != '\0' ? ": " : "", why, target->error.remedy[0] != '\0' ? " — " : "",
            target->error.remedy);
    }
}

void plan_print(const struct run_view *run, const struct plan_extra *extras,
                const struct paint *paint, FILE *out)
{
    struct plan plan = {.run = run, .extras = extras, .paint = paint, .out = out};
    plan.done = calloc(run->target_count + 1, sizeof *plan.done);
    if (plan.done == NULL)
        return;
    plan_image_print(run, paint, out);
    for (size_t i = 0; i < run->target_count; i++) {
        if (!plan.done[i] && is_planned(run->targets[i]))
            print_alike(&plan, i);
    }
    print_left_alone(&plan);
    free(plan.done);
}

char *plan_confirm_text(size_t count, char *out, size_t out_size)
{
    snprintf(out, out_size, "Type %zu to erase %zu disk%s: ", count, count, count == 1 ? "" : "s");
    return out;
}

bool plan_confirm_matches(size_t count, const char *line)
{
    char number[32];
    int length = snprintf(number, sizeof number, "%zu", count);
    line += strspn(line, " \t");
    if (count == 0 || strncmp(line, number, (size_t)length) != 0)
        return false;
    line += length;
    return line[strspn(line, " \t\r\n")] == '\0';
}
