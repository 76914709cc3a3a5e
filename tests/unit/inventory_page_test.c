/* SPDX-License-Identifier: Apache-2.0 */
/* fleetflash-inventory(5) lists exactly the keys that the parser knows, with type, default and
 * level. When this fails, the line it prints is the one the page should have. */
#include "keys.h"
#include "page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PAGE "fleetflash-inventory.5"

/* The page writes … in ASCII. */
static void to_roff(const char *text, char *out, size_t out_size)
{
    size_t used = 0;
    while (*text != '\0' && used + 12 < out_size) {
        if (strncmp(text, "…", strlen("…")) == 0) {
            used += (size_t)snprintf(out + used, out_size - used, "\\[u2026]");
            text += strlen("…");
        } else {
            out[used++] = *text++;
        }
    }
    out[used] = '\0';
}

static void expected_line(const struct key *key, char *out, size_t out_size)
{
    char type[100], levels[100], roff_type[200], roff_default[200];
    keys_type_text(key, type, sizeof type);
    keys_levels_text(key, levels, sizeof levels);
    to_roff(type, roff_type, sizeof roff_type);
    to_roff(keys_default_text(key), roff_default, sizeof roff_default);
    snprintf(out, out_size, ".It Cm %s Ta %s Ta %s Ta %s", key->name, roff_type, roff_default,
             levels);
}

static void test_every_key_is_in_the_table(void **state)
{
    (void)state;
    size_t count, missing = 0;
    const struct key *keys = keys_all(&count);
    struct page_section table = page_read(PAGE, "TABLE OF KEYS");
    for (size_t i = 0; i < count; i++) {
        char line[600];
        expected_line(&keys[i], line, sizeof line);
        if (!page_has_line(&table, line)) {
            print_error("%s\n", line);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
    page_free(&table);
}

static void test_the_table_has_nothing_else(void **state)
{
    (void)state;
    size_t count;
    keys_all(&count);
    struct page_section table = page_read(PAGE, "TABLE OF KEYS");
    assert_int_equal(page_count(&table, ".It Cm "), count);
    page_free(&table);
}

/* Which section explains the keys of a level. */
static const struct {
    unsigned levels;
    const char *section;
} sections[] = {
    {LEVEL_TOP | LEVEL_GROUP, "Groups and hosts"},
    {LEVEL_ANY, "Targets"},
    {LEVEL_AFTER, "After the flash"},
    {LEVEL_SERVICES, "Services"},
    {LEVEL_RESET, "Reset lines"},
    {LEVEL_NETBOOT, "Netboot"},
    {LEVEL_ROLLOUT | LEVEL_WAVE, "Rollout"},
    {LEVEL_NOTIFY, "Notification"},
};

static void test_every_key_is_explained_where_it_belongs(void **state)
{
    (void)state;
    size_t count, missing = 0;
    const struct key *keys = keys_all(&count);
    for (size_t s = 0; s < sizeof sections / sizeof *sections; s++) {
        struct page_section section = page_read(PAGE, sections[s].section);
        size_t explained = 0;
        for (size_t i = 0; i < count; i++) {
            char line[100];
            if ((keys[i].levels & sections[s].levels) == 0)
                continue;
            explained++;
            snprintf(line, sizeof line, ".It Cm %s", keys[i].name);
            if (!page_has_line(&section, line)) {
                print_error("%s: %s\n", sections[s].section, line);
                missing++;
            }
        }
        if (page_count(&section, ".It Cm ") != explained) {
            print_error("%s explains keys that do not belong there\n", sections[s].section);
            missing++;
        }
        page_free(&section);
    }
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_is_in_the_table),
        cmocka_unit_test(test_the_table_has_nothing_else),
        cmocka_unit_test(test_every_key_is_explained_where_it_belongs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
