/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html_report.h"

#include "base/units.h"
#include "report/fleet.h"
#include "report/html_style.h"
#include "report/summary.h"
#include "report/text.h"
#include "report/timeline.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct page {
    const struct run_view *run;
    FILE *out;
    struct timeline timeline;
};

struct outcome_look {
    enum target_outcome outcome;
    const char *class, *mark, *words;
};

/* Worst first. */
static const struct outcome_look looks[] = {
    {OUTCOME_FAILED, "failed", "✗", "failed"},
    {OUTCOME_NOT_STARTED, "idle", "–", "not started"},
    {OUTCOME_SKIPPED, "skipped", "–", "skipped"},
    {OUTCOME_FLASHED, "flashed", "✓", "flashed"},
    {OUTCOME_UNCHANGED, "unchanged", "=", "unchanged"},
    {OUTCOME_NONE, "idle", "·", "unfinished"},
};
#define LOOK_COUNT (sizeof looks / sizeof *looks)

/* A check leaves those that it has nothing against. */
static const struct outcome_look *look_of(const struct run_view *run,
                                          const struct target_status *target)
{
    static const struct outcome_look ready = {OUTCOME_NOT_STARTED, "flashed", "✓",
                                              "can be flashed"};
    if (target->outcome == OUTCOME_NOT_STARTED && !summary_is_trouble(run, target))
        return &ready;
    for (size_t i = 0; i < LOOK_COUNT; i++) {
        if (looks[i].outcome == target->outcome)
            return &looks[i];
    }
    return &looks[LOOK_COUNT - 1];
}

/* --- pieces --------------------------------------------------------------------------------- */

/* A row of a list of facts; nothing for an empty text. */
static void put_fact(const struct page *page, const char *label, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    fprintf(page->out, "<div><dt>%s</dt><dd>", label);
    text_put_markup(page->out, text);
    fputs("</dd></div>\n", page->out);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* In the controller's own time: this is for whoever sits there. */
static char *local_time(uint64_t unix_ms, char out[static 48])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(out, 48, "%Y-%m-%d %H:%M:%S %Z", &tm);
    return out;
}

/* --- head ----------------------------------------------------------------------------------- */

static const char *what(const struct run_view *run)
{
    return run->image != NULL ? last_part(run->image) : run->command;
}

static void put_head(const struct page *page, const char *headline)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
          "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
          "<meta name=\"robots\" content=\"noindex\"/>\n<title>",
          page->out);
    text_put_markup(page->out, what(page->run));
    fputs(": ", page->out);
    text_put_markup(page->out, headline);
    fputs("</title>\n<style>\n", page->out);
    for (size_t i = 0; html_style[i] != NULL; i++)
        fputs(html_style[i], page->out);
    fputs("</style>\n</head>\n", page->out);
}

/* How many devices have which outcome: a bar and words below it. */
static void put_shares(const struct page *page)
{
    const struct run_view *run = page->run;
    size_t counts[LOOK_COUNT] = {0};
    size_t ready = 0;
    for (size_t i = 0; i < run->target_count; i++) {
        const struct outcome_look *look = look_of(run, run->targets[i]);
        if (look >= looks && look < looks + LOOK_COUNT)
            counts[look - looks]++;
        else
            ready++;
    }
    fputs("<div class=\"shares\" aria-hidden=\"true\">", page->out);
    for (size_t i = 0; i < LOOK_COUNT; i++) {
        if (counts[i] > 0)
            fprintf(page->out, "<i class=\"%s\" style=\"flex-grow:%zu\"></i>", looks[i].class,
                    counts[i]);
    }
    if (ready > 0)
        fprintf(page->out, "<i class=\"flashed\" style=\"flex-grow:%zu\"></i>", ready);
    fputs("</div>\n<ul class=\"counts\">\n", page->out);
    for (size_t i = 0; i < LOOK_COUNT; i++) {
        if (counts[i] > 0)
            fprintf(page->out, "<li class=\"%s\"><b>%zu</b> %s</li>\n", looks[i].class, counts[i],
                    looks[i].words);
    }
    if (ready > 0)
        fprintf(page->out, "<li class=\"flashed\"><b>%zu</b> can be flashed</li>\n", ready);
    fputs("</ul>\n", page->out);
}

static void put_alert(const struct page *page, const char *before, const char *text)
{
    fprintf(page->out, "<p class=\"alert\">%s", before);
    text_put_markup(page->out, text);
    fputs("</p>\n", page->out);
}

static void put_run_facts(const struct page *page)
{
    const struct run_view *run = page->run;
    struct fleet fleet;
    char text[400], size[32], other[32], third[32];
    fleet_count(run, &fleet);
    fputs("<dl class=\"facts\">\n", page->out);
    put_fact(page, "Image", run->image);
    if (run->store != NULL) {
        snprintf(text, sizeof text, "%s, %s%s%s",
                 units_format_size(run->store->image_size, size, sizeof size),
                 run->store->facts.format, run->store->facts.os_name[0] != '\0' ? ", " : "",
                 run->store->facts.os_name);
        put_fact(page, "Contents", text);
        put_fact(page, "SHA-256", run->store->facts.sha256);
        put_fact(page, "Signed", run->store->signers);
    }
    put_fact(page, "Started", local_time(run->started_ms, text));
    if (run->ended_ms != 0)
        put_fact(page, "Took", units_format_duration(run_duration(run), size, sizeof size));
    if (fleet.bytes_sent + fleet.bytes_written + fleet.bytes_skipped > 0) {
        snprintf(text, sizeof text, "%s sent, %s written, %s already right",
                 units_format_size(fleet.bytes_sent, size, sizeof size),
                 units_format_size(fleet.bytes_written, other, sizeof other),
                 units_format_size(fleet.bytes_skipped, third, sizeof third));
        put_fact(page, "Data", text);
    }
    put_fact(page, "Inventory", run->inventory);
    put_fact(page, "Controller", run->controller);
    snprintf(text, sizeof text, "%s, exit code %d", run->id, run->exit_code);
    put_fact(page, "Run", text);
    fputs("</dl>\n", page->out);
}

static void put_header(const struct page *page, const char *headline, bool good)
{
    const struct run_view *run = page->run;
    fputs("<header>\n<p class=\"kicker\">", page->out);
    fputs(strcmp(run->command, "check") == 0 ? "Check of " : "Flash of ", page->out);
    text_put_markup(page->out, what(run));
    fprintf(page->out, "</p>\n<h1 class=\"%s\">", good && run->exit_code == 0 ? "good" : "bad");
    text_put_markup(page->out, headline);
    fputs("</h1>\n", page->out);
    if (run->halted != NULL)
        put_alert(page, "The rollout was halted: ", run->halted);
    else if (run->problem != NULL)
        put_alert(page, "", run->problem);
    if (run->interrupted)
        put_alert(page, "The run was interrupted.", "");
    put_shares(page);
    put_run_facts(page);
    fputs("</header>\n", page->out);
}

/* --- what went wrong ------------------------------------------------------------------------ */

/* All devices with the trouble of the first one, as links to their rows; how many they are. */
static size_t put_names(const struct page *page, size_t first, bool *done)
{
    const struct run_view *run = page->run;
    size_t count = 0;
    fputs("<h3>", page->out);
    for (size_t i = first; i < run->target_count; i++) {
        if (done[i] || !summary_same_trouble(run->targets[i], run->targets[first]))
            continue;
        done[i] = true;
        fprintf(page->out, "%s<a href=\"#d%zu\">", count++ > 0 ? " " : "", i);
        text_put_markup(page->out, run->targets[i]->spec->name);
        fputs("</a>", page->out);
    }
    fputs("</h3>\n", page->out);
    return count;
}

static void put_trouble(const struct page *page, size_t first, bool *done)
{
    const struct target_status *target = page->run->targets[first];
    char meaning[160];
    summary_meaning(target, meaning, sizeof meaning);
    fprintf(page->out, "<article class=\"trouble %s\">\n", look_of(page->run, target)->class);
    bool shared = put_names(page, first, done) > 1;
    fputs("<p class=\"meaning\">", page->out);
    text_put_markup(page->out, meaning);
    fputs("</p>\n", page->out);
    if (target->error.text[0] != '\0') {
        char reason[sizeof target->error.text];
        summary_reason(target, shared, reason, sizeof reason);
        fputs("<p>", page->out);
        text_put_markup(page->out, reason);
        fputs("</p>\n", page->out);
    }
    if (target->error.remedy[0] != '\0') {
        fputs("<p class=\"remedy\">", page->out);
        text_put_markup(page->out, target->error.remedy);
        fputs("</p>\n", page->out);
    }
    fputs("</article>\n", page->out);
}

static void put_troubles(const struct page *page)
{
    const struct run_view *run = page->run;
    bool *done = calloc(run->target_count + 1, sizeof *done);
    bool any = false;
    for (size_t k = 0; done != NULL && k < LOOK_COUNT; k++) {
        for (size_t i = 0; i < run->target_count; i++) {
            if (done[i] || run->targets[i]->outcome != looks[k].outcome ||
                !summary_is_trouble(run, run->targets[i]))
                continue;
            if (!any)
                fputs("<section class=\"troubles\">\n<h2>What went wrong</h2>\n", page->out);
            any = true;
            put_trouble(page, i, done);
        }
    }
    if (any)
        fputs("</section>\n", page->out);
    free(done);
}

/* --- devices -------------------------------------------------------------------------------- */

static void put_work(const struct page *page, const struct target_status *target)
{
    char text[400], size[32], other[32], third[32];
    char *states = NULL;
    size_t states_size = 0;
    if (!target->started)
        return;
    snprintf(text, sizeof text, "%s%s%s", flash_mode_name(target->mode),
             target->mode_reason[0] != '\0' ? ": " : "", target->mode_reason);
    put_fact(page, "Mode", text);
    snprintf(text, sizeof text, "%s sent, %s written, %s already right",
             units_format_size(target->bytes_sent, size, sizeof size),
             units_format_size(target->bytes_written, other, sizeof other),
             units_format_size(target->bytes_skipped, third, sizeof third));
    put_fact(page, "Data", text);
    FILE *out = open_memstream(&states, &states_size);
    if (out != NULL) {
        timeline_put_words(target, out);
        fclose(out);
        put_fact(page, "Time", states);
        free(states);
    }
    if (target->started_ms != 0)
        put_fact(page, "Started", local_time(target->started_ms, text));
    if (target->attempts > 1) {
        snprintf(text, sizeof text, "%u", target->attempts);
        put_fact(page, "Attempts", text);
    }
}

static void put_details(const struct page *page, const struct target_status *target)
{
    char text[400];
    const struct target_facts *facts = &target->facts;
    fputs("<dl class=\"facts\">\n", page->out);
    if (target->error.cls != ERROR_NONE && summary_is_trouble(page->run, target)) {
        put_fact(page, "Reason", summary_told(target));
        put_fact(page, "Remedy", target->error.remedy);
    }
    put_fact(page, "Address", target_address(target->spec, text, sizeof text));
    put_fact(page, "Group", target->spec->group);
    put_fact(page, "Model", facts->model);
    if (facts->known) {
        put_fact(page, "Disk", summary_disk(facts, text, sizeof text));
    }
    put_work(page, target);
    put_fact(page, "Proof", target->proof);
    put_fact(page, "Host key", target->host_fingerprint);
    if (strcmp(target->host_fingerprint, target->after_fingerprint) != 0)
        put_fact(page, "New key", target->after_fingerprint);
    fputs("</dl>\n", page->out);
}

static void put_target(const struct page *page, size_t index)
{
    const struct target_status *target = page->run->targets[index];
    const struct outcome_look *look = look_of(page->run, target);
    char text[32] = "";
    if (target_duration(target) > 0)
        units_format_duration(target_duration(target), text, sizeof text);
    fprintf(page->out, "<details id=\"d%zu\" class=\"%s\">\n<summary><span class=\"name\">", index,
            look->class);
    text_put_markup(page->out, target->spec->name);
    fputs("</span>", page->out);
    timeline_put_track(&page->timeline, target, page->out);
    fprintf(page->out, "<span class=\"outcome\">%s %s</span><span class=\"took\">%s</span>",
            look->mark, look->words, text);
    fputs("</summary>\n", page->out);
    put_details(page, target);
    fputs("</details>\n", page->out);
}

/* --- waves ---------------------------------------------------------------------------------- */

/* "4 devices: 1 failed, 3 flashed" */
static bool put_wave_title(const struct page *page, unsigned wave)
{
    const struct run_view *run = page->run;
    size_t counts[LOOK_COUNT] = {0}, all = 0;
    for (size_t i = 0; i < run->target_count; i++) {
        const struct outcome_look *look = look_of(run, run->targets[i]);
        if (run->targets[i]->wave != wave)
            continue;
        all++;
        if (look >= looks && look < looks + LOOK_COUNT)
            counts[look - looks]++;
    }
    if (all == 0)
        return false;
    fputs("<section>\n<h2>", page->out);
    if (run->wave_count > 1)
        fprintf(page->out, "Wave %u", wave + 1);
    else
        fputs("Devices", page->out);
    fprintf(page->out, " <small>%zu device%s", all, all == 1 ? "" : "s");
    for (size_t i = 0; i < LOOK_COUNT; i++) {
        if (counts[i] > 0)
            fprintf(page->out, ", %zu %s", counts[i], looks[i].words);
    }
    fputs("</small></h2>\n", page->out);
    return true;
}

static void put_wave(const struct page *page, unsigned wave)
{
    const struct run_view *run = page->run;
    if (!put_wave_title(page, wave))
        return;
    timeline_put_axis(&page->timeline, page->out);
    for (int failed = 1; failed >= 0; failed--) { /* those first */
        for (size_t i = 0; i < run->target_count; i++) {
            if (run->targets[i]->wave == wave &&
                (run->targets[i]->outcome == OUTCOME_FAILED) == (failed == 1))
                put_target(page, i);
        }
    }
    fputs("</section>\n", page->out);
}

static void put_legend(const struct page *page)
{
    fputs("<ul class=\"legend\">\n", page->out);
    for (int i = 0; i < STATE_COUNT; i++) {
        const char *name = target_state_name((enum target_state)i);
        fprintf(page->out, "<li><i class=\"span %s\"></i>%s</li>\n", name, name);
    }
    fputs("</ul>\n", page->out);
}

char *html_report_text(const struct run_view *run)
{
    char *text = NULL;
    size_t size = 0;
    char headline[400];
    struct page page = {
        .run = run, .out = open_memstream(&text, &size), .timeline = timeline_of(run)};
    if (page.out == NULL)
        return NULL;
    bool good = summary_headline(run, headline, sizeof headline);
    headline[strcspn(headline, ":")] = '\0'; /* the counts come below it */
    put_head(&page, headline);
    fputs("<body>\n<main>\n", page.out);
    put_header(&page, headline, good);
    put_troubles(&page);
    if (run->target_count > 0)
        put_legend(&page);
    for (unsigned wave = 0; wave < run->wave_count; wave++)
        put_wave(&page, wave);
    fputs("<footer>Select a device to see more of it. Written by fleetflash.</footer>\n"
          "</main>\n</body>\n</html>",
          page.out);
    bool failed = ferror(page.out) != 0;
    if (fclose(page.out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
