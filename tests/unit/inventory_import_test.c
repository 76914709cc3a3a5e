/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of boards: every spelling gives the same inventory, every mistake its place. */
#include "import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Two boards, the first with a reset line, the second without. */
static const char *const spellings[] = {
    "dc:a6:32:01:02:03,10.0.0.11,17\ndc:a6:32:01:02:04,10.0.0.12,\n",
    "mac,ip,gpio\nDC-A6-32-01-02-03,10.0.0.11,17\ndca6.3201.0204,10.0.0.12\n",
    "\xef\xbb\xbfIP address;GPIO pin;MAC-Address\r\n10.0.0.11;17;dca632010203\r\n"
    "\"10.0.0.12\";-;\"DC:A6:32:01:02:04\"\r\n",
    "# the lab\n\n  dc:a6:32:01:02:03\t10.0.0.11\t17\n dc:a6:32:01:02:04\t10.0.0.12\tnone",
    "dc:a6:32:01:02:03   10.0.0.11 17\ndc:a6:32:01:02:04 10.0.0.12\n\n",
    "hwaddr | host | reset\n dc:a6:32:01:02:03 | 10.0.0.11 | gpiochip0:17\n"
    "dc:a6:32:01:02:04|10.0.0.12|",
};

static struct inventory *import_parsed(const char *text)
{
    struct diagnostics mistakes = {0};
    char *yaml = import_text("t.csv", text, strlen(text), &mistakes);
    for (size_t i = 0; i < mistakes.count; i++)
        print_message("%s\n", mistakes.texts[i]);
    assert_non_null(yaml);
    struct inventory *inventory = inventory_parse("t.yaml", yaml, strlen(yaml), &mistakes);
    for (size_t i = 0; i < mistakes.count; i++)
        print_message("%s\n", mistakes.texts[i]);
    assert_non_null(inventory);
    free(yaml);
    return inventory;
}

static void test_spellings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        struct inventory *inventory = import_parsed(spellings[i]);
        assert_int_equal(inventory->target_count, 2);
        const struct target_spec *one = &inventory->targets[0], *two = &inventory->targets[1];
        assert_string_equal(one->name, "board-010203");
        assert_string_equal(one->mac, "dc:a6:32:01:02:03");
        assert_string_equal(one->host, "10.0.0.11");
        assert_true(one->reset.present);
        assert_string_equal(one->reset.chip, "gpiochip0");
        assert_string_equal(one->reset.line, "17");
        assert_string_equal(two->name, "board-010204");
        assert_string_equal(two->host, "10.0.0.12");
        assert_false(two->reset.present);
        inventory_free(inventory);
    }
}

static void test_names(void **state)
{
    (void)state;
    struct inventory *inventory = import_parsed("name,mac,ip,gpio\n"
                                                "pi-01,02:00:00:00:00:01,a.lab,GPIO4\n"
                                                ",02:00:00:00:00:02,b.lab,/dev/gpiochip2:4\n"
                                                ",02:01:00:00:00:02,fe80::1%eth0,\n");
    assert_string_equal(inventory->targets[0].name, "pi-01");
    assert_string_equal(inventory->targets[0].reset.line, "GPIO4");
    assert_string_equal(inventory->targets[1].name, "board-020000000002");
    assert_string_equal(inventory->targets[1].reset.chip, "/dev/gpiochip2");
    assert_string_equal(inventory->targets[2].name, "board-020100000002");
    inventory_free(inventory);
    inventory = import_parsed("name,mac,ip\n"
                              ",02:00:00:00:00:02,a.lab\n"
                              "board-000002,02:00:00:00:00:01,b.lab\n");
    assert_string_equal(inventory->targets[0].name, "board-020000000002");
    assert_string_equal(inventory->targets[1].name, "board-000002");
    inventory_free(inventory);
}

/* The text, and all that is said about it. */
static const struct {
    const char *text;
    const char *said[5];
} mistaken[] = {
    {"", {"t.csv: no board is in it"}},
    {"mac,ip,gpio\n", {"t.csv: no board is in it"}},
    {"mac,gpio\n", {"t.csv:1:1: no column is named 'ip'"}},
    {"ip,mac,address\n", {"t.csv:1:8: two columns hold the same: 'ip' and 'address'"}},
    {"mac,ip\ndc:a6:32:01:02,10.0.0.300\n,\n",
     {"t.csv:2:1: 'dc:a6:32:01:02' is no MAC address like dc:a6:32:01:02:03",
      "t.csv:2:16: '10.0.0.300' is no IPv4 address", "t.csv:3:1: a board without a MAC address",
      "t.csv:3:2: a board without an IP address"}},
    {"02:00:00:00:00:01,10.0.0.1,4\n02-00-00-00-00-01,10.0.0.2,5\n02:00:00:00:00:03,10.0.0.1,4\n",
     {"t.csv:2:1: 02:00:00:00:00:01 is the board of line 1 already",
      "t.csv:3:1: 10.0.0.1 is the board of line 1 already",
      "t.csv:3:1: line 4 of gpiochip0 resets the board of line 1 already"}},
    {"02:00:00:00:00:01,10.0.0.1,\"4\n", {"t.csv:1:1: the quote does not end in this line"}},
    {"02:00:00:00:00:01,10.0.0.1,\"4\"5\n", {"t.csv:1:1: '5' follows the end of a quoted cell"}},
    {"02:00:00:00:00:01,10.0.0.1,{4}\n",
     {"t.csv:1:28: '{4}' is no reset line like 17, GPIO17 or gpiochip0:17"}},
    {"02:00:00:00:00:01,10.0.0.1,4,a b\n",
     {"t.csv:1:30: the name 'a b' has a character at place 2 that is no letter, digit, '-', '_' or "
      "'.'"}},
    {"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n", {"t.csv:1:1: more than 16 cells"}},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistaken / sizeof *mistaken; i++) {
        struct diagnostics mistakes = {0};
        assert_null(import_text("t.csv", mistaken[i].text, strlen(mistaken[i].text), &mistakes));
        size_t said = 0;
        while (said < 5 && mistaken[i].said[said] != NULL)
            said++;
        for (size_t k = 0; k < mistakes.count && k < said; k++)
            assert_string_equal(mistakes.texts[k], mistaken[i].said[k]);
        assert_int_equal(mistakes.count, said);
        diagnostics_free(&mistakes);
    }
}

static void test_zero_byte(void **state)
{
    (void)state;
    static const char text[] = "02:00:00:00:00:01,10.0.0.1\n\0,";
    struct diagnostics mistakes = {0};
    assert_null(import_text("t.csv", text, sizeof text - 1, &mistakes));
    assert_string_equal(mistakes.texts[0], "t.csv:2:1: a zero byte: this is no text");
    diagnostics_free(&mistakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_zero_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
