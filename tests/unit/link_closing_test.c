/* SPDX-License-Identifier: Apache-2.0 */
/* Owners that close a link at any moment, or before its turn has come. */
#include "link_stand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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
#define TEST(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        TEST(queued_links_wait_their_turn),
        TEST(close_at_every_moment),
        TEST(close_inside_every_callback),
    };
    return cmocka_run_group_tests(tests, stand_begin, stand_end);
}
