/* SPDX-License-Identifier: Apache-2.0 */
#include "report/summary.h"

#include "base/units.h"
#include "report/fleet.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct summary {
    const struct run_view *run;
    const struct paint *paint;
    unsigned width;
    FILE *out;
    struct fleet fleet;
};

static bool is_check(const struct summary *summary)
{
    return strcmp(summary->run->command, "check") == 0;
}

/* "3 flashed, 1 unchanged", worst first. */
static void counts_text(const struct summary *summary, char *out, size_t out_size)
{
    static const struct {
        enum target_outcome outcome;
        const char *words;
    } order[] = {
        {OUTCOME_FAILED, "failed"},       {OUTCOME_NOT_STARTED, "not started"},
        {OUTCOME_SKIPPED, "skipped"},     {OUTCOME_FLASHED, "flashed"},
        {OUTCOME_UNCHANGED, "unchanged"}, {OUTCOME_NONE, "unfinished"},
    };
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof order / sizeof *order && length < out_size; i++) {
        size_t count = summary->fleet.outcomes[order[i].outcome];
        if (count > 0)
            length += (size_t)snprintf(out + length, out_size - length, "%s%zu %s",
                                       length > 0 ? ", " : "", count, order[i].words);
    }
}

/* The sentence for a run that probed only. */
static void headline_check(const struct summary *summary, char *out, size_t out_size)
{
    const struct fleet *fleet = &summary->fleet;
    size_t total = summary->run->target_count;
    size_t bad = fleet->outcomes[OUTCOME_FAILED];
    size_t veto = fleet->outcomes[OUTCOME_SKIPPED];
    size_t same = fleet->outcomes[OUTCOME_UNCHANGED];
    int length = snprintf(out, out_size, "%zu of %zu target%s can be flashed",
                          total - bad - veto - same, total, total == 1 ? "" : "s");
    const struct {
        size_t count;
        const char *words;
    } rest[] = {{same, "would stay unchanged"}, {veto, "would be skipped"}, {bad, "would fail"}};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        if (rest[i].count > 0)
            length += snprintf(out + length, out_size - (size_t)length, ", %zu %s", rest[i].count,
                               rest[i].words);
    }
}

static void headline_flash(const struct summary *summary, char *out, size_t out_size)
{
    char counts[200];
    size_t total = summary->run->target_count;
    size_t good =
        summary->fleet.outcomes[OUTCOME_FLASHED] + summary->fleet.outcomes[OUTCOME_UNCHANGED];
    counts_text(summary, counts, sizeof counts);
    if (total == 0)
        snprintf(out, out_size, "There was nothing to do");
    else if (good == total && total > 1)
        snprintf(out, out_size, "All %zu targets hold the image: %s", total, counts);
    else if (good == total)
        snprintf(out, out_size, "The target holds the image: %s", counts);
    else
        snprintf(out, out_size, "%zu of %zu target%s hold%s the image: %s", good, total,
                 total == 1 ? "" : "s", good == 1 ? "s" : "", counts);
}

/* One cleaned text, painted, with its hanging indent. */
static void print_text(const struct summary *summary, enum colour colour, unsigned column,
                       unsigned indent, const char *text)
{
    char clean[TEXT_MAX];
    text_clean(text, summary->paint->utf8, clean, sizeof clean);
    fputs(paint_begin(summary->paint, colour), summary->out);
    text_wrap(summary->out, clean, column, indent, summary->width);
    fputs(paint_end(summary->paint, colour), summary->out);
    fputc('\n', summary->out);
}

bool summary_headline(const struct run_view *run, char *out, size_t out_size)
{
    struct summary summary = {.run = run};
    const struct fleet *fleet = &summary.fleet;
    fleet_count(run, &summary.fleet);
    if (is_check(&summary)) {
        headline_check(&summary, out, out_size);
        return fleet->outcomes[OUTCOME_FAILED] == 0;
    }
    headline_flash(&summary, out, out_size);
    return fleet->outcomes[OUTCOME_FAILED] + fleet->outcomes[OUTCOME_NOT_STARTED] +
               fleet->outcomes[OUTCOME_NONE] ==
           0;
}

static void print_headline(const struct summary *summary)
{
    char sentence[400];
    bool good = summary_headline(summary->run, sentence, sizeof sentence);
    print_text(summary, good ? COLOUR_GREEN : COLOUR_RED, 0, 2, sentence);
    if (summary->run->interrupted)
        print_text(summary, COLOUR_YELLOW, 0, 2, "The run was interrupted.");
    if (summary->run->halted != NULL) {
        snprintf(sentence, sizeof sentence, "The rollout was halted: %s", summary->run->halted);
        print_text(summary, COLOUR_YELLOW, 0, 2, sentence);
    }
}

/* --- what went wrong ---------------------------------------------------------------------- */

bool summary_is_trouble(const struct run_view *run, const struct target_status *target)
{
    if (target->outcome == OUTCOME_NOT_STARTED && strcmp(run->command, "check") == 0)
        return false;
    return target->outcome == OUTCOME_FAILED || target->outcome == OUTCOME_SKIPPED ||
           target->outcome == OUTCOME_NOT_STARTED;
}

static bool is_of_word(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* Length of word at the beginning of text, where it stands alone, with a port behind it; or 0. */
static size_t mention(const char *text, const char *word)
{
    size_t length = word != NULL ? strlen(word) : 0;
    if (length == 0 || strncmp(text, word, length) != 0 || is_of_word(text[length]) ||
        (text[length] == '.' && is_of_word(text[length + 1])))
        return 0;
    const char *rest = text + length;
    size_t before = *rest == ':' ? 1 : strncmp(rest, " port ", 6) == 0 ? 6 : 0;
    size_t digits = before > 0 ? strspn(rest + before, "0123456789") : 0;
    return length + (digits > 0 ? before + digits : 0);
}

const char *summary_told(const struct target_status *target)
{
    const char *text = target->error.text;
    size_t length = strlen(target->spec->name);
    if (strncmp(text, target->spec->name, length) == 0 && strncmp(text + length, ": ", 2) == 0)
        return text + length + 2;
    return text;
}

void summary_reason(const struct target_status *target, bool shared, char *out, size_t out_size)
{
    const struct target_spec *spec = target->spec;
    const char *text = summary_told(target);
    size_t used = 0;
    for (bool inside = false; *text != '\0' && used + 3 < out_size; inside = is_of_word(text[-1])) {
        size_t host = shared && !inside ? mention(text, spec->host) : 0;
        if (host == 0 && shared && !inside)
            host = mention(text, spec->name);
        if (host == 0) {
            out[used++] = *text++;
            continue;
        }
        out[used++] = 'i';
        out[used++] = 't';
        text += host;
    }
    out[used] = '\0';
}

bool summary_same_trouble(const struct target_status *a, const struct target_status *b)
{
    char left[sizeof a->error.text], right[sizeof b->error.text];
    if (a->outcome != b->outcome || a->damage != b->damage || a->state != b->state ||
        strcmp(a->error.remedy, b->error.remedy) != 0)
        return false;
    summary_reason(a, true, left, sizeof left);
    summary_reason(b, true, right, sizeof right);
    return strcmp(left, right) == 0;
}

void summary_meaning(const struct target_status *target, char *out, size_t out_size)
{
    static const char *const meaning[] = {
        [DAMAGE_NONE] = "its old system was left as it was",
        [DAMAGE_REBOOTED] = "its old system had to be rebooted, untouched",
        [DAMAGE_INCOMPLETE] = "its disk is half-written",
        [DAMAGE_LOST] = "flashed, but the new system was not proven",
        [DAMAGE_IDLE] = "flashed and running, but not back at work",
        [DAMAGE_DIED] = "it was done, and did not come through the soak",
    };
    if (target->outcome != OUTCOME_FAILED)
        snprintf(out, out_size, "%s",
                 target->outcome == OUTCOME_SKIPPED ? "skipped" : "not started");
    else
        snprintf(out, out_size, "failed in %s, %s", target_state_name(target->state),
                 meaning[target->damage]);
}

char *summary_disk(const struct target_facts *facts, char *out, size_t out_size)
{
    char size[32];
    bool is_known = facts->disk_size != 0; /* its boot loader was not asked */
    snprintf(out, out_size, "%s%s%s%s%s%s%s", facts->disk, is_known ? ", " : "",
             is_known ? units_format_size(facts->disk_size, size, sizeof size) : "",
             facts->disk_model[0] != '\0' ? " " : "", facts->disk_model,
             facts->disk_serial[0] != '\0' ? " " : "", facts->disk_serial);
    return out;
}

/* The names of all with the trouble of targets[first]; marks them done. How many they are. */
static size_t trouble_names(const struct summary *summary, size_t first, bool *done, FILE *out)
{
    const struct run_view *run = summary->run;
    size_t count = 0;
    for (size_t i = first; i < run->target_count; i++) {
        if (done[i] || !summary_is_trouble(run, run->targets[i]) ||
            !summary_same_trouble(run->targets[i], run->targets[first]))
            continue;
        done[i] = true;
        fprintf(out, "%s%s", count++ > 0 ? ", " : "", run->targets[i]->spec->name);
    }
    return count;
}

static void print_trouble(const struct summary *summary, size_t first, bool *done)
{
    const struct target_status *target = summary->run->targets[first];
    char *names = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&names, &size);
    if (stream == NULL)
        return;
    char meaning[160];
    summary_meaning(target, meaning, sizeof meaning);
    bool shared = trouble_names(summary, first, done, stream) > 1;
    fprintf(stream, ": %s", meaning);
    fclose(stream);
    fputs("  ", summary->out);
    print_text(summary, target->outcome == OUTCOME_FAILED ? COLOUR_RED : COLOUR_YELLOW, 2, 4,
               names);
    if (target->error.text[0] != '\0') {
        char reason[sizeof target->error.text];
        summary_reason(target, shared, reason, sizeof reason);
        fputs("    ", summary->out);
        print_text(summary, COLOUR_NONE, 4, 4, reason);
    }
    if (target->error.remedy[0] != '\0') {
        const char *arrow = summary->paint->utf8 ? "→ " : "-> ";
        unsigned column = 4 + text_columns(arrow);
        fprintf(summary->out, "    %s", arrow);
        print_text(summary, COLOUR_NONE, column, column, target->error.remedy);
    }
    free(names);
}

static void print_troubles(const struct summary *summary)
{
    static const enum target_outcome order[] = {OUTCOME_FAILED, OUTCOME_NOT_STARTED,
                                                OUTCOME_SKIPPED};
    const struct run_view *run = summary->run;
    bool *done = calloc(run->target_count + 1, sizeof *done);
    if (done == NULL)
        return;
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        for (size_t i = 0; i < run->target_count; i++) {
            if (!done[i] && run->targets[i]->outcome == order[k] &&
                summary_is_trouble(run, run->targets[i]))
                print_trouble(summary, i, done);
        }
    }
    free(done);
}

/* --- figures ---------------------------------------------------------------------------------- */

static void print_figure(const struct summary *summary, const char *label, const char *text)
{
    fprintf(summary->out, "  %-9s", label);
    print_text(summary, COLOUR_NONE, 11, 11, text);
}

static void print_figures(const struct summary *summary)
{
    char text[800], size[32], other[32], third[32];
    const struct run_view *run = summary->run;
    const struct fleet *fleet = &summary->fleet;
    if (run->store != NULL && run->image != NULL) {
        snprintf(text, sizeof text, "%s (%s, sha256 %.12s…)", run->image,
                 units_format_size(run->store->image_size, size, sizeof size),
                 run->store->facts.sha256);
        print_figure(summary, "image", text);
    }
    if (!is_check(summary)) {
        snprintf(text, sizeof text, "%s sent",
                 units_format_size(fleet->bytes_sent, size, sizeof size));
        print_figure(summary, "network", text);
        snprintf(text, sizeof text, "%s written, %s already right",
                 units_format_size(fleet->bytes_written, other, sizeof other),
                 units_format_size(fleet->bytes_skipped, third, sizeof third));
        print_figure(summary, "disks", text);
    }
    snprintf(text, sizeof text, "%s, run %s",
             units_format_duration(run_duration(run), size, sizeof size), run->id);
    print_figure(summary, "time", text);
}

void summary_print(const struct run_view *run, const struct paint *paint, unsigned width, FILE *out)
{
    struct summary summary = {.run = run, .paint = paint, .width = width, .out = out};
    fleet_count(run, &summary.fleet);
    print_headline(&summary);
    print_troubles(&summary);
    print_figures(&summary);
}
