/* SPDX-License-Identifier: Apache-2.0 */
/* Who may be flashed by itself: this machine, and alone. */
#include "run/self.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

static void own_names_and_addresses_are_ours(void **state)
{
    char name[128] = "";
    (void)state;
    assert_int_equal(gethostname(name, sizeof name - 1), 0);
    assert_true(self_is_host(name));
    assert_true(self_is_host("localhost"));
    assert_true(self_is_host("127.0.0.1"));
    assert_true(self_is_host("127.0.1.1"));
    assert_false(self_is_host("192.0.2.77")); /* RFC 5737: nobody's */
    assert_false(self_is_host("2001:db8::77"));
    assert_false(self_is_host("no.such.host.invalid"));
}

static int check(const char *text, const char *limit, bool all_local, bool mode_given, bool dry,
                 struct error *err)
{
    struct diagnostics mistakes = {0};
    struct inventory *inventory = inventory_parse("lab.yaml", text, strlen(text), &mistakes);
    bool selected[8] = {false};
    char message[200];
    assert_non_null(inventory);
    diagnostics_free(&mistakes);
    assert_true(inventory_select(inventory, limit, selected, message, sizeof message) > 0);
    struct self_question question = {.inventory = inventory,
                                     .selected = selected,
                                     .all_local = all_local,
                                     .mode_given = mode_given,
                                     .check = dry};
    memset(err, 0, sizeof *err);
    int status = self_check(&question, err);
    inventory_free(inventory);
    return status;
}

static const char lab[] = "groups:\n"
                          "  lab:\n"
                          "    hosts:\n"
                          "      self: {host: localhost, mode: local}\n"
                          "      far: {host: 192.0.2.77, mode: local}\n"
                          "      pi: {host: 192.0.2.78}\n";

static void alone_or_not_at_all(void **state)
{
    struct error err;
    (void)state;
    assert_int_equal(check(lab, "self", false, false, false, &err), 0);
    assert_int_equal(check(lab, "pi", false, false, false, &err), 0);
    assert_int_equal(check(lab, "self,pi", false, false, false, &err), -1);
    assert_int_equal(err.cls, ERROR_USAGE);
    assert_non_null(strstr(err.text, "alone, not with pi"));
    assert_non_null(strstr(err.remedy, "--limit '!self'"));
    /* A look at the plan ends nobody. */
    assert_int_equal(check(lab, "self,pi", false, false, true, &err), 0);
}

static void another_machine_is_not_this_one(void **state)
{
    struct error err;
    (void)state;
    assert_int_equal(check(lab, "far", false, false, false, &err), -1);
    assert_non_null(strstr(err.text, "lab.yaml:5: far: mode local, and its host 192.0.2.77"));
    assert_int_equal(check(lab, "far", false, false, true, &err), -1);
    /* --mode stage: it is a device like any other */
    assert_int_equal(check(lab, "far", false, true, false, &err), 0);
    /* --mode local: the others are this machine too, or so it is said */
    assert_int_equal(check(lab, "pi", true, false, false, &err), -1);
}

static void an_inventory_of_its_own(void **state)
{
    struct diagnostics mistakes = {0};
    (void)state;
    struct inventory *inventory = self_inventory(&mistakes);
    assert_non_null(inventory);
    assert_int_equal(mistakes.count, 0);
    diagnostics_free(&mistakes);
    assert_int_equal(inventory->target_count, 1);
    assert_int_equal(inventory->targets[0].mode, INVENTORY_LOCAL);
    assert_string_equal(inventory->file, SELF_INVENTORY);
    bool selected[] = {true};
    struct self_question question = {.inventory = inventory, .selected = selected};
    struct error err;
    assert_int_equal(self_check(&question, &err), 0);
    inventory_free(inventory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_names_and_addresses_are_ours),
        cmocka_unit_test(alone_or_not_at_all),
        cmocka_unit_test(another_machine_is_not_this_one),
        cmocka_unit_test(an_inventory_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
