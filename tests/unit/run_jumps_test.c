/* SPDX-License-Identifier: Apache-2.0 */
/* Which targets are reached through which others, as the real ssh reads its configuration. */
#include "run/jumps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char config_path[64];
static uv_loop_t loop;

static int setup(void **state)
{
    (void)state;
    strcpy(config_path, "/tmp/jumps-test-XXXXXX");
    int fd = mkstemp(config_path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(uv_loop_init(&loop), 0);
    return 0;
}

static void count_handle(uv_handle_t *handle, void *arg)
{
    (void)handle;
    ++*(unsigned *)arg;
}

static int teardown(void **state)
{
    unsigned open = 0;
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_walk(&loop, count_handle, &open);
    assert_int_equal(open, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    unlink(config_path);
    return 0;
}

static void config_write(const char *text)
{
    FILE *file = fopen(config_path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

struct row {
    const char *name, *host;
    unsigned wave, port;
    const char *after_host;
};

static struct target_spec specs[16];

static struct jumps *find(const struct row *rows, struct error *err)
{
    struct jumps_target targets[16];
    size_t count = 0;
    memset(specs, 0, sizeof specs);
    for (; rows[count].name != NULL; count++) {
        specs[count].name = rows[count].name;
        specs[count].host = rows[count].host != NULL ? rows[count].host : rows[count].name;
        specs[count].port = rows[count].port;
        specs[count].after.host = rows[count].after_host;
        specs[count].connect_timeout = 20000;
        targets[count] = (struct jumps_target){.spec = &specs[count], .wave = rows[count].wave};
    }
    *err = (struct error){0};
    return jumps_find(&loop, targets, count, config_path, NULL, err);
}

static struct jumps *find_all(const struct row *rows)
{
    struct error err;
    struct jumps *jumps = find(rows, &err);
    if (jumps == NULL)
        fail_msg("refused: %s", err.text);
    return jumps;
}

static void expect_refusal(const struct row *rows, const char *const *parts)
{
    struct error err;
    assert_null(find(rows, &err));
    assert_int_equal(err.cls, ERROR_USAGE);
    for (; *parts != NULL; parts++)
        if (strstr(err.text, *parts) == NULL && strstr(err.remedy, *parts) == NULL)
            fail_msg("no '%s' in: %s (%s)", *parts, err.text, err.remedy);
}

/* "behind: gate gate", names of the gates in the order of the targets. */
static void expect_gates(const struct jumps *jumps, size_t target, const char *expected)
{
    const size_t *gates;
    char names[200] = "";
    size_t count = jumps_gates(jumps, target, &gates);
    for (size_t n = 0; n < 16; n++)
        for (size_t i = 0; i < count; i++)
            if (gates[i] == n)
                snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                         names[0] != '\0' ? " " : "", specs[n].name);
    assert_string_equal(names, expected);
}

static void nothing_in_the_way(void **state)
{
    (void)state;
    config_write("");
    const struct row rows[] = {{.name = "a", .host = "10.0.0.1"},
                               {.name = "b", .host = "10.0.0.2"},
                               {.name = "c", .host = "10.0.0.2", .port = 2222},
                               {0}};
    struct jumps *jumps = find_all(rows);
    for (size_t i = 0; i < 3; i++) {
        expect_gates(jumps, i, "");
        assert_int_equal(jumps_behind(jumps, i), 0);
    }
    assert_string_equal(jumps_key(jumps, 0), "10.0.0.1 port 22");
    assert_string_equal(jumps_key(jumps, 2), "10.0.0.2 port 2222");
    jumps_free(jumps);
}

/* The jump host is written in another way than the target that it is. */
static void names_meet(void **state)
{
    (void)state;
    static const struct {
        const char *config, *gate;
        unsigned port;
        bool met;
    } cases[] = {
        {"Host b\n ProxyJump 10.0.0.1\n", "10.0.0.1", 0, true},
        {"Host b\n ProxyJump pi@10.0.0.1:22\n", "10.0.0.1", 0, true},
        {"Host b\n ProxyJump ssh://pi@10.0.0.1:2222\n", "10.0.0.1", 2222, true},
        {"Host b\n ProxyJump 10.0.0.1:2222\n", "10.0.0.1", 0, false}, /* another device's port */
        {"Host b\n ProxyJump [fd00::1]:22\n", "fd00::1", 0, true},
        {"Host b\n ProxyJump gate\nHost gate\n HostName 10.0.0.1\n", "10.0.0.1", 0, true},
        {"Host b\n ProxyJump gate\nHost gate\n HostName 10.0.0.1\n", "gate", 0, true},
        {"Host b\n ProxyJump gate\nHost gate door\n HostName 10.0.0.1\n", "door", 0, true},
        {"Host b\n ProxyJump GATE\n", "gate", 0, true},
        {"Host b\n ProxyJump localhost\n", "127.0.0.1", 0, true}, /* by its address */
        {"Host b\n ProxyJump other,gate\n", "gate", 0, true},
        {"Host b\n ProxyJump other,gate\n", "other", 0, true},
        {"Host b\n ProxyJump other\nHost other\n ProxyJump gate\n", "gate", 0, true},
        {"Host b\n ProxyJump other\n", "gate", 0, false},
        {"Host b\n ProxyJump none\n", "none", 0, false},
        {"Host b\n ProxyCommand ssh -q -W %h:%p pi@gate\n", "gate", 0, true},
        {"Host b\n ProxyCommand ssh -W %h:%p door\nHost door\n HostName 10.0.0.1\n", "10.0.0.1", 0,
         true},
        {"Host b\n ProxyCommand ssh door nc %h %p\nHost door\n ProxyJump gate\n", "gate", 0, true},
        {"Host b\n ProxyCommand nc -X connect -x 10.0.0.1:3128 %h %p\n", "10.0.0.1", 0, true},
        {"Host b\n ProxyCommand socat - TCP:%h:%p\n", "gate", 0, false},
        {"Host *\n ProxyCommand nc -X connect -x proxy:3128 %h %p\n", "gate", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        config_write(cases[i].config);
        const struct row rows[] = {
            {.name = "first", .host = cases[i].gate, .port = cases[i].port}, {.name = "b"}, {0}};
        struct jumps *jumps = find_all(rows);
        if (jumps_behind(jumps, 0) != cases[i].met)
            fail_msg("case %zu: %s", i, cases[i].config);
        expect_gates(jumps, 1, cases[i].met ? "first" : "");
        expect_gates(jumps, 0, "");
        jumps_free(jumps);
    }
}

/* Boards with one address (NAT) and a proxy command are not each other's jump hosts. */
static void one_address_is_no_circle(void **state)
{
    (void)state;
    config_write("Host *\n ProxyCommand nc -x proxy:1080 %h %p\n");
    const struct row rows[] = {{.name = "a", .host = "10.0.0.1", .port = 2201},
                               {.name = "b", .host = "10.0.0.1", .port = 2202},
                               {0}};
    struct jumps *jumps = find_all(rows);
    expect_gates(jumps, 0, "");
    expect_gates(jumps, 1, "");
    jumps_free(jumps);
}

static void the_new_system_s_way_counts(void **state)
{
    (void)state;
    config_write("Host b-new\n ProxyJump gate\n");
    const struct row rows[] = {{.name = "gate"}, {.name = "b", .after_host = "b-new"}, {0}};
    struct jumps *jumps = find_all(rows);
    expect_gates(jumps, 1, "gate");
    jumps_free(jumps);
}

static void chains_wait_in_turn(void **state)
{
    (void)state;
    config_write("Host c d\n ProxyJump b\nHost b\n ProxyJump a\n");
    const struct row rows[] = {{.name = "a", .wave = 1},
                               {.name = "b", .wave = 1},
                               {.name = "c"},
                               {.name = "d", .wave = 1},
                               {0}};
    struct jumps *jumps = find_all(rows);
    expect_gates(jumps, 0, "");
    expect_gates(jumps, 1, "a");
    expect_gates(jumps, 2, "a b");
    expect_gates(jumps, 3, "a b");
    assert_int_equal(jumps_behind(jumps, 0), 3);
    assert_int_equal(jumps_behind(jumps, 1), 2);
    jumps_free(jumps);
}

static void a_gate_in_an_earlier_wave_is_refused(void **state)
{
    (void)state;
    config_write("Host board\n ProxyJump gate\n");
    const struct row rows[] = {{.name = "gate", .wave = 0}, {.name = "board", .wave = 1}, {0}};
    expect_refusal(rows, (const char *const[]){"board is reached through gate", "wave 1", "wave 2",
                                               "--limit '!gate'", NULL});
}

static void circles_are_refused(void **state)
{
    (void)state;
    config_write("Host a1\n HostName a\n ProxyJump b\nHost b1\n HostName b\n ProxyJump a\n"
                 "Host c\n ProxyJump b\n");
    const struct row rows[] = {{.name = "a1"}, {.name = "b1"}, {.name = "c"}, {0}};
    expect_refusal(rows, (const char *const[]){"a1 is reached through b1", NULL});
}

static void two_names_of_one_device_are_refused(void **state)
{
    (void)state;
    config_write("Host x\n HostName 10.0.0.1\nHost y\n HostName 10.0.0.1\n Port 22\n");
    const struct row rows[] = {{.name = "x"}, {.name = "z"}, {.name = "y"}, {0}};
    expect_refusal(rows, (const char *const[]){"x and y", "10.0.0.1 port 22", NULL});

    /* The same address behind two jump hosts is two devices, behind one by two names is one. */
    config_write("Host x y\n HostName 10.0.0.1\nHost x\n ProxyJump g1\nHost y\n ProxyJump g2\n");
    const struct row two[] = {{.name = "x"}, {.name = "y"}, {0}};
    struct jumps *jumps = find_all(two);
    assert_string_equal(jumps_key(jumps, 0), "10.0.0.1 port 22 via g1 port 22");
    assert_string_equal(jumps_key(jumps, 1), "10.0.0.1 port 22 via g2 port 22");
    jumps_free(jumps);
    config_write("Host x y\n HostName 10.0.0.1\nHost x\n ProxyJump g1\nHost y\n ProxyJump g2\n"
                 "Host g1 g2\n HostName 10.9.9.9\n");
    expect_refusal(two, (const char *const[]){"10.0.0.1 port 22 via 10.9.9.9 port 22", NULL});

    config_write("Host x y\n HostName 10.0.0.1\n ProxyCommand reach %n\n");
    jumps = find_all(two);
    assert_string_equal(jumps_key(jumps, 1), "10.0.0.1 port 22 via 'reach y'");
    jumps_free(jumps);
}

/* Whoever cannot be asked about is taken as written: connecting will tell. */
static void a_broken_configuration_stops_nobody(void **state)
{
    (void)state;
    config_write("Host *\n Prot 22\n");
    const struct row rows[] = {{.name = "a"}, {.name = "b", .port = 7}, {0}};
    struct jumps *jumps = find_all(rows);
    assert_string_equal(jumps_key(jumps, 0), "a port 22");
    assert_string_equal(jumps_key(jumps, 1), "b port 7");
    jumps_free(jumps);
}

/* Each new name has yet another jump host. */
static void endless_jumps_end(void **state)
{
    (void)state;
    config_write("Host *\n ProxyCommand ssh -W %h:%p x%h\n");
    const struct row rows[] = {{.name = "gate"}, {.name = "b"}, {0}};
    struct jumps *jumps = find_all(rows);
    expect_gates(jumps, 1, "");
    jumps_free(jumps);
}

int main(void)
{
    if (system("command -v ssh >/dev/null") != 0)
        return 77;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_in_the_way),
        TEST(names_meet),
        TEST(one_address_is_no_circle),
        TEST(the_new_system_s_way_counts),
        TEST(chains_wait_in_turn),
        TEST(a_gate_in_an_earlier_wave_is_refused),
        TEST(circles_are_refused),
        TEST(two_names_of_one_device_are_refused),
        TEST(a_broken_configuration_stops_nobody),
        TEST(endless_jumps_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
