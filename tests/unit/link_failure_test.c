/* SPDX-License-Identifier: Apache-2.0 */
/* Servers, agents and owners that misbehave: everything ends in time, nothing stalls the others. */
#include "link_fixture.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct place place;
static struct server server;
static struct client client;

static int group_setup(void **state)
{
    (void)state;
    place_make(&place);
    server_start_known(&server, &place, SERVER_OPENSSH);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    server_stop(&server);
    place_remove(&place);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    place_write(&place, "ssh_config", "%s", "");
    client_init(&client, 16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_finish(&client);
    return 0;
}

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

struct feed {
    struct wire *wire;
    struct buffer *buffer;
    bool closed;
    struct error err;
    uint64_t received;
};

static void feed_drain(struct wire *wire, void *arg)
{
    struct feed *feed = arg;
    while (wire->pending < 1024 * 1024)
        wire_write(wire, feed->buffer, 0, feed->buffer->size);
}

static void feed_data(struct wire *wire, const uint8_t *data, size_t size, void *arg)
{
    (void)wire;
    (void)data;
    ((struct feed *)arg)->received += size;
}

static void feed_closed(struct wire *wire, int status, const struct error *err, void *arg)
{
    (void)wire;
    (void)status;
    struct feed *feed = arg;
    assert_false(feed->closed);
    feed->closed = true;
    feed->err = *err;
}

static const struct wire_events feed_events = {
    .opened = feed_drain, .data = feed_data, .drain = feed_drain, .closed = feed_closed};

static void feed_start(struct feed *feed, struct peer *peer, const char *command)
{
    memset(feed, 0, sizeof *feed);
    feed->buffer = buffer_new(256 * 1024);
    memset(feed->buffer->data, 7, feed->buffer->size);
    feed->wire = link_exec(peer->link, command, &feed_events, feed);
    assert_non_null(feed->wire);
}

static void feed_stop(struct feed *feed)
{
    wire_close(feed->wire);
    buffer_unref(feed->buffer);
}

/* Runs the loop until more than that has been sent. */
static void feed_until(const struct feed *feed, uint64_t sent)
{
    uint64_t end = uv_hrtime() + 20000000000u;
    while (feed->wire->bytes_sent <= sent && uv_hrtime() < end)
        uv_run(&client.loop, UV_RUN_ONCE);
    assert_true(feed->wire->bytes_sent > sent);
}

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
    feed_until(&feed, 4 * 1024 * 1024);
    signal_connections(&doomed, "KILL");
    client_run_until(&client, &peer.down, 10);
    assert_true(feed.closed);
    assert_int_equal(feed.err.cls, ERROR_NETWORK);
    peer_expect_down(&peer, ERROR_NETWORK, "127.0.0.1 was lost");
    assert_false(other.down);
    uint64_t sent = other_feed.wire->bytes_sent;
    feed_until(&other_feed, sent + 8 * 1024 * 1024);
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

/* ---- agents ---- */

/* An agent between libssh and a real one: answers to everything come late. delay < 0: never. */
static pid_t start_slow_agent(const char *path, const char *real, int delay)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX}, to = {.sun_family = AF_UNIX};
    snprintf(own.sun_path, sizeof own.sun_path, "%s", path);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", real);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(listen(fd, 8), 0);
    pid_t pid = fork();
    if (pid != 0) {
        close(fd);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int connection = accept(fd, NULL, NULL);
    int agent = socket(AF_UNIX, SOCK_STREAM, 0);
    if (delay < 0 || connect(agent, (struct sockaddr *)&to, sizeof to) != 0)
        pause();
    /* Requests may come in pieces; an answer comes as one. */
    struct pollfd ends[2] = {{.fd = connection, .events = POLLIN}, {.fd = agent, .events = POLLIN}};
    while (poll(ends, 2, -1) > 0)
        for (int i = 0; i < 2; i++) {
            char message[16384];
            if (ends[i].revents == 0)
                continue;
            ssize_t n = read(ends[i].fd, message, sizeof message);
            if (n <= 0)
                _exit(0);
            if (i == 1 && message[4] == 14) /* the signature */
                sleep((unsigned)delay);
            if (write(ends[1 - i].fd, message, (size_t)n) != n)
                _exit(0);
        }
    _exit(0);
}

static void slow_agent_holds_up_nobody(void **state)
{
    (void)state;
    struct peer slow, fast[7];
    must_run("ssh-agent -a %s/real.sock > %s/agent.env && SSH_AUTH_SOCK=%s/real.sock ssh-add -q "
             "%s/user_key",
             place.dir, place.dir, place.dir, place.dir);
    pid_t pid =
        start_slow_agent(place_path(&place, "slow.sock"), place_path(&place, "real.sock"), 5);
    place_write(&place, "ssh_config",
                "Host slow\n HostName 127.0.0.1\n IdentityAgent %s/slow.sock\n", place.dir);
    peer_init(&slow, &place, &server);
    slow.config.host = "slow";
    slow.config.identity = NULL;
    uint64_t start = uv_hrtime(), ticks = client.ticks;
    peer_open(&slow, &client);
    for (size_t i = 0; i < 7; i++) {
        peer_init(&fast[i], &place, &server);
        peer_open(&fast[i], &client);
    }
    for (size_t i = 0; i < 7; i++) {
        client_run_until(&client, &fast[i].done, 20);
        peer_expect_up(&fast[i]);
        assert_false(slow.done);
    }
    client_run_until(&client, &slow.done, 20);
    peer_expect_up(&slow);
    assert_true(slow.up_at - start >= 5000000000u);
    /* Some 500 fit into the agent's 5 s. However busy the machine is, a loop that is free turns
     * more often than one that waits for the agent, which has no turn in all that time. */
    assert_true(client.ticks - ticks >= 100);
    print_message("longest gap of the loop: %.1f ms\n", (double)client.longest_gap / 1e6);
    peer_close(&slow);
    for (size_t i = 0; i < 7; i++)
        peer_close(&fast[i]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    must_run(". %s/agent.env >/dev/null; kill $SSH_AGENT_PID", place.dir);
}

static void mute_agent_times_out(void **state)
{
    (void)state;
    struct peer peer;
    pid_t pid = start_slow_agent(place_path(&place, "mute.sock"), "/nowhere", -1);
    setenv("SSH_AUTH_SOCK", place_path(&place, "mute.sock"), 1);
    peer_init(&peer, &place, &server);
    peer.config.identity = NULL;
    peer.config.connect_timeout = 2000;
    uint64_t start = uv_hrtime();
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_TIMEOUT, "is the ssh agent answering?");
    assert_true(uv_hrtime() - start < 15000000000u);
    peer_close(&peer);
    /* The agent still sits there, but nobody of ours waits for it. */
    client_finish(&client);
    client_init(&client, 16);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- owners ---- */

static void queued_links_wait_their_turn(void **state)
{
    (void)state;
    struct peer first, second, third;
    unsigned port;
    client_finish(&client);
    client_init(&client, 1);
    int fd = listen_on_loopback(&port);
    peer_init(&first, &place, NULL);
    first.config.port = port; /* silent */
    first.config.connect_timeout = 1500;
    peer_open(&first, &client);
    peer_init(&second, &place, &server);
    second.config.connect_timeout = 15000;
    peer_open(&second, &client);
    peer_init(&third, &place, &server);
    peer_open(&third, &client);
    peer_close(&third);
    client_run_for(&client, 700);
    assert_false(second.done);
    client_run_until(&client, &second.done, 20);
    assert_true(first.down);
    peer_expect_up(&second);
    peer_close(&first);
    peer_close(&second);
    close(fd);
}

/* Closes the link after so many rounds of the loop, whatever it is doing then. */
static void close_at_every_moment(void **state)
{
    (void)state;
    for (size_t proxied = 0; proxied < 2; proxied++) {
        if (proxied)
            place_write(&place, "ssh_config",
                        "Host *\n ProxyCommand ssh -F none -i %s/user_key -o "
                        "UserKnownHostsFile=%s/known_hosts -p %u -W 127.0.0.1:%%p root@127.0.0.1\n",
                        place.dir, place.dir, server.port);
        bool was_up = false;
        for (unsigned rounds = 0; rounds < 400 && !was_up; rounds += rounds < 40 ? 1 : 7) {
            struct peer peer;
            struct feed feed;
            peer_init(&peer, &place, &server);
            if (rounds % 2 == 1)
                peer.config.host = "localhost", peer.config.hostkey = HOSTKEY_ACCEPT_ONCE;
            peer_open(&peer, &client);
            feed_start(&feed, &peer, "cat");
            for (unsigned i = 0; i < rounds; i++)
                uv_run(&client.loop, UV_RUN_ONCE);
            was_up = feed.received > 1024 * 1024;
            peer_close(&peer);
            assert_true(feed.closed);
            if (feed.err.cls != ERROR_CANCELLED)
                fail_msg("after %u rounds: %s", rounds, feed.err.text);
            bool down = peer.down;
            client_run_for(&client, 2);
            assert_int_equal(peer.down, down);
            feed_stop(&feed);
        }
    }
}

enum when { AT_UP, AT_OPENED, AT_DATA, AT_DRAIN, AT_CLOSED, AT_DOWN };

struct closer {
    struct peer peer;
    struct wire *wire, *second;
    struct buffer *buffer;
    enum when when;
    bool link_too; /* close the link, not just the wire */
    bool acted;
};

static void closer_act(struct closer *closer, enum when now)
{
    assert_false(closer->acted && now != AT_CLOSED && now != AT_DOWN);
    if (closer->when != now || closer->acted)
        return;
    closer->acted = true;
    if (closer->link_too)
        peer_close(&closer->peer);
    wire_close(closer->wire);
    closer->wire = NULL;
}

static void closer_opened(struct wire *wire, void *arg)
{
    struct closer *closer = arg;
    for (int i = 0; i < 8; i++)
        wire_write(wire, closer->buffer, 0, closer->buffer->size);
    wire_shut(wire);
    closer_act(closer, AT_OPENED);
}

static void closer_data(struct wire *wire, const uint8_t *data, size_t size, void *arg)
{
    (void)wire;
    (void)data;
    (void)size;
    closer_act(arg, AT_DATA);
}

static void closer_drain(struct wire *wire, void *arg)
{
    (void)wire;
    closer_act(arg, AT_DRAIN);
}

static void closer_closed(struct wire *wire, int status, const struct error *err, void *arg)
{
    struct closer *closer = arg;
    (void)status;
    (void)err;
    if (wire == closer->wire)
        closer_act(closer, AT_CLOSED);
}

static const struct wire_events closer_events = {
    .opened = closer_opened, .data = closer_data, .drain = closer_drain, .closed = closer_closed};

static void closer_up(struct peer *peer)
{
    struct closer *closer = (struct closer *)peer;
    closer->wire = link_exec(peer->link, "cat", &closer_events, closer);
    closer->second = link_exec(peer->link, "cat /dev/zero", &feed_events, peer->data);
    closer_act(closer, AT_UP);
}

static void close_inside_every_callback(void **state)
{
    (void)state;
    for (int when = AT_UP; when <= AT_CLOSED; when++)
        for (int link_too = 0; link_too < 2; link_too++) {
            struct closer closer = {.when = (enum when)when, .link_too = link_too != 0};
            struct feed feed = {.buffer = buffer_new(1024)};
            closer.buffer = buffer_new(256 * 1024);
            memset(closer.buffer->data, 1, closer.buffer->size);
            memset(feed.buffer->data, 1, feed.buffer->size);
            peer_init(&closer.peer, &place, &server);
            closer.peer.on_up = closer_up;
            closer.peer.data = &feed;
            peer_open(&closer.peer, &client);
            client_run_until(&client, &closer.acted, 20);
            client_run_for(&client, 50);
            assert_int_equal(closer.buffer->references, 1);
            wire_close(closer.second);
            peer_close(&closer.peer);
            buffer_unref(closer.buffer);
            buffer_unref(feed.buffer);
        }
}

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(refused_and_unresolvable),     TEST(silent_server_times_out),
        TEST(garbage_is_no_server),         TEST(killed_server_is_noticed),
        TEST(frozen_server_is_noticed),     TEST(dropbear_answers_keepalives),
        TEST(slow_agent_holds_up_nobody),   TEST(mute_agent_times_out),
        TEST(queued_links_wait_their_turn), TEST(close_at_every_moment),
        TEST(close_inside_every_callback),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
