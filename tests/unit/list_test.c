/* SPDX-License-Identifier: Apache-2.0 */
/* What --list prints, for people and for programs. */
#include "cli/list.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char lab[] =
    "groups:\n"
    "  canary: {hosts: {pi-01: {host: 10.0.0.11, user: pi, port: 22}}}\n"
    "  lab:\n"
    "    vars: {services: {policy: systemd, stop: [a, b]}}\n"
    "    hosts: {long-name: {host: fe80::1, port: 2222, mode: stage, device: 'model:Größe'}, x: }\n"
    "  both: {hosts: {pi-01: }}\n"
    "rollout: {waves: [{groups: [canary], max_failures: 0, soak: 2m},\n"
    "  {groups: [lab], parallel: 4, pause: confirm, gate: g, window: 01:00-05:00}]}\n";

static struct inventory *lab_inventory(void)
{
    struct diagnostics mistakes = {0};
    struct inventory *inventory = inventory_parse("f", lab, strlen(lab), &mistakes);
    assert_non_null(inventory);
    return inventory;
}

typedef void (*printer)(const struct inventory *, const bool *, FILE *);

static char *printed(printer print, const struct inventory *inventory, const bool *selected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(inventory, selected, out);
    fclose(out);
    return text;
}

static void print_json(const struct inventory *inventory, const bool *selected, FILE *out)
{
    assert_int_equal(list_print_json(inventory, selected, out), 0);
}

static void test_table(void **state)
{
    (void)state;
    struct inventory *inventory = lab_inventory();
    char *text = printed(list_print, inventory, NULL);
    assert_string_equal(
        text, "NAME       GROUPS       LOGIN            MODE   DEVICE       POLICY\n"
              "pi-01      canary,both  pi@10.0.0.11:22  auto   auto         -\n"
              "long-name  lab          [fe80::1]:2222   stage  model:Größe  systemd\n"
              "x          lab          x                auto   auto         systemd\n"
              "\n"
              "3 targets\n"
              "\n"
              "waves:\n"
              "  1. canary: 1 target, any failure halts it, then 2m00s of soak\n"
              "  2. lab: 2 targets, 4 at once, started 01:00-05:00, a gate, a question\n");
    free(text);
    inventory_free(inventory);
}

static void test_selection(void **state)
{
    (void)state;
    struct inventory *inventory = lab_inventory();
    const bool selected[] = {false, false, true};
    char *text = printed(list_print, inventory, selected);
    assert_string_equal(text,
                        "NAME  GROUPS  LOGIN  MODE  DEVICE  POLICY\n"
                        "x     lab     x      auto  auto    systemd\n"
                        "\n"
                        "1 target of 3\n"
                        "\n"
                        "waves:\n"
                        "  1. canary: 0 targets, any failure halts it, then 2m00s of soak\n"
                        "  2. lab: 1 target, 4 at once, started 01:00-05:00, a gate, a question\n");
    free(text);
    inventory_free(inventory);
}

static void test_json(void **state)
{
    (void)state;
    struct inventory *inventory = lab_inventory();
    char *text = printed(print_json, inventory, NULL), *rest = text, *line;
    size_t count = 0;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        const char *event = json_string_value(json_object_get(object, "event"));
        assert_int_equal(json_string_length(json_object_get(object, "time")),
                         strlen("2026-01-01T00:00:00.000Z"));
        assert_string_equal(event, count < 3 ? "target_listed" : "wave_listed");
        if (count == 1) {
            assert_string_equal(json_string_value(json_object_get(object, "target")), "long-name");
            assert_string_equal(json_string_value(json_object_get(object, "device")),
                                "model:Größe");
            assert_int_equal(json_integer_value(json_object_get(object, "port")), 2222);
            assert_int_equal(json_integer_value(json_object_get(object, "wave")), 2);
            assert_true(json_is_null(json_object_get(object, "user")));
            assert_true(json_real_value(json_object_get(object, "connect_timeout")) == 15);
            json_t *services = json_object_get(object, "services");
            json_t *stop = json_object_get(json_object_get(services, "parameters"), "stop");
            assert_int_equal(json_array_size(stop), 2);
        }
        if (count == 4)
            assert_string_equal(json_string_value(json_object_get(object, "window")),
                                "01:00-05:00");
        json_decref(object);
        count++;
    }
    assert_int_equal(count, 5);
    free(text);
    inventory_free(inventory);
}

/* The rows of an event's table in docs/events.md. */
static json_t *documented(const char *event)
{
    json_t *names = json_object();
    char line[1000], heading[100], field[100];
    bool inside = false;
    FILE *file = fopen(SOURCE_DIR "/docs/events.md", "r");
    assert_non_null(file);
    snprintf(heading, sizeof heading, "### `%s`\n", event);
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#')
            inside = strcmp(line, heading) == 0;
        else if (inside && sscanf(line, "| `%99[a-z_]` |", field) == 1)
            json_object_set_new(names, field, json_true());
    }
    fclose(file);
    return names;
}

static void test_documentation(void **state)
{
    (void)state;
    struct inventory *inventory = lab_inventory();
    char *text = printed(print_json, inventory, NULL), *rest = text, *line;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        json_t *object = json_loads(line, 0, NULL), *value;
        json_t *names = documented(json_string_value(json_object_get(object, "event")));
        const char *key;
        assert_true(json_object_size(names) > 5);
        json_object_set_new(names, "event", json_true());
        json_object_set_new(names, "time", json_true());
        json_object_foreach(object, key, value)
        {
            if (json_object_del(names, key) != 0)
                fail_msg("%s is not documented", key);
        }
        if (json_object_size(names) != 0)
            fail_msg("%s is documented and not there",
                     json_object_iter_key(json_object_iter(names)));
        json_decref(names);
        json_decref(object);
    }
    free(text);
    inventory_free(inventory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
