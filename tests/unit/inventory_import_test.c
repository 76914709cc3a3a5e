/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of boards: every spelling gives the same inventory, every mistake its place. */
#include "import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
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
    /* A spreadsheet's first line, and one with the line ends of old ones. */
    "sep=;\r\nmac;ip;gpio\r\ndc:a6:32:01:02:03;10.0.0.11;17\r\ndc:a6:32:01:02:04;10.0.0.12;\r\n",
    "sep=\t\nmac,ip\tip\tgpio\tmac\n1\t10.0.0.11\t17\tdc:a6:32:01:02:03\n"
    "2\t10.0.0.12\t\tdc:a6:32:01:02:04\n",
    "mac,ip,gpio\rdc:a6:32:01:02:03,10.0.0.11,17\r\rdc:a6:32:01:02:04,10.0.0.12\r",
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
    {"mac,gpio\n02:00:00:00:00:01,4\n,\n", {"t.csv:1:1: no column is named 'ip'"}},
    {"ip,mac,address\n", {"t.csv:1:8: two columns hold the same: 'ip' and 'address'"}},
    {"mac,ip\ndc:a6:32:01:02,10.0.0.300\n,\n",
     {"t.csv:2:1: 'dc:a6:32:01:02' is no MAC address like dc:a6:32:01:02:03",
      "t.csv:2:16: '10.0.0.300' is no IPv4 address", "t.csv:3:1: a board without a MAC address",
      "t.csv:3:2: a board without an IP address"}},
    {"02:00:00:00:00:01,10.0.0.1,4\n02-00-00-00-00-01,10.0.0.2,5\n02:00:00:00:00:03,10.0.0.1,4\n",
     {"t.csv:2:1: 02:00:00:00:00:01 is the board of line 1 already",
      "t.csv:3:1: 10.0.0.1 is the board of line 1 already",
      "t.csv:3:1: line 4 of gpiochip0 resets the board of line 1 already"}},
    /* … however they are written: the inventory would not be taken */
    {"02:00:00:00:00:01,fe80::1,17\n02:00:00:00:00:02,FE80:0::1,017\n"
     "02:00:00:00:00:03,a.lan,0:17\n02:00:00:00:00:04,a.lan.,/dev/gpiochip0:18\n",
     {"t.csv:2:1: FE80:0::1 is the board of line 1 already",
      "t.csv:2:1: line 017 of gpiochip0 resets the board of line 1 already",
      "t.csv:3:1: line 17 of 0 resets the board of line 1 already",
      "t.csv:4:1: a.lan. is the board of line 3 already"}},
    {"02:00:00:00:00:01,10.0.0.1,\"4\n", {"t.csv:1:1: the quote does not end in this line"}},
    {"02:00:00:00:00:01,10.0.0.1,\"4\"5\n", {"t.csv:1:1: '5' follows the end of a quoted cell"}},
    {"02:00:00:00:00:01,10.0.0.1,{4}\n",
     {"t.csv:1:28: '{4}' is no reset line like 17, GPIO17 or gpiochip0:17"}},
    {"02:00:00:00:00:01,10.0.0.1,4,a b\n",
     {"t.csv:1:30: the name 'a b' has a character at place 2 that is no letter, digit, '-', '_' or "
      "'.'"}},
    /* Of many mistakes of one kind each line tells one. */
    {"02:00:00:00:00:01,10.0.0.1\n02:00:00:00:00:01,10.0.0.2\n02:00:00:00:00:01,10.0.0.3\n",
     {"t.csv:2:1: 02:00:00:00:00:01 is the board of line 1 already",
      "t.csv:3:1: 02:00:00:00:00:01 is the board of line 1 already"}},
    /* What is quoted of another encoding shows as such: 0x9b begins escape sequences. */
    {"02:00:00:00:00:01,ger\xe4t\x9b,1\n",
     {"t.csv:1:19: 'ger?t?' is neither a host name nor an address"}},
    {"02:00:00:00:00:01,\xc3\xa4\xc2\x9b,1\n",
     {"t.csv:1:19: '\xc3\xa4?"
      "?' is neither a host name nor an address"}},
    {"02:00:00:00:00:01,10.0.0.1\nPK\x03\x04,\n,\n",
     {"t.csv:2:1: the byte 0x03: this is no text; save it as CSV in UTF-8"}},
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
    assert_string_equal(mistakes.texts[0],
                        "t.csv:2:1: the byte 0x00: this is no text; save it as CSV in UTF-8");
    diagnostics_free(&mistakes);
}

/* As many boards as an inventory may have; of a larger table it is told once, and soon. */
static void test_many(void **state)
{
    (void)state;
    enum { MOST = 4096, MANY = 100000, LINE = 40 };
    char *text = malloc((size_t)MANY * LINE);
    size_t size = 0, most = 0;
    assert_non_null(text);
    for (unsigned i = 0; i < MANY; i++) {
        size += (size_t)snprintf(text + size, LINE, "02a632%06x,10.%u.%u.%u\n", i, 1 + (i >> 16),
                                 i >> 8 & 255, i & 255);
        if (i + 1 == MOST)
            most = size;
    }
    struct diagnostics mistakes = {0};
    char *yaml = import_text("t.csv", text, most, &mistakes);
    assert_non_null(yaml);
    struct inventory *inventory = inventory_parse("t.yaml", yaml, strlen(yaml), &mistakes);
    assert_non_null(inventory);
    assert_int_equal(inventory->target_count, MOST);
    inventory_free(inventory);
    free(yaml);
    assert_null(import_text("t.csv", text, size, &mistakes));
    assert_int_equal(mistakes.count, 1);
    assert_string_equal(
        mistakes.texts[0],
        "t.csv:4097:1: more than 4096 boards, which no inventory may have; split the table");
    diagnostics_free(&mistakes);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings), cmocka_unit_test(test_names),
        cmocka_unit_test(test_mistakes),  cmocka_unit_test(test_zero_byte),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
