/* SPDX-License-Identifier: Apache-2.0 */
/* Earlier runs: counted, listed with their steps, found by the beginning of their id, forgotten. */
#include "base/clock.h"
#include "journal/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uv_loop_t loop;
static char folder[64];
static struct journal *journal;

static int open_there(void **state)
{
    (void)state;
    struct error err;
    strcpy(folder, "/tmp/history-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    uv_loop_init(&loop);
    journal = journal_open(&loop, folder, &err);
    return journal != NULL ? 0 : -1;
}

static int close_there(void **state)
{
    (void)state;
    char command[100];
    journal_close(journal);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void begin(const char *id, uint64_t started)
{
    struct journal_run run = {.inventory = "/i.yaml", .image = "/x.img", .started = started};
    struct error err;
    strcpy(run.id, id);
    assert_int_equal(journal_begin_run(journal, &run, NULL, 0, &err), 0);
}

static void put(const char *run, const char *name, const char *step, const char *outcome)
{
    struct journal_target target = {0};
    strcpy(target.name, name);
    strcpy(target.step, step);
    strcpy(target.state, "probe");
    strcpy(target.outcome, outcome);
    journal_put(journal, run, &target, NULL, NULL);
}

struct seen {
    char text[400];
    struct history_counts counts;
};

static void run_callback(const struct journal_run *run, const struct history_counts *counts,
                         void *arg)
{
    struct seen *seen = arg;
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%s ",
             run->id);
    if (strcmp(run->id, "b-2") == 0)
        seen->counts = *counts;
}

static void step_callback(const struct history_step *step, void *arg)
{
    struct seen *seen = arg;
    assert_true(step->time > 0);
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%s%s%s ",
             step->step, step->outcome[0] != '\0' ? "=" : "", step->outcome);
}

static void runs_and_steps_are_listed(void **state)
{
    (void)state;
    struct error err;
    struct seen seen = {0};
    begin("a-1", 1000);
    begin("b-2", 2000);
    put("b-2", "one", "connect", "");
    put("b-2", "two", "connect", "");
    put("b-2", "one", "write", "");
    put("b-2", "one", "done", "flashed");
    put("b-2", "three", "done", "failed");
    journal_end_run(journal, "b-2", 3000, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(history_each_run(journal, run_callback, &seen, &err), 0);
    assert_string_equal(seen.text, "b-2 a-1 ");
    assert_int_equal(seen.counts.devices, 3);
    assert_int_equal(seen.counts.flashed, 1);
    assert_int_equal(seen.counts.failed, 1);
    assert_int_equal(seen.counts.under_way, 1);
    assert_int_equal(seen.counts.unchanged + seen.counts.skipped + seen.counts.not_started, 0);
    seen.text[0] = '\0';
    assert_int_equal(history_each_step(journal, "b-2", "one", step_callback, &seen, &err), 0);
    assert_string_equal(seen.text, "connect write done=flashed ");
}

static void event_callback(const struct history_event *event, void *arg)
{
    struct seen *seen = arg;
    assert_true(event->time > 0);
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%s/%s/%s ",
             event->target, event->event, event->text);
}

/* Nobody waits for them: neither the loop nor the disk. */
static void events_are_kept(void **state)
{
    (void)state;
    struct error err;
    struct seen seen = {0};
    begin("run", clock_unix_ms());
    journal_note_event(journal, "run", "", "run_started", "{}");
    journal_note_event(journal, "run", "one", "target_log", "{\"text\":\"x\"}");
    put("run", "one", "connect", "");
    uv_run(&loop, UV_RUN_DEFAULT); /* until the step is written, and with it what came before */
    assert_int_equal(history_each_event(journal, "run", event_callback, &seen, &err), 0);
    assert_string_equal(seen.text, "/run_started/{} one/target_log/{\"text\":\"x\"} ");

    journal_note_event(journal, "run", "", "run_ended", "{}");
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    journal_close(journal); /* which writes it */
    uv_run(&loop, UV_RUN_DEFAULT);
    journal = journal_open(&loop, folder, &err);
    assert_non_null(journal);
    seen.text[0] = '\0';
    assert_int_equal(history_each_event(journal, "run", event_callback, &seen, &err), 0);
    assert_non_null(strstr(seen.text, "/run_ended/{} "));

    char id[PROTOCOL_RUN_ID_MAX + 1];
    for (unsigned i = 0; i < HISTORY_EVENT_RUNS; i++) {
        snprintf(id, sizeof id, "later-%03u", i);
        begin(id, clock_unix_ms() + 1000 + i);
    }
    seen.text[0] = '\0';
    assert_int_equal(history_prune(journal, clock_unix_ms(), &err), 0);
    assert_int_equal(history_each_event(journal, "run", event_callback, &seen, &err), 0);
    assert_string_equal(seen.text, "");
    assert_int_equal(history_resolve(journal, "run", id, &err), 0); /* the run itself stays */
}

static void a_run_is_found_by_its_beginning(void **state)
{
    (void)state;
    struct error err;
    char id[PROTOCOL_RUN_ID_MAX + 1];
    begin("2026-a", 1);
    begin("2026-ab", 2);
    begin("2027%", 3);
    assert_int_equal(history_resolve(journal, "2027", id, &err), 0);
    assert_string_equal(id, "2027%");
    assert_int_equal(history_resolve(journal, "2026-a", id, &err), 0);
    assert_string_equal(id, "2026-a"); /* the whole of it */
    assert_int_equal(history_resolve(journal, "2026", id, &err), -1);
    assert_int_equal(err.cls, ERROR_USAGE);
    assert_int_equal(history_resolve(journal, "%", id, &err), -1);
    assert_string_equal(err.text, "there is no run % in the journal");
}

static void old_runs_are_forgotten(void **state)
{
    (void)state;
    struct error err;
    struct seen seen = {0};
    uint64_t now = clock_unix_ms(), old = now - (HISTORY_DAYS + 1) * 24ull * 3600 * 1000;
    begin("old", old);
    begin("old-left", old + 1);
    begin("new", now);
    put("old", "one", "done", "flashed");
    put("old-left", "one", "write", "");
    put("new", "one", "done", "flashed");
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(history_prune(journal, clock_unix_ms(), &err), 0);
    assert_int_equal(history_each_run(journal, run_callback, &seen, &err), 0);
    assert_string_equal(seen.text, "new old-left ");
    seen.text[0] = '\0';
    assert_int_equal(history_each_step(journal, "old", "one", step_callback, &seen, &err), 0);
    assert_string_equal(seen.text, "");
}

/* A controller without a battery for its clock, before it has asked for the time. */
static void nothing_is_old_in_1970(void **state)
{
    (void)state;
    struct error err;
    struct seen seen = {0};
    begin("then", 5000);
    begin("of-now", clock_unix_ms());
    put("of-now", "one", "done", "flashed");
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(history_prune(journal, 60000, &err), 0);
    assert_int_equal(history_each_run(journal, run_callback, &seen, &err), 0);
    assert_string_equal(seen.text, "of-now then ");
}

static void too_many_runs_are_forgotten(void **state)
{
    (void)state;
    struct error err;
    char id[PROTOCOL_RUN_ID_MAX + 1];
    uint64_t now = clock_unix_ms();
    for (unsigned i = 0; i < HISTORY_RUNS + 2; i++) {
        snprintf(id, sizeof id, "r%04u", i);
        begin(id, now + i);
    }
    assert_int_equal(history_prune(journal, clock_unix_ms(), &err), 0);
    assert_int_equal(history_resolve(journal, "r0001", id, &err), -1);
    assert_int_equal(history_resolve(journal, "r0002", id, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_and_steps_are_listed, open_there, close_there),
        cmocka_unit_test_setup_teardown(events_are_kept, open_there, close_there),
        cmocka_unit_test_setup_teardown(a_run_is_found_by_its_beginning, open_there, close_there),
        cmocka_unit_test_setup_teardown(old_runs_are_forgotten, open_there, close_there),
        cmocka_unit_test_setup_teardown(nothing_is_old_in_1970, open_there, close_there),
        cmocka_unit_test_setup_teardown(too_many_runs_are_forgotten, open_there, close_there),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
