/* SPDX-License-Identifier: Apache-2.0 */
/* Right inventories and what comes of them. */
#include "inventory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct inventory *parse(const char *text)
{
    struct diagnostics mistakes = {0};
    struct inventory *inventory = inventory_parse("f", text, strlen(text), &mistakes);
    for (size_t i = 0; i < mistakes.count; i++)
        print_error("%s\n", mistakes.texts[i]);
    assert_non_null(inventory);
    assert_int_equal(mistakes.count, 0);
    return inventory;
}

static const struct target_spec *find(const struct inventory *inventory, const char *name)
{
    for (size_t i = 0; i < inventory->target_count; i++) {
        if (strcmp(inventory->targets[i].name, name) == 0)
            return &inventory->targets[i];
    }
    fail_msg("no target %s", name);
    return NULL;
}

static struct inventory *load_example(const char *name)
{
    char path[600];
    struct diagnostics mistakes = {0};
    snprintf(path, sizeof path, SOURCE_DIR "/inventory/examples/%s", name);
    struct inventory *inventory = inventory_load(path, &mistakes);
    assert_int_equal(mistakes.count, 0);
    assert_non_null(inventory);
    return inventory;
}

static void test_builtin_defaults(void **state)
{
    (void)state;
    struct inventory *inventory = parse("groups: {g: {hosts: {a: }}}\n");
    assert_int_equal(inventory->target_count, 1);
    assert_int_equal(inventory->wave_count, 0);
    const struct target_spec *a = &inventory->targets[0];
    assert_string_equal(a->name, "a");
    assert_string_equal(a->host, "a");
    assert_string_equal(a->group, "g");
    assert_string_equal(a->groups[0], "g");
    assert_null(a->groups[1]);
    assert_null(a->user);
    assert_null(a->identity);
    assert_int_equal(a->port, 0);
    assert_int_equal(a->become, BECOME_SUDO);
    assert_int_equal(a->host_key.kind, KEY_STRICT);
    assert_int_equal(a->mode, INVENTORY_AUTO);
    assert_string_equal(a->device, "auto");
    assert_int_equal(a->reach, REACH_SSH);
    assert_null(a->health);
    assert_int_equal(a->connect_timeout, 15000);
    assert_int_equal(a->transfer_timeout, 60000);
    assert_int_equal(a->reboot_timeout, 300000);
    assert_int_equal(a->retries, 3);
    assert_null(a->after.host);
    assert_int_equal(a->after.host_key.kind, KEY_UNSET);
    assert_null(a->services.policy);
    assert_null(a->mac);
    assert_false(a->reset.present);
    assert_int_equal(a->recovery, RECOVERY_NONE);
    assert_int_equal(a->at.line, 1);
    assert_int_equal(a->at.column, 22);
    inventory_free(inventory);
}

static void test_example_lab(void **state)
{
    (void)state;
    struct inventory *inventory = load_example("lab.yaml");
    assert_int_equal(inventory->target_count, 25);
    const struct target_spec *first = find(inventory, "pi-01"), *ninth = find(inventory, "pi-09");
    assert_string_equal(first->host, "10.0.0.11");
    assert_string_equal(first->user, "pi");
    assert_null(first->services.policy);
    assert_string_equal(ninth->host, "10.0.0.19");
    assert_string_equal(ninth->health, "systemctl is-system-running --wait");
    assert_string_equal(ninth->services.policy, "systemd");
    assert_int_equal(ninth->services.parameter_count, 1);
    assert_string_equal(ninth->services.parameters[0].key, "stop");
    assert_string_equal(ninth->services.parameters[0].values[1], "docker.service");
    assert_null(ninth->services.parameters[0].values[2]);
    const struct target_spec *last = &inventory->targets[24];
    assert_string_equal(last->name, "pi-25");
    assert_string_equal(last->mac, "dc:a6:32:01:02:03");
    assert_true(last->reset.present);
    assert_string_equal(last->reset.chip, "gpiochip0");
    assert_string_equal(last->reset.line, "17");
    assert_true(last->reset.active_low);
    assert_int_equal(last->reset.hold, 500);
    assert_int_equal(last->recovery, RECOVERY_NETBOOT);
    assert_int_equal(inventory->wave_count, 2);
    assert_int_equal(inventory->waves[0].soak, 120000);
    assert_int_equal(inventory->waves[1].parallel, 16);
    assert_int_equal(failure_limit_allows(&inventory->waves[0].max_failures, 24), 0);
    assert_int_equal(failure_limit_allows(&inventory->waves[1].max_failures, 24), 2);
    assert_int_equal(inventory_wave_of(inventory, 0), 0);
    assert_int_equal(inventory_wave_of(inventory, 24), 1);
    inventory_free(inventory);
}

static void test_example_minimal(void **state)
{
    (void)state;
    struct inventory *inventory = load_example("minimal.yaml");
    assert_int_equal(inventory->target_count, 2);
    assert_string_equal(inventory->targets[1].host, "pi-02.lan");
    inventory_free(inventory);
}

static void test_inheritance(void **state)
{
    (void)state;
    struct inventory *inventory =
        parse("defaults: {user: d, port: 1, health: d, after: {user: x, port: 9}}\n"
              "groups:\n"
              "  g:\n"
              "    vars: {port: 2, retries: 5, after: {host_key: keep}}\n"
              "    hosts:\n"
              "      a: {retries: 7, health: , after: {host: new}}\n"
              "      b: {port: }\n"
              "      c: {after: }\n");
    const struct target_spec *a = find(inventory, "a"), *b = find(inventory, "b");
    const struct target_spec *c = find(inventory, "c");
    assert_string_equal(a->user, "d");
    assert_int_equal(a->port, 2);
    assert_int_equal(a->retries, 7);
    assert_null(a->health); /* empty: back to the built-in default */
    assert_string_equal(b->health, "d");
    assert_int_equal(b->port, 0);
    assert_int_equal(b->retries, 5);
    /* after is merged key by key */
    assert_string_equal(a->after.host, "new");
    assert_string_equal(a->after.user, "x");
    assert_int_equal(a->after.port, 9);
    assert_int_equal(a->after.host_key.kind, KEY_KEEP);
    assert_null(b->after.host);
    assert_null(c->after.user);
    assert_int_equal(c->after.host_key.kind, KEY_UNSET);
    inventory_free(inventory);
}

static void test_references(void **state)
{
    (void)state;
    struct inventory *inventory = parse("groups:\n"
                                        "  early: {vars: {port: 1}, hosts: {b-2: , lone: }}\n"
                                        "  main: {vars: {port: 2}, hosts: {a: {}, 'b-[1:3]': {}}}\n"
                                        "  late: {vars: {port: 3}, hosts: {'b-[2:3]': , a: }}\n");
    assert_int_equal(inventory->target_count, 5);
    /* file order of bodies; a bare name is one when there is no other */
    static const char *const names[] = {"lone", "a", "b-1", "b-2", "b-3"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(inventory->targets[i].name, names[i]);
    const struct target_spec *b2 = find(inventory, "b-2");
    assert_string_equal(b2->group, "main");
    assert_int_equal(b2->port, 2);
    assert_string_equal(b2->groups[0], "early");
    assert_string_equal(b2->groups[1], "main");
    assert_string_equal(b2->groups[2], "late");
    assert_null(b2->groups[3]);
    assert_int_equal(find(inventory, "lone")->port, 1);
    inventory_free(inventory);
}

static void test_ranges(void **state)
{
    (void)state;
    struct inventory *inventory =
        parse("groups:\n"
              "  g:\n"
              "    hosts:\n"
              "      p-[08:11]: {host: \"10.0.0.[1:4]\", port: \"[2201:2204]\",\n"
              "                  reset: {chip: c, line: \"[0:3]\"}}\n"
              "      r[1:2]-[09:10]: {host: \"10.1.[1:2].[5:6]\"}\n"
              "      f[1:2]-[1:2]: {host: \"10.2.0.[1:4]\"}\n");
    assert_int_equal(inventory->target_count, 12);
    assert_string_equal(inventory->targets[1].name, "p-09");
    assert_string_equal(inventory->targets[1].host, "10.0.0.2");
    assert_int_equal(inventory->targets[2].port, 2203);
    assert_string_equal(inventory->targets[3].name, "p-11");
    assert_string_equal(inventory->targets[3].reset.line, "3");
    assert_string_equal(find(inventory, "r1-10")->host, "10.1.1.6");
    assert_string_equal(find(inventory, "r2-09")->host, "10.1.2.5");
    assert_string_equal(find(inventory, "f2-1")->host, "10.2.0.3");
    inventory_free(inventory);
}

static void test_services_layers(void **state)
{
    (void)state;
    struct inventory *inventory =
        parse("defaults: {services: {policy: systemd, stop: x, wait: 5s}}\n"
              "groups:\n"
              "  g:\n"
              "    hosts:\n"
              "      a: {services: {stop: [y, z], kill: yes}}\n"
              "      b: {services: {policy: exec, path: /p}}\n"
              "      c: {services: }\n");
    const struct services_spec *a = &find(inventory, "a")->services;
    assert_string_equal(a->policy, "systemd");
    assert_int_equal(a->parameter_count, 3);
    assert_string_equal(a->parameters[0].key, "stop");
    assert_string_equal(a->parameters[0].values[1], "z");
    assert_int_equal(a->parameters[0].at.line, 5);
    assert_int_equal(a->parameters[0].at.column, 22);
    assert_string_equal(a->parameters[1].values[0], "5s");
    assert_string_equal(a->parameters[2].values[0], "yes");
    const struct services_spec *b = &find(inventory, "b")->services;
    assert_string_equal(b->policy, "exec");
    assert_int_equal(b->parameter_count, 1);
    assert_null(find(inventory, "c")->services.policy);
    inventory_free(inventory);
}

static void test_reset_layers(void **state)
{
    (void)state;
    struct inventory *inventory = parse("groups:\n"
                                        "  g:\n"
                                        "    vars: {reset: {chip: c, active: low}}\n"
                                        "    hosts:\n"
                                        "      wired: {reset: {line: 4}}\n"
                                        "      unwired: {}\n"
                                        "      plug: {reset: {command: cycle 3}}\n");
    const struct reset_spec *wired = &find(inventory, "wired")->reset;
    assert_true(wired->present);
    assert_true(wired->active_low);
    assert_string_equal(wired->chip, "c");
    assert_int_equal(wired->hold, 500);
    assert_false(find(inventory, "unwired")->reset.present);
    const struct reset_spec *plug = &find(inventory, "plug")->reset;
    assert_true(plug->present);
    assert_string_equal(plug->command, "cycle 3");
    assert_null(plug->chip);
    inventory_free(inventory);
}

static void test_values(void **state)
{
    (void)state;
    struct inventory *inventory =
        parse("groups:\n"
              "  g:\n"
              "    hosts:\n"
              "      a:\n"
              "        host: fe80::1%eth0\n"
              "        host_key: SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n"
              "        after: {host_key: accept-once}\n"
              "        device: serial:0x1234\n"
              "        mode: local\n"
              "        become: none\n"
              "        reach: ping\n"
              "        retries: 0\n"
              "        connect_timeout: 90\n"
              "        mac: DCA632010203\n"
              "        health: |\n"
              "          test -e /ok\n"
              "          test -e /too\n"
              "notify: {on: always, command: mail}\n"
              "rollout: {waves: [{groups: g, window: 22:30-5:00, pause: confirm, gate: ./ok}]}\n");
    const struct target_spec *a = &inventory->targets[0];
    assert_string_equal(a->host, "fe80::1%eth0");
    assert_int_equal(a->host_key.kind, KEY_FINGERPRINT);
    assert_string_equal(a->host_key.fingerprint,
                        "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
    assert_int_equal(a->host_key.at.line, 6);
    assert_int_equal(a->after.host_key.kind, KEY_ACCEPT_ONCE);
    assert_string_equal(a->device, "serial:0x1234");
    assert_int_equal(a->mode, INVENTORY_LOCAL);
    assert_int_equal(a->become, BECOME_NONE);
    assert_int_equal(a->if_used, IF_USED_REFLASH);
    assert_int_equal(a->reach, REACH_PING);
    assert_int_equal(a->retries, 0);
    assert_int_equal(a->connect_timeout, 90000);
    assert_string_equal(a->mac, "dc:a6:32:01:02:03");
    assert_string_equal(a->health, "test -e /ok\ntest -e /too\n");
    assert_true(inventory->notify_always);
    assert_string_equal(inventory->notify_command, "mail");
    const struct wave_spec *wave = &inventory->waves[0];
    assert_string_equal(wave->groups[0], "g");
    assert_int_equal(wave->window_from, 22 * 60 + 30);
    assert_int_equal(wave->window_to, 300);
    assert_true(wave->pause_confirm);
    assert_string_equal(wave->gate, "./ok");
    assert_false(wave->max_failures.present);
    assert_int_equal(failure_limit_allows(&wave->max_failures, 5), SIZE_MAX);
    inventory_free(inventory);
}

static void test_anchors_and_merges(void **state)
{
    (void)state;
    struct inventory *inventory =
        parse("\xef\xbb\xbf" /* a byte order mark changes nothing */
              "defaults: &d {user: u, port: 1}\n"
              "groups:\n"
              "  g:\n"
              "    hosts:\n"
              "      a: &a {host: h1, if_used: keep, mode: stage, reach: ping}\n"
              "      b: {host: h2, <<: [*a, {mode: stream, retries: 1}]}\n"
              "  h: {vars: *d, hosts: {c: {<<: *a, host: h3}}}\n");
    const struct target_spec *b = find(inventory, "b"), *c = find(inventory, "c");
    assert_string_equal(b->host, "h2");
    assert_int_equal(b->mode, INVENTORY_STAGE);
    assert_int_equal(b->if_used, IF_USED_KEEP);
    assert_int_equal(find(inventory, "a")->if_used, IF_USED_KEEP);
    assert_int_equal(b->retries, 1);
    assert_int_equal(c->reach, REACH_PING);
    assert_string_equal(c->user, "u");
    inventory_free(inventory);
}

/* As many as there may be, and quickly. */
static void test_the_largest_inventory(void **state)
{
    (void)state;
    struct inventory *inventory = parse(
        "groups: {g: {hosts: {'a[0:15]-[000:255]': {}}}, h: {hosts: {'a[0:15]-[000:255]': }}}");
    assert_int_equal(inventory->target_count, 4096);
    assert_string_equal(inventory->targets[4095].name, "a15-255");
    assert_string_equal(inventory->targets[4095].groups[1], "h");
    inventory_free(inventory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtin_defaults),
        cmocka_unit_test(test_example_lab),
        cmocka_unit_test(test_example_minimal),
        cmocka_unit_test(test_inheritance),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_services_layers),
        cmocka_unit_test(test_reset_layers),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_anchors_and_merges),
        cmocka_unit_test(test_the_largest_inventory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
