/* SPDX-License-Identifier: Apache-2.0 */
/* The event stream: when events come, that they are JSON, and that docs/events.md lists each name.
 */
#include "report/events.h"
#include "report_fake.h"

#include <jansson.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t now;

static uint64_t fake_now(void)
{
    return now;
}

struct scene {
    struct fake *fake;
    int fd;
    struct events *events;
    struct run_observer see;
};

static struct scene scene_begin(size_t targets, int verbosity)
{
    struct scene scene = {.fake = fake_new(targets), .fd = fake_file()};
    now = FAKE_STARTED;
    scene.events = events_new(
        &(struct events_options){.fd = scene.fd, .verbosity = verbosity, .unix_now = fake_now});
    scene.see = events_observer(scene.events);
    return scene;
}

/* All events, each line parsed. */
static json_t *scene_end(struct scene *scene)
{
    events_free(scene->events);
    char *text = fake_read(scene->fd);
    json_t *list = json_array();
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && rest != NULL;) {
        json_error_t problem;
        json_t *event = json_loads(line, JSON_REJECT_DUPLICATES, &problem);
        assert_non_null(event);
        json_array_append_new(list, event);
    }
    free(text);
    close(scene->fd);
    fake_free(scene->fake);
    return list;
}

static void tell_state(struct scene *scene, size_t index, enum target_state state, unsigned blocks)
{
    struct target_status *target = &scene->fake->targets[index];
    target->started = true;
    target->attempts = 1;
    target->state = state;
    target->blocks_done = blocks;
    target->blocks_total = 100;
    scene->see.target_changed(&scene->fake->run, target, scene->see.arg);
}

/* A run in which everything occurs. */
static void act(struct scene *scene)
{
    struct fake *fake = scene->fake;
    struct target_status *target = &fake->targets[0];
    scene->see.run_started(&fake->run, scene->see.arg);
    fake_image(fake);
    scene->see.image_ready(&fake->run, scene->see.arg);
    scene->see.wave_started(&fake->run, 0, scene->see.arg);
    scene->see.target_changed(&fake->run, target, scene->see.arg); /* has not begun: nothing */
    tell_state(scene, 0, STATE_PROBE, 0);
    fake_facts(fake, 0);
    tell_state(scene, 0, STATE_TRANSFER, 0);
    for (unsigned i = 1; i <= 25; i++) { /* ten changes a second */
        now += 100;
        target->rate = 1e6;
        target->remaining_ms = 1500;
        tell_state(scene, 0, STATE_TRANSFER, i);
    }
    scene->see.target_log(&fake->run, target, LOG_DEBUG, "deep", scene->see.arg);
    scene->see.target_log(&fake->run, target, LOG_INFO, "shallow \x1b\xff", scene->see.arg);
    scene->see.message(&fake->run, LOG_DEBUG, "hm", scene->see.arg);
    scene->see.message(&fake->run, LOG_WARNING, "one target only", scene->see.arg);
    fake_flashed(fake, 0);
    scene->see.target_done(&fake->run, target, scene->see.arg);
    fake_failed(fake, 1, "no answer", "power?");
    scene->see.target_done(&fake->run, &fake->targets[1], scene->see.arg);
    scene->see.soak_started(&fake->run, 0, FAKE_STARTED + 120000, scene->see.arg);
    target->outcome = OUTCOME_FAILED;
    target->damage = DAMAGE_DIED;
    error_set(&target->error, ERROR_NETWORK, "gone");
    scene->see.target_soaked(&fake->run, target, scene->see.arg);
    scene->see.soak_ended(&fake->run, 0, scene->see.arg);
    target->outcome = OUTCOME_FLASHED;
    fake_ended(fake, 75000, 1);
    scene->see.run_ended(&fake->run, scene->see.arg);
}

static json_t *play(int verbosity)
{
    struct scene scene = scene_begin(2, verbosity);
    act(&scene);
    return scene_end(&scene);
}

static const char *string_of(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));
    return text != NULL ? text : "";
}

static void test_order_and_rate(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "run_started",     "image_ready",     "wave_started", "target_state", "target_state",
        "target_progress", "target_progress", /* 25 changes in 2.5 s: the first, one
                                                 1 s, one 2 s */
        "target_progress", "target_log",      "message",      "target_done",  "target_done",
        "soak_started",    "target_soaked",   "soak_ended",   "run_ended"};
    json_t *list = play(0);
    assert_int_equal(json_array_size(list), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < json_array_size(list); i++)
        assert_string_equal(string_of(json_array_get(list, i), "event"), expected[i]);
    json_decref(list);
    list = play(2);
    assert_int_equal(json_array_size(list), sizeof expected / sizeof *expected + 2);
    json_decref(list);
}

struct kept {
    char names[400];
    unsigned of_run, of_target;
};

static void keep_callback(const char *run, const char *target, const char *event,
                          const char *object, void *arg)
{
    struct kept *kept = arg;
    json_t *parsed = json_loads(object, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(string_of(parsed, "event"), event);
    assert_string_equal(string_of(parsed, "target"), target);
    assert_string_equal(run, "20261120T230105-3f2a");
    kept->of_run += target[0] == '\0';
    kept->of_target += strcmp(target, "pi-01") == 0;
    snprintf(kept->names + strlen(kept->names), sizeof kept->names - strlen(kept->names), "%s ",
             event);
    json_decref(parsed);
}

/* What the journal gets: everything but progress. */
static void test_kept(void **state)
{
    (void)state;
    struct kept kept = {0};
    struct scene scene = {.fake = fake_new(2)};
    now = FAKE_STARTED;
    scene.events = events_new(
        &(struct events_options){.unix_now = fake_now, .keep = keep_callback, .arg = &kept});
    scene.see = events_observer(scene.events);
    act(&scene);
    events_free(scene.events);
    fake_free(scene.fake);
    assert_string_equal(kept.names,
                        "run_started image_ready wave_started target_state target_state "
                        "target_log message target_done target_done soak_started target_soaked "
                        "soak_ended run_ended ");
    assert_int_equal(kept.of_run, 7);
    assert_int_equal(kept.of_target, 5);
}

static void test_values(void **state)
{
    (void)state;
    json_t *list = play(0);
    const json_t *start = json_array_get(list, 0);
    assert_string_equal(string_of(start, "time"), "2026-11-20T23:01:05.123Z");
    assert_int_equal(json_integer_value(json_object_get(start, "version")), EVENTS_VERSION);
    const json_t *change = json_array_get(list, 4);
    assert_string_equal(string_of(change, "previous"), "probe");
    assert_string_equal(string_of(change, "state"), "transfer");
    assert_string_equal(string_of(json_array_get(list, 8), "text"), "shallow \x1b\xef\xbf\xbd");
    const json_t *failed = json_array_get(list, 11);
    assert_string_equal(string_of(failed, "target"), "pi-02");
    assert_string_equal(string_of(json_object_get(failed, "error"), "class"), "network");
    assert_string_equal(string_of(json_object_get(failed, "error"), "remedy"), "power?");
    assert_string_equal(string_of(json_array_get(list, 12), "until"), "2026-11-20T23:03:05.123Z");
    const json_t *soaked = json_array_get(list, 13);
    assert_string_equal(string_of(soaked, "outcome"), "failed");
    assert_string_equal(string_of(soaked, "damage"), "died");
    assert_string_equal(string_of(json_object_get(soaked, "error"), "text"), "gone");
    const json_t *died = json_object_get(json_array_get(list, 14), "died");
    assert_int_equal(json_integer_value(died), 1);
    const json_t *end = json_array_get(list, 15);
    assert_int_equal(json_integer_value(json_object_get(end, "exit_code")), 1);
    const json_t *counts = json_object_get(end, "counts");
    assert_int_equal(json_integer_value(json_object_get(counts, "flashed")), 1);
    assert_int_equal(json_integer_value(json_object_get(counts, "failed")), 1);
    assert_int_equal(json_integer_value(json_object_get(counts, "not-started")), 0);
    json_decref(list);
}

/* --- the documentation
 * ---------------------------------------------------------------------------- */

static void add_name(json_t *names, const char *event, const char *field)
{
    char name[200];
    snprintf(name, sizeof name, "%s.%s", event, field);
    json_object_set_new(names, name, json_true());
}

/* "event.field" of every table row "| `field` |" below a heading "### `event`"; the rows below
 * "every event" count for "*". */
static json_t *documented_names(void)
{
    json_t *names = json_object();
    FILE *file = fopen(SOURCE_DIR "/docs/events.md", "r");
    assert_non_null(file);
    char line[1000], event[100] = "*", field[100];
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "## ", 3) == 0)
            break; /* other events than a run's */
        if (sscanf(line, "### `%99[a-z_]`", event) == 1)
            continue;
        if (sscanf(line, "| `%99[a-z_0-9]` |", field) == 1)
            add_name(names, event, field);
    }
    fclose(file);
    return names;
}

static json_t *emitted_names(void)
{
    json_t *names = json_object();
    json_t *list = play(2);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *event = json_array_get(list, i);
        const char *key;
        json_t *value;
        json_object_foreach(event, key, value)
        {
            bool common = strcmp(key, "event") == 0 || strcmp(key, "time") == 0;
            add_name(names, common ? "*" : string_of(event, "event"), key);
        }
    }
    json_decref(list);
    return names;
}

static void assert_all_in(json_t *names, const json_t *others, const char *where)
{
    const char *name;
    json_t *value;
    json_object_foreach(names, name, value)
    {
        if (json_object_get(others, name) == NULL)
            fail_msg("%s is not %s", name, where);
    }
}

static void test_documentation(void **state)
{
    (void)state;
    json_t *documented = documented_names();
    json_t *emitted = emitted_names();
    assert_true(json_object_size(emitted) > 40);
    assert_all_in(emitted, documented, "documented");
    assert_all_in(documented, emitted, "emitted");
    json_decref(documented);
    json_decref(emitted);
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_rate),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
