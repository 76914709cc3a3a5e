/* SPDX-License-Identifier: Apache-2.0 */
/* The transfer's state machine against a client over a simulated network: packets are lost, doubled
 * and overtaken by a fixed rule, and time is a number. */
#include "netboot/tftp_transfer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define FLIGHT_MAX 4096u
#define MS         1000u

struct flight {
    uint64_t at, order;
    bool to_server;
    size_t size;
    uint8_t data[1500];
};

struct wire_faults {
    unsigned lose, twice, late; /* of 1000 packets */
};

/* The file is what byte_at says. */
static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 13);
}

struct client {
    uint64_t have;      /* blocks in order */
    uint64_t bytes;     /* of them */
    unsigned in_window; /* since the last ACK */
    uint64_t timer;     /* µs; 0: done */
    bool done, acked_once;
    bool nack_each; /* complains of every packet that is out of order, not once for each gap */
    uint64_t nacked;
};

struct world {
    uint64_t now, random;
    struct wire_faults faults;
    struct tftp_transfer transfer;
    struct client client;
    struct flight *flights;
    size_t flying;
    unsigned sent_data, sent_all;
    uint64_t size; /* of the file */
    struct byte_source source;
    bool starve; /* the source has nothing at the first try of every 100th block */
    uint64_t starved_at;
    uint8_t scratch[1500];
    char received[TRANSFER_UPLOAD_MAX];
    size_t received_size;
};

static unsigned roll(struct world *world, unsigned of)
{
    world->random = world->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(world->random >> 33) % of;
}

static void fly_once(struct world *world, const uint8_t *data, size_t size, bool to_server)
{
    assert_true(world->flying < FLIGHT_MAX);
    struct flight *flight = &world->flights[world->flying++];
    flight->at = world->now + 400;
    flight->order = world->sent_all++;
    if (roll(world, 1000) < world->faults.late)
        flight->at += roll(world, 3000);
    flight->to_server = to_server;
    flight->size = size;
    memcpy(flight->data, data, size);
}

static void fly(struct world *world, const uint8_t *data, size_t size, bool to_server)
{
    if (roll(world, 1000) >= world->faults.lose)
        fly_once(world, data, size, to_server);
    if (roll(world, 1000) < world->faults.twice)
        fly_once(world, data, size, to_server);
}

static void server_send(const uint8_t *data, size_t size, void *arg)
{
    struct world *world = arg;
    world->sent_data += data[1] == TFTP_DATA;
    fly(world, data, size, false);
}

static int server_received(const uint8_t *data, size_t size, struct error *err, void *arg)
{
    struct world *world = arg;
    memcpy(world->received, data, size);
    world->received_size = size;
    return size > 0 && data[0] == '!' ? error_set(err, ERROR_PROTOCOL, "not that") : 0;
}

static ssize_t source_read(struct byte_source *source, uint64_t offset, uint8_t *out, size_t size,
                           struct error *err)
{
    struct world *world = source->arg;
    (void)err;
    if (world->starve && offset / size % 100 == 99 && world->starved_at != offset) {
        world->starved_at = offset;
        return SOURCE_WAIT;
    }
    uint64_t left = offset < world->size ? world->size - offset : 0;
    size_t count = size < left ? size : (size_t)left;
    for (size_t i = 0; i < count; i++)
        out[i] = byte_at(offset + i);
    return (ssize_t)count;
}

/* --- a client as RFC 7440 has it ------------------------------------------------------ */

/* Both sides wait as long as was agreed. */
static uint64_t client_deadline(const struct world *world)
{
    return world->now + world->transfer.terms.timeout_ms * MS;
}

static void client_ack(struct world *world)
{
    uint8_t packet[TFTP_HEAD_SIZE];
    tftp_write_head(packet, TFTP_ACK, (uint16_t)world->client.have);
    fly(world, packet, sizeof packet, true);
    world->client.in_window = 0;
    world->client.acked_once = true;
    world->client.timer = client_deadline(world);
}

static void client_take(struct world *world, const struct tftp_packet *packet)
{
    struct client *client = &world->client;
    for (size_t i = 0; i < packet->payload_size; i++)
        if (packet->payload[i] != byte_at(client->bytes + i))
            fail_msg("wrong byte at %llu", (unsigned long long)(client->bytes + i));
    client->bytes += packet->payload_size;
    client->have++;
    client->in_window++;
    client->timer = client_deadline(world);
    bool last = packet->payload_size < world->transfer.terms.blksize;
    if (last || client->in_window >= world->transfer.terms.windowsize)
        client_ack(world);
    if (last) {
        client->done = true;
        client->timer = 0;
    }
}

static void client_packet(struct world *world, const uint8_t *data, size_t size)
{
    struct client *client = &world->client;
    struct tftp_packet packet;
    if (data[1] == TFTP_OACK) {
        if (client->have == 0)
            client_ack(world);
        return;
    }
    assert_int_equal(tftp_read_packet(data, size, &packet), 0);
    if (packet.opcode != TFTP_DATA)
        return;
    if (client->done)
        return; /* it has gone */
    if (packet.number == (uint16_t)(client->have + 1)) {
        client_take(world, &packet);
    } else if (client->nack_each || client->nacked != client->have + 1) {
        client->nacked = client->have + 1;
        client_ack(world);
    }
}

/* --- the world ------------------------------------------------------------------------ */

static bool is_earlier(const struct flight *a, const struct flight *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static size_t next_flight(const struct world *world)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < world->flying; i++)
        if (first == SIZE_MAX || is_earlier(&world->flights[i], &world->flights[first]))
            first = i;
    return first;
}

static void land(struct world *world, size_t i)
{
    struct flight flight = world->flights[i];
    world->flights[i] = world->flights[--world->flying];
    world->now = flight.at;
    if (flight.to_server)
        tftp_transfer_packet(&world->transfer, flight.data, flight.size, world->now);
    else
        client_packet(world, flight.data, flight.size);
}

/* Lets the earliest thing happen. False: nothing ever will. */
static bool step(struct world *world)
{
    size_t flight = next_flight(world);
    uint64_t at = flight != SIZE_MAX ? world->flights[flight].at : UINT64_MAX;
    uint64_t server = world->transfer.deadline != 0 ? world->transfer.deadline : UINT64_MAX;
    uint64_t client = world->client.timer != 0 ? world->client.timer : UINT64_MAX;
    if (world->transfer.starved && world->transfer.state == TRANSFER_SENDING) {
        world->now += 50;
        tftp_transfer_ready(&world->transfer, world->now);
    } else if (at <= server && at <= client && flight != SIZE_MAX) {
        land(world, flight);
    } else if (server <= client && server != UINT64_MAX) {
        world->now = server;
        tftp_transfer_expire(&world->transfer, world->now);
    } else if (client != UINT64_MAX) {
        world->now = client;
        if (world->client.acked_once)
            client_ack(world);
        else
            tftp_transfer_asked_again(&world->transfer, world->now);
        world->client.timer = client_deadline(world);
    } else {
        return false;
    }
    return true;
}

static struct world *world_new(uint64_t size, const struct tftp_wishes *wishes,
                               struct wire_faults faults)
{
    static const struct transfer_ops ops = {server_send, server_received};
    static const struct source_ops source_ops = {.read = source_read};
    static const struct transfer_limits limits = {1468, 64, 30000};
    struct tftp_request request = {.wishes = *wishes};
    struct world *world = calloc(1, sizeof *world);
    world->flights = calloc(FLIGHT_MAX, sizeof *world->flights);
    world->now = 1;
    world->random = size + faults.lose;
    world->faults = faults;
    world->size = size;
    world->source = (struct byte_source){.ops = &source_ops, .size = (int64_t)size, .arg = world};
    world->transfer.ops = &ops;
    world->transfer.arg = world;
    world->transfer.scratch = world->scratch;
    world->transfer.limits = limits;
    world->transfer.source = &world->source;
    tftp_transfer_agree(&request, &limits, (int64_t)size, &world->transfer.terms);
    world->client.timer = client_deadline(world);
    return world;
}

static void world_free(struct world *world)
{
    free(world->flights);
    free(world);
}

/* Runs to the end and checks that the client has everything. */
static void run(struct world *world)
{
    tftp_transfer_begin(&world->transfer, world->now);
    while (world->transfer.state != TRANSFER_ENDED && step(world))
        ;
    assert_true(world->client.done);
    assert_int_equal(world->client.bytes, world->size);
    assert_int_equal(world->transfer.state, TRANSFER_ENDED);
    assert_int_not_equal(world->transfer.result, TRANSFER_FAILED);
}

static uint64_t blocks(uint64_t size, uint32_t blksize)
{
    return size / blksize + 1;
}

static const struct tftp_wishes no_wishes;
static const struct tftp_wishes wide = {
    .has_blksize = true, .blksize = 1468, .has_windowsize = true, .windowsize = 16};

/* Without faults every block is sent once, whatever the sizes. */
static void test_clean(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 511, 512, 513, 1468, 1468 * 16, 1468 * 16 - 1, 200000};
    static const uint32_t windows[] = {0, 1, 2, 16, 64, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
            struct tftp_wishes wishes = {.has_windowsize = windows[w] != 0,
                                         .windowsize = windows[w]};
            struct world *world = world_new(sizes[i], &wishes, (struct wire_faults){0});
            run(world);
            assert_int_equal(world->transfer.result, TRANSFER_COMPLETE);
            assert_int_equal(world->transfer.acked_bytes, sizes[i]);
            assert_int_equal(world->sent_data, blocks(sizes[i], 512));
            assert_int_equal(world->transfer.repeated, 0);
            world_free(world);
        }
    }
}

/* More blocks than 16 bits can number. */
static void test_wrap(void **state)
{
    (void)state;
    struct tftp_wishes small = {.has_blksize = true, .blksize = 8};
    struct tftp_wishes window = {
        .has_blksize = true, .blksize = 8, .has_windowsize = true, .windowsize = 64};
    uint64_t size = 8 * 140000 + 3;
    struct world *world = world_new(size, &small, (struct wire_faults){0});
    run(world);
    assert_int_equal(world->sent_data, blocks(size, 8));
    world_free(world);
    world = world_new(size, &window, (struct wire_faults){.lose = 5, .twice = 5, .late = 5});
    run(world);
    world_free(world);
}

/* All faults together, with and without windows, patient and impatient clients. */
static void test_faults(void **state)
{
    (void)state;
    static const struct wire_faults faults[] = {
        {10, 0, 0},  {50, 0, 0},   {200, 0, 0},     {0, 100, 0},
        {0, 0, 100}, {50, 50, 50}, {100, 100, 200},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        for (unsigned variant = 0; variant < 8; variant++) {
            struct tftp_wishes wishes = variant % 2 ? wide : no_wishes;
            struct world *world = world_new(600000 + variant, &wishes, faults[i]);
            world->client.nack_each = variant / 2 % 2;
            world->starve = variant / 4;
            run(world);
            world_free(world);
        }
    }
}

/* A delayed packet must not make everything go twice to the end ("sorcerer's apprentice"). */
static void test_sorcerer(void **state)
{
    (void)state;
    for (unsigned windows = 0; windows < 2; windows++) {
        struct world *world =
            world_new(1000000, windows ? &wide : &no_wishes, (struct wire_faults){0});
        world->client.nack_each = true;
        tftp_transfer_begin(&world->transfer, world->now);
        for (unsigned i = 0; i < 40; i++)
            step(world);
        /* The whole window is late: it is sent again before its ACK comes. */
        uint64_t deadline = world->transfer.deadline;
        for (size_t i = 0; i < world->flying; i++)
            world->flights[i].at = deadline + 10;
        while (world->transfer.state != TRANSFER_ENDED && step(world))
            ;
        assert_true(world->client.done);
        assert_int_equal(world->client.bytes, world->size);
        uint64_t needed = blocks(world->size, world->transfer.terms.blksize);
        assert_in_range(world->sent_data, needed + 1,
                        needed + 3 * world->transfer.terms.windowsize);
        world_free(world);
    }
}

/* What an agreed window loses costs a round trip, not a timeout. */
static void test_loss_is_cheap(void **state)
{
    (void)state;
    struct tftp_wishes wishes = wide;
    wishes.has_timeout = true;
    wishes.timeout = 5;
    struct world *world = world_new(20000000, &wishes, (struct wire_faults){.lose = 10});
    run(world);
    /* 13,600 blocks, 850 windows, 136 losses; 5 s for each would be 11 minutes */
    assert_in_range(world->now, 1, 20000 * MS);
    world_free(world);
    /* What ends a small window is missed by a timeout only, on either way; so a short one. */
    wishes.windowsize = 4;
    world = world_new(20000000, &wishes, (struct wire_faults){.lose = 3});
    run(world);
    assert_in_range(world->now, 1, 5000 * MS);
    /* 41 blocks and 10 ACKs were lost: each costs less than a window or two */
    assert_in_range(world->transfer.repeated, 51, 300);
    world_free(world);
}

/* A client that has vanished: told apart from one that just did not send its last ACK. */
static void test_vanished(void **state)
{
    (void)state;
    struct world *world = world_new(3 * 512, &no_wishes, (struct wire_faults){.lose = 1000});
    world->client.timer = 0;
    tftp_transfer_begin(&world->transfer, world->now);
    while (step(world))
        ;
    assert_int_equal(world->transfer.result, TRANSFER_FAILED);
    assert_int_equal(world->transfer.err.cls, ERROR_TIMEOUT);
    assert_in_range(world->now, 30000 * MS, 40000 * MS);
    assert_in_range(world->sent_data, 5, 15); /* with back-off */
    world_free(world);
    world = world_new(100, &no_wishes, (struct wire_faults){.lose = 1000});
    world->client.timer = 0;
    tftp_transfer_begin(&world->transfer, world->now);
    while (step(world))
        ;
    assert_int_equal(world->transfer.result, TRANSFER_UNCONFIRMED);
    world_free(world);
}

static void give(struct world *world, const char *packet, size_t size)
{
    tftp_transfer_packet(&world->transfer, (const uint8_t *)packet, size, world->now);
}

#define GIVE(world, packet) give(world, packet, sizeof(packet) - 1)

/* Packets that make no sense change nothing. */
static void test_nonsense(void **state)
{
    (void)state;
    struct world *world = world_new(5000, &wide, (struct wire_faults){0});
    tftp_transfer_begin(&world->transfer, world->now);
    GIVE(world, "\0\4\0\1"); /* not the ACK of the OACK */
    GIVE(world, "\0\3\0\1data");
    GIVE(world, "");
    GIVE(world, "\0\1x\0octet\0");
    assert_int_equal(world->transfer.state, TRANSFER_OFFERING);
    GIVE(world, "\0\4\0\0");
    assert_int_equal(world->transfer.state, TRANSFER_SENDING);
    assert_int_equal(world->sent_data, 4);
    GIVE(world, "\0\4\0\5"); /* never sent */
    GIVE(world, "\0\4\xff\xff");
    GIVE(world, "\0\3\0\1data");
    assert_int_equal(world->sent_data, 4);
    GIVE(world, "\0\5\0\0gone\0");
    assert_int_equal(world->transfer.result, TRANSFER_FAILED);
    assert_non_null(strstr(world->transfer.err.text, "gone"));
    GIVE(world, "\0\4\0\4");
    assert_int_equal(world->transfer.state, TRANSFER_ENDED);
    world_free(world);
}

/* Without windows an ACK that comes twice is never answered; with them once for each window. */
static void test_ack_twice(void **state)
{
    (void)state;
    struct world *world = world_new(50000, &no_wishes, (struct wire_faults){0});
    tftp_transfer_begin(&world->transfer, world->now);
    GIVE(world, "\0\4\0\1");
    GIVE(world, "\0\4\0\1");
    GIVE(world, "\0\4\0\0");
    assert_int_equal(world->sent_data, 2);
    world_free(world);
    world = world_new(50000, &wide, (struct wire_faults){0});
    tftp_transfer_begin(&world->transfer, world->now);
    GIVE(world, "\0\4\0\0");
    assert_int_equal(world->sent_data, 16);
    GIVE(world, "\0\4\0\0"); /* block 1 was lost */
    GIVE(world, "\0\4\0\0");
    assert_int_equal(world->sent_data, 32);
    world_free(world);
}

static struct world *upload_new(const struct tftp_wishes *wishes)
{
    struct world *world = world_new(0, wishes, (struct wire_faults){0});
    world->transfer.source = NULL;
    tftp_transfer_begin(&world->transfer, world->now);
    return world;
}

static uint8_t last_opcode(const struct world *world)
{
    return world->flights[world->flying - 1].data[1];
}

static void test_upload(void **state)
{
    (void)state;
    struct world *world = upload_new(&no_wishes);
    assert_memory_equal(world->flights[0].data, "\0\4\0\0", 4);
    GIVE(world, "\0\3\0\1OK 1\n");
    assert_memory_equal(world->received, "OK 1\n", 5);
    assert_memory_equal(world->flights[world->flying - 1].data, "\0\4\0\1", 4);
    size_t flying = world->flying;
    GIVE(world, "\0\3\0\1OK 1\n"); /* our ACK was lost */
    assert_int_equal(world->flying, flying + 1);
    world->now = world->transfer.deadline;
    tftp_transfer_expire(&world->transfer, world->now);
    assert_int_equal(world->transfer.result, TRANSFER_COMPLETE);
    world_free(world);
}

static void test_upload_refused(void **state)
{
    (void)state;
    static const char wrong[] = "\0\3\0\1!";
    struct world *world = upload_new(&no_wishes);
    give(world, wrong, sizeof wrong - 1);
    assert_int_equal(world->transfer.result, TRANSFER_FAILED);
    assert_int_equal(last_opcode(world), TFTP_ERROR);
    world_free(world);
    world = upload_new(&wide);
    assert_int_equal(last_opcode(world), TFTP_OACK);
    char large[TFTP_HEAD_SIZE + TRANSFER_UPLOAD_MAX + 1] = "\0\3\0\1";
    give(world, large, sizeof large);
    assert_int_equal(world->transfer.result, TRANSFER_FAILED);
    assert_int_equal(world->received_size, 0);
    world_free(world);
}

static void test_agree(void **state)
{
    (void)state;
    static const struct transfer_limits limits = {1468, 64, 30000};
    struct tftp_request request = {.wishes = {true, true, true, true, 9000, 5, 0, 65535}};
    struct transfer_terms terms;
    tftp_transfer_agree(&request, &limits, 777, &terms);
    assert_int_equal(terms.blksize, 1468);
    assert_int_equal(terms.windowsize, 64);
    assert_int_equal(terms.timeout_ms, 5000);
    assert_int_equal(terms.agreed.tsize, 777);
    tftp_transfer_agree(&request, &limits, -1, &terms);
    assert_false(terms.agreed.has_tsize);
    request.write = true;
    tftp_transfer_agree(&request, &limits, 256, &terms);
    assert_false(terms.agreed.has_windowsize);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),         cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_faults),        cmocka_unit_test(test_sorcerer),
        cmocka_unit_test(test_loss_is_cheap), cmocka_unit_test(test_vanished),
        cmocka_unit_test(test_ack_twice),     cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_upload),        cmocka_unit_test(test_upload_refused),
        cmocka_unit_test(test_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
