/* SPDX-License-Identifier: Apache-2.0 */
#include "link_stand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct place place;
struct server server, dropbear;
struct client client;

int stand_begin(void **state)
{
    (void)state;
    place_make(&place);
    server_start_known(&server, &place, SERVER_OPENSSH);
    return 0;
}

int stand_begin_both(void **state)
{
    stand_begin(state);
    server_start_known(&dropbear, &place, SERVER_DROPBEAR);
    return 0;
}

int stand_end(void **state)
{
    (void)state;
    server_stop(&dropbear);
    server_stop(&server);
    place_remove(&place);
    return 0;
}

int stand_setup(void **state)
{
    (void)state;
    place_write(&place, "ssh_config", "%s", "");
    client_init(&client, 16);
    return 0;
}

int stand_teardown(void **state)
{
    (void)state;
    client_finish(&client);
    return 0;
}

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

const struct wire_events feed_events = {
    .opened = feed_drain, .data = feed_data, .drain = feed_drain, .closed = feed_closed};

void feed_start(struct feed *feed, struct peer *peer, const char *command)
{
    memset(feed, 0, sizeof *feed);
    feed->buffer = buffer_new(256 * 1024);
    memset(feed->buffer->data, 7, feed->buffer->size);
    feed->wire = link_exec(peer->link, command, &feed_events, feed);
    assert_non_null(feed->wire);
}

void feed_stop(struct feed *feed)
{
    wire_close(feed->wire);
    buffer_unref(feed->buffer);
}

void feed_until(struct client *client, const struct feed *feed, uint64_t sent)
{
    uint64_t end = uv_hrtime() + 20000000000u;
    while (feed->wire->bytes_sent <= sent && uv_hrtime() < end)
        uv_run(&client->loop, UV_RUN_ONCE);
    assert_true(feed->wire->bytes_sent > sent);
}
