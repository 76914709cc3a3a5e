/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes through a link: whole, bounded, many at once, with statuses and noise. */
#include "link_stand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB   (1024u * 1024u)
#define PIECE (256u * 1024u)
/* The owner stops writing at this; wire_pending must never be above it by more than a piece. */
#define HIGH_WATER MIB

static struct server *const servers[] = {&server, &dropbear};

/* The byte at a place of the stream: any loss, doubling or swap shows. */
static uint8_t byte_at(uint64_t at)
{
    uint64_t x = at * 0x9e3779b97f4a7c15u;
    return (uint8_t)((x >> 56) ^ (at >> 18));
}

/* One command that is fed and listened to. */
struct stream {
    struct wire *wire;
    uint64_t total;    /* to send */
    uint64_t written;  /* given to the wire */
    uint64_t received; /* and found right */
    bool echoes;
    uint64_t diagnostics;
    size_t most_pending;
    unsigned opened, drains;
    bool closed;
    int status;
    struct error err;
};

static void stream_fill(struct stream *stream)
{
    while (stream->written < stream->total && stream->wire->pending < HIGH_WATER) {
        size_t size = PIECE;
        if (size > stream->total - stream->written)
            size = (size_t)(stream->total - stream->written);
        struct buffer *buffer = buffer_new(size + 5);
        for (size_t i = 0; i < size; i++)
            buffer->data[5 + i] = byte_at(stream->written + i);
        wire_write(stream->wire, buffer, 5, size);
        buffer_unref(buffer);
        stream->written += size;
        if (stream->wire->pending > stream->most_pending)
            stream->most_pending = stream->wire->pending;
        if (stream->written == stream->total)
            wire_shut(stream->wire);
    }
}

static void stream_opened(struct wire *wire, void *arg)
{
    (void)wire;
    struct stream *stream = arg;
    stream->opened++;
    stream_fill(stream);
}

static void stream_data(struct wire *wire, const uint8_t *data, size_t size, void *arg)
{
    (void)wire;
    struct stream *stream = arg;
    assert_true(size > 0 && size <= 64 * 1024);
    assert_int_equal(stream->opened, 1);
    for (size_t i = 0; i < size && stream->echoes; i++)
        if (data[i] != byte_at(stream->received + i))
            fail_msg("wrong byte at %llu", (unsigned long long)(stream->received + i));
    stream->received += size;
}

static void stream_diagnostic(struct wire *wire, const char *text, size_t size, void *arg)
{
    (void)wire;
    (void)text;
    ((struct stream *)arg)->diagnostics += size;
}

static void stream_drain(struct wire *wire, void *arg)
{
    struct stream *stream = arg;
    assert_true(wire->pending < WIRE_LOW_WATER);
    stream->drains++;
    stream_fill(stream);
}

static void stream_closed(struct wire *wire, int status, const struct error *err, void *arg)
{
    (void)wire;
    struct stream *stream = arg;
    assert_false(stream->closed);
    stream->closed = true;
    stream->status = status;
    stream->err = *err;
}

static const struct wire_events stream_events = {.opened = stream_opened,
                                                 .data = stream_data,
                                                 .diagnostic = stream_diagnostic,
                                                 .drain = stream_drain,
                                                 .closed = stream_closed};

static void stream_start(struct stream *stream, struct peer *peer, const char *command,
                         uint64_t total)
{
    memset(stream, 0, sizeof *stream);
    stream->total = total;
    stream->echoes = true;
    stream->wire = link_exec(peer->link, command, &stream_events, stream);
    assert_non_null(stream->wire);
}

static void sixty_four_mib_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        if (servers[i]->pid == 0)
            continue;
        struct peer peer;
        struct stream stream;
        peer_init(&peer, &place, servers[i]);
        peer_connect(&peer, &client);
        peer_expect_up(&peer);
        stream_start(&stream, &peer, "cat", 64 * MIB);
        client_run_until(&client, &stream.closed, 120);
        assert_int_equal(stream.err.cls, ERROR_NONE);
        assert_int_equal(stream.status, 0);
        assert_int_equal(stream.received, 64 * MIB);
        assert_int_equal(stream.wire->bytes_sent, 64 * MIB);
        assert_int_equal(stream.wire->bytes_received, 64 * MIB);
        assert_int_equal(stream.wire->pending, 0);
        assert_true(stream.most_pending <= HIGH_WATER + PIECE);
        assert_true(stream.drains > 10);
        wire_close(stream.wire);
        client_run_for(&client, 500);
        assert_true(client.turns < 500);
        peer_close(&peer);
    }
}

static void keys_are_exchanged_again_under_way(void **state)
{
    (void)state;
    struct server server;
    struct peer peer;
    struct stream stream;
    server_start(&server, &place, SERVER_OPENSSH, "ed25519", "RekeyLimit 3M\n");
    server_make_known(&server, &place);
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    stream_start(&stream, &peer, "cat", 40 * MIB);
    client_run_until(&client, &stream.closed, 120);
    assert_int_equal(stream.err.cls, ERROR_NONE);
    assert_int_equal(stream.received, 40 * MIB);
    wire_close(stream.wire);
    peer_close(&peer);
    server_stop(&server);
}

/* A reader that never reads: the wire must not swallow more than windows and sockets hold. */
static void stuck_reader_stops_the_writer(void **state)
{
    (void)state;
    struct peer peer;
    struct stream stream;
    struct ran ran;
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    stream_start(&stream, &peer, "sleep 1000", 512ull * MIB);
    client_run_for(&client, 1500);
    assert_true(stream.wire->bytes_sent < 32 * MIB);
    uint64_t sent = stream.wire->bytes_sent;
    assert_true(stream.wire->pending > 0);
    /* Others on the same link are served. */
    peer_run(&peer, &client, "echo alive", NULL, 10000, &ran);
    assert_string_equal(ran.out, "alive\n");
    assert_int_equal(stream.wire->bytes_sent, sent);
    /* Waiting costs nothing: the loop turns for its 10 ms timer only. */
    client_run_for(&client, 500);
    assert_true(client.turns < 500);
    wire_close(stream.wire);
    peer_close(&peer);
}

static void eight_links_at_once(void **state)
{
    (void)state;
    struct peer peers[8];
    struct stream streams[8];
    for (size_t i = 0; i < 8; i++) {
        peer_init(&peers[i], &place, servers[i % 2]->pid != 0 ? servers[i % 2] : &server);
        peer_open(&peers[i], &client);
        /* Before it is up: the command waits. */
        stream_start(&streams[i], &peers[i], "cat; exit 3", 8 * MIB);
    }
    for (size_t i = 0; i < 8; i++) {
        client_run_until(&client, &streams[i].closed, 120);
        assert_int_equal(streams[i].err.cls, ERROR_NONE);
        assert_int_equal(streams[i].received, 8 * MIB);
        assert_int_equal(streams[i].status, 3);
    }
    for (size_t i = 0; i < 8; i++) {
        wire_close(streams[i].wire);
        peer_close(&peers[i]);
    }
}

static void many_channels_on_one_link(void **state)
{
    (void)state;
    struct peer peer;
    struct stream streams[20];
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    for (size_t i = 0; i < 20; i++) {
        char command[32];
        snprintf(command, sizeof command, "cat; exit %zu", i);
        stream_start(&streams[i], &peer, command, MIB + i);
    }
    for (size_t i = 0; i < 20; i++) {
        client_run_until(&client, &streams[i].closed, 60);
        assert_int_equal(streams[i].err.cls, ERROR_NONE);
        assert_int_equal(streams[i].status, (int)i);
        assert_int_equal(streams[i].received, MIB + i);
        wire_close(streams[i].wire);
    }
    peer_close(&peer);
}

static void flood_of_diagnostics(void **state)
{
    (void)state;
    struct peer peer;
    struct stream stream;
    struct ran ran;
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    stream_start(&stream, &peer, "head -c 20000000 /dev/zero >&2; echo done", 0);
    stream.echoes = false;
    client_run_until(&client, &stream.closed, 60);
    assert_int_equal(stream.diagnostics, 20000000);
    assert_int_equal(stream.received, 5);
    wire_close(stream.wire);
    /* A run keeps the beginning. */
    peer_run(&peer, &client, "yes out | head -c 300000; yes err | head -c 300000 >&2", NULL, 20000,
             &ran);
    assert_int_equal(ran.status, 0);
    assert_int_equal(ran.out_size, 65536);
    assert_int_equal(strlen(ran.err_text), 4096);
    peer_close(&peer);
}

static void ends_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        if (servers[i]->pid == 0)
            continue;
        struct peer peer;
        struct ran ran;
        struct buffer *input = buffer_copy("line 1\nline 2\n", 14);
        peer_init(&peer, &place, servers[i]);
        peer_connect(&peer, &client);
        peer_run(&peer, &client, "wc -l; exit 42", input, 10000, &ran);
        buffer_unref(input);
        assert_int_equal(ran.status, 42);
        assert_int_equal(atoi(ran.out), 2);
        peer_run(&peer, &client, "kill -9 $$", NULL, 10000, &ran);
        assert_int_equal(ran.status, -1);
        assert_int_equal(ran.err.cls, ERROR_IO);
        assert_non_null(strstr(ran.err.text, "signal KILL"));
        peer_run(&peer, &client, "sleep 100", NULL, 300, &ran);
        assert_int_equal(ran.err.cls, ERROR_TIMEOUT);
        assert_non_null(strstr(ran.err.text, "'sleep 100'"));
        peer_run(&peer, &client, "no-such-command-here", NULL, 10000, &ran);
        assert_int_equal(ran.status, 127);
        assert_non_null(strstr(ran.err_text, "not found"));
        peer_close(&peer);
    }
}

static void too_many_sessions_are_refused(void **state)
{
    (void)state;
    struct server server;
    struct peer peer;
    struct stream streams[3];
    server_start(&server, &place, SERVER_OPENSSH, "ed25519", "MaxSessions 2\n");
    server_make_known(&server, &place);
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    for (size_t i = 0; i < 3; i++)
        stream_start(&streams[i], &peer, "cat", i < 2 ? 0 : 10);
    client_run_until(&client, &streams[2].closed, 20);
    assert_int_equal(streams[2].err.cls, ERROR_PROTOCOL);
    assert_non_null(strstr(streams[2].err.text, "MaxSessions"));
    assert_false(peer.down);
    for (size_t i = 0; i < 3; i++)
        wire_close(streams[i].wire);
    peer_close(&peer);
    server_stop(&server);
}

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        TEST(sixty_four_mib_come_back),      TEST(keys_are_exchanged_again_under_way),
        TEST(stuck_reader_stops_the_writer), TEST(eight_links_at_once),
        TEST(many_channels_on_one_link),     TEST(flood_of_diagnostics),
        TEST(ends_are_told_apart),           TEST(too_many_sessions_are_refused),
    };
    return cmocka_run_group_tests(tests, stand_begin_both, stand_end);
}
