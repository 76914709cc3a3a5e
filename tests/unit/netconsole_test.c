/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of several boards arrive where they belong, whatever pieces they come in. */
#include "netboot/netconsole.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PORT 16666

/* The loop's time, as netconsole.c sees it. */
static uint64_t now;
uint64_t __wrap_uv_now(const uv_loop_t *loop);
uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    (void)loop;
    return now;
}

struct heard {
    char text[2000];
};

static void hear(const char *text, void *arg)
{
    struct heard *heard = arg;
    size_t used = strlen(heard->text);
    snprintf(heard->text + used, sizeof heard->text - used, "%s|", text);
}

static int board_socket(const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
    inet_pton(AF_INET, address, &from.sin_addr);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    to.sin_port = htons(PORT);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void say(uv_loop_t *loop, int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    uv_run(loop, UV_RUN_NOWAIT);
}

static void test_lines(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct error err;
    struct heard one = {""}, two = {""};
    uv_loop_init(&loop);
    struct netconsole *console = netconsole_open(&loop, "127.0.0.1", PORT, &err);
    assert_non_null(console);
    assert_null(netconsole_open(&loop, "127.0.0.1", PORT, &err));
    assert_non_null(strstr(err.text, "16666"));
    struct netconsole_ear *ear = netconsole_hear(console, "127.0.0.2", hear, &one);
    assert_non_null(netconsole_hear(console, "127.0.0.3", hear, &two));
    assert_null(netconsole_hear(console, "pi-01", hear, &two));
    int first = board_socket("127.0.0.2"), second = board_socket("127.0.0.3");
    int stranger = board_socket("127.0.0.4");
    say(&loop, first, "U-B");
    say(&loop, second, "=> \x1b[2Jhelp\r\n");
    say(&loop, stranger, "nobody\n");
    say(&loop, first, "oot 2023.01\r\n\nDRAM:\t1 GiB\nhalf");
    char wide[301];
    memset(wide, 'x', 300);
    wide[300] = '\0';
    say(&loop, second, wide);
    say(&loop, first, "way\nLoading: *###\n\t ####\n  ##\n\t 21 MiB/s\nend");
    netconsole_ignore(ear);
    say(&loop, first, "too late\n");
    netconsole_close(console);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_string_equal(one.text,
                        "U-Boot 2023.01|DRAM: 1 GiB|halfway|Loading: *###|  21 MiB/s|end|");
    assert_int_equal(strncmp(two.text, "=> [2Jhelp|xxx", 14), 0);
    assert_int_equal(strlen(two.text), strlen("=> [2Jhelp|") + 300 + 2);
    close(first);
    close(second);
    close(stranger);
    assert_int_equal(uv_loop_close(&loop), 0);
}

struct counted {
    unsigned lines;
    char last[201];
};

static void count(const char *text, void *arg)
{
    struct counted *counted = arg;
    counted->lines++;
    snprintf(counted->last, sizeof counted->last, "%s", text);
}

static void flood(uv_loop_t *loop, int fd, unsigned packets)
{
    char packet[1400]; /* each of two characters */
    for (size_t i = 0; i < sizeof packet; i++)
        packet[i] = i % 2 == 0 ? 'x' : '\n';
    for (unsigned i = 0; i < packets; i++) {
        assert_int_equal(send(fd, packet, sizeof packet, 0), sizeof packet);
        uv_run(loop, UV_RUN_NOWAIT);
    }
}

/* A board that floods has what it says cut down, at once and in the long run; another one next to
 * it does not notice. */
static void test_flood(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct error err;
    struct counted loud = {0}, quiet = {0};
    uv_loop_init(&loop);
    struct netconsole *console = netconsole_open(&loop, "127.0.0.1", PORT, &err);
    assert_non_null(console);
    struct netconsole_ear *ear = netconsole_hear(console, "127.0.0.2", count, &loud);
    assert_non_null(netconsole_hear(console, "127.0.0.3", count, &quiet));
    int first = board_socket("127.0.0.2"), second = board_socket("127.0.0.3");
    flood(&loop, first, 4);
    assert_int_equal(loud.lines, NETCONSOLE_BURST + 1); /* and that it says too much */
    say(&loop, second, "quiet\n");
    assert_int_equal(quiet.lines, 1);
    now += 10 * NETCONSOLE_PACE_MS;
    flood(&loop, first, 1);
    assert_int_equal(loud.lines, NETCONSOLE_BURST + 10 + 1);
    for (unsigned i = 0; i < 10; i++) {
        now += (uint64_t)NETCONSOLE_BURST * NETCONSOLE_PACE_MS;
        flood(&loop, first, 1);
    }
    assert_int_equal(loud.lines, NETCONSOLE_LINES_MAX + 1);
    netconsole_ignore(ear);
    assert_int_equal(loud.lines, NETCONSOLE_LINES_MAX + 2);
    char left[80];
    snprintf(left, sizeof left, "(%u of its lines were left out)", 15 * 700 - NETCONSOLE_LINES_MAX);
    assert_string_equal(loud.last, left);
    netconsole_close(console);
    uv_run(&loop, UV_RUN_DEFAULT);
    close(first);
    close(second);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_flood)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
