/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that are none, and servers that die: everything ends in time, nothing stalls the others.
 */
#include "link_stand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- servers that are none ---- */

static void refused_and_unresolvable(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer, &place, NULL);
    peer.config.port = free_port();
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_NETWORK, "connection refused");
    peer_close(&peer);
    peer_init(&peer, &place, NULL);
    peer.config.host = "no-such-board.invalid";
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_NETWORK, "cannot resolve no-such-board.invalid");
    peer_close(&peer);
}

static void silent_server_times_out(void **state)
{
    (void)state;
    struct peer peer;
    unsigned port;
    int fd = listen_on_loopback(&port);
    peer_init(&peer, &place, NULL);
    peer.config.port = port;
    peer.config.connect_timeout = 700;
    uint64_t start = uv_hrtime();
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_TIMEOUT, "within 0.7 s: it hung in the ssh handshake");
    assert_true(uv_hrtime() - start >= 690000000u);
    peer_close(&peer);
    close(fd);
}

static void garbage_is_no_server(void **state)
{
    (void)state;
    static const char *const greetings[] = {
        "HTTP/1.0 400 Bad Request\r\n\r\n",
        "SSH-1.5-ancient\r\n",
        "SSH-2.0-liar\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "SSH-2.0-liar\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    };
    for (size_t i = 0; i <= sizeof greetings / sizeof *greetings; i++) {
        struct peer peer;
        unsigned port;
        int fd = listen_on_loopback(&port);
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            int connection = accept(fd, NULL, NULL);
            char noise[20000];
            memset(noise, 'x', sizeof noise);
            const char *text = i < 4 ? greetings[i] : noise;
            if (write(connection, text, i < 4 ? strlen(text) : sizeof noise) < 0)
                _exit(1);
            shutdown(connection, SHUT_WR);
            sleep(5);
            _exit(0);
        }
        close(fd);
        peer_init(&peer, &place, NULL);
        peer.config.port = port;
        peer.config.connect_timeout = 10000;
        peer_connect(&peer, &client);
        assert_true(peer.down);
        assert_true(peer.err.cls == ERROR_PROTOCOL || peer.err.cls == ERROR_NETWORK);
        peer_close(&peer);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

/* ---- servers that die ---- */

/* A signal to every connection of a server, but not to who listens. */
static void signal_connections(struct server *target, const char *name)
{
    must_run("for p in $(pgrep -P %d); do kill -%s $p $(pgrep -P $p) 2>/dev/null; done; true",
             (int)target->pid, name);
}

static void killed_server_is_noticed(void **state)
{
    (void)state;
    struct server doomed;
    struct peer peer, other;
    struct feed feed, other_feed;
    server_start_known(&doomed, &place, SERVER_OPENSSH);
    peer_init(&peer, &place, &doomed);
    peer_init(&other, &place, &server);
    peer_connect(&peer, &client);
    peer_connect(&other, &client);
    feed_start(&feed, &peer, "cat >/dev/null");
    feed_start(&other_feed, &other, "cat >/dev/null");
    feed_until(&client, &feed, 4 * 1024 * 1024);
    signal_connections(&doomed, "KILL");
    client_run_until(&client, &peer.down, 10);
    assert_true(feed.closed);
    assert_int_equal(feed.err.cls, ERROR_NETWORK);
    peer_expect_down(&peer, ERROR_NETWORK, "127.0.0.1 was lost");
    assert_false(other.down);
    uint64_t sent = other_feed.wire->bytes_sent;
    feed_until(&client, &other_feed, sent + 8 * 1024 * 1024);
    /* On a dead link a command is told so, later. */
    struct ran ran;
    peer_run(&peer, &client, "true", NULL, 10000, &ran);
    assert_int_equal(ran.err.cls, ERROR_NETWORK);
    feed_stop(&feed);
    feed_stop(&other_feed);
    peer_close(&peer);
    peer_close(&other);
    server_stop(&doomed);
}

static void frozen_server_is_noticed(void **state)
{
    (void)state;
    static const bool busy[] = {true, false};
    for (size_t i = 0; i < 2; i++) {
        struct server frozen;
        struct peer peer, other;
        struct feed feed;
        struct ran ran;
        server_start_known(&frozen, &place, SERVER_OPENSSH);
        peer_init(&peer, &place, &frozen);
        peer_init(&other, &place, &server);
        peer.config.keepalive = other.config.keepalive = 300;
        peer_connect(&peer, &client);
        peer_connect(&other, &client);
        feed_start(&feed, &peer, busy[i] ? "cat >/dev/null" : "true");
        client_run_for(&client, 2000);
        assert_false(peer.down); /* answered keepalives keep it */
        signal_connections(&frozen, "STOP");
        uint64_t start = uv_hrtime();
        client_run_until(&client, &peer.down, 20);
        peer_expect_down(&peer, ERROR_NETWORK, "dead: no answer to keepalives");
        assert_true(uv_hrtime() - start > 500000000u);
        peer_run(&other, &client, "echo fine", NULL, 10000, &ran);
        assert_string_equal(ran.out, "fine\n");
        feed_stop(&feed);
        peer_close(&peer);
        peer_close(&other);
        signal_connections(&frozen, "CONT");
        server_stop(&frozen);
    }
}

static void dropbear_answers_keepalives(void **state)
{
    (void)state;
    struct server dropbear;
    struct peer peer;
    if (!dropbear_available())
        skip();
    server_start(&dropbear, &place, SERVER_DROPBEAR, "ed25519", NULL);
    server_make_known(&dropbear, &place);
    peer_init(&peer, &place, &dropbear);
    peer.config.keepalive = 300;
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    client_run_for(&client, 2500);
    assert_false(peer.down);
    signal_connections(&dropbear, "STOP");
    client_run_until(&client, &peer.down, 20);
    peer_expect_down(&peer, ERROR_NETWORK, "dead: no answer to keepalives");
    peer_close(&peer);
    signal_connections(&dropbear, "KILL"); /* they have groups of their own */
    server_stop(&dropbear);
}

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        TEST(refused_and_unresolvable), TEST(silent_server_times_out),
        TEST(garbage_is_no_server),     TEST(killed_server_is_noticed),
        TEST(frozen_server_is_noticed), TEST(dropbear_answers_keepalives),
    };
    return cmocka_run_group_tests(tests, stand_begin, stand_end);
}
