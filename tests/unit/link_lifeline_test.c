/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's own port: by the way that leads to ssh, and with others than the agent behind it. */
#include "lifeline_other.h"
#include "link_fixture.h"

#include "link/lifeline_wire.h"
#include "protocol/lifeline.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB 1048576u

static struct place place;
static struct server jump;
static struct client client;
static uint8_t secret[PROTOCOL_KEY_SIZE], other_secret[PROTOCOL_KEY_SIZE];

/* --- our side -------------------------------------------------------------------------- */

struct user {
    struct link_config config;
    struct wire *wire;
    bool opened, closed, done, enough;
    struct error err;
    uint64_t received, wanted; /* enough: so many bytes came */
    crypto_generichash_state hash;
    uint8_t last[64]; /* the beginning of what came last */
    unsigned drains;
    void (*on_drain)(struct user *user);
    uint64_t to_write; /* by on_drain */
    struct buffer *block;
};

static void user_opened_callback(struct wire *wire, void *arg)
{
    struct user *user = arg;
    assert_ptr_equal(wire, user->wire);
    assert_false(user->opened || user->closed);
    user->opened = user->done = true;
}

static void user_data_callback(struct wire *wire, const uint8_t *data, size_t size, void *arg)
{
    struct user *user = arg;
    (void)wire;
    assert_true(user->opened);
    user->received += size;
    crypto_generichash_update(&user->hash, data, size);
    memcpy(user->last, data, size < sizeof user->last ? size : sizeof user->last);
    user->enough = user->received >= user->wanted;
}

static void user_drain_callback(struct wire *wire, void *arg)
{
    struct user *user = arg;
    assert_true(wire->pending < WIRE_LOW_WATER);
    user->drains++;
    if (user->on_drain != NULL)
        user->on_drain(user);
}

static void user_closed_callback(struct wire *wire, int status, const struct error *err, void *arg)
{
    struct user *user = arg;
    (void)wire;
    assert_false(user->closed);
    assert_int_equal(status, -1);
    user->closed = user->done = true;
    user->err = *err;
}

static const struct wire_events user_events = {.opened = user_opened_callback,
                                               .data = user_data_callback,
                                               .drain = user_drain_callback,
                                               .closed = user_closed_callback};

/* host: as the ssh configuration of the place has it. */
static void user_init(struct user *user, const char *host)
{
    memset(user, 0, sizeof *user);
    crypto_generichash_init(&user->hash, NULL, 0, 32);
    user->config = (struct link_config){
        .name = "device",
        .host = host,
        .ssh_config = place_path(&place, "ssh_config"),
        .connect_timeout = 20000,
        .keepalive = 10000,
    };
}

static void user_say(struct user *user, const void *data, size_t size)
{
    struct buffer *buffer = buffer_copy(data, size);
    wire_write(user->wire, buffer, 0, size);
    buffer_unref(buffer);
}

static void user_open(struct user *user, unsigned port, const uint8_t *key)
{
    user->wire = lifeline_wire_open(client.pool, &user->config, port, key, &user_events, user);
    assert_non_null(user->wire);
    user_say(user, "ping", 4);
    assert_false(user->done);
}

static void user_expect_closed(struct user *user, enum error_class cls, const char *part)
{
    client_run_until(&client, &user->closed, 40);
    if (user->err.cls != cls || strstr(user->err.text, part) == NULL)
        fail_msg("expected %s with '%s', got %s: %s", error_class_name(cls), part,
                 error_class_name(user->err.cls), user->err.text);
    wire_close(user->wire);
}

static void user_expect_echo(struct user *user)
{
    user->wanted = 4;
    client_run_until(&client, &user->done, 40);
    if (user->closed)
        fail_msg("not open: %s", user->err.text);
    client_run_until(&client, &user->enough, 40);
    assert_memory_equal(user->last, "ping", 4);
}

static int group_setup(void **state)
{
    (void)state;
    memset(secret, 7, sizeof secret);
    memset(other_secret, 8, sizeof other_secret);
    place_make(&place);
    server_start_known(&jump, &place, SERVER_OPENSSH);
    place_write(&place, "relay",
                "#!/usr/bin/python3\nimport os, socket, sys, threading\n"
                "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
                "def up():\n"
                "    while data := os.read(0, 65536):\n        s.sendall(data)\n"
                "threading.Thread(target=up, daemon=True).start()\n"
                "while data := s.recv(65536):\n"
                "    while data:\n        data = data[os.write(1, data):]\n");
    must_run("chmod +x %s/relay", place.dir);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    server_stop(&jump);
    place_remove(&place);
    return 0;
}

/* "board" is straight, "behind" through a jump host, "piped" through a ProxyCommand; none of the
 * names means anything without the configuration, and ssh's port is not the agent's. */
static int setup(void **state)
{
    (void)state;
    place_write(&place, "ssh_config",
                "Host board\n HostName 127.0.0.1\n Port 1\n"
                "Host gate\n HostName 127.0.0.1\n Port %u\n"
                "Host behind\n HostName 127.0.0.1\n Port 1\n ProxyJump root@gate\n"
                "Host piped\n HostName 127.0.0.1\n Port 1\n ProxyCommand %s/relay %%h %%p\n"
                "Host fixed\n HostName 127.0.0.1\n ProxyCommand %s/relay %%h 1 100%%%%pure\n"
                "Host *\n IdentityFile %s/user_key\n UserKnownHostsFile %s/known_hosts\n",
                jump.port, place.dir, place.dir, place.dir, place.dir);
    client_init(&client, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_finish(&client);
    return 0;
}

static const char *const ways[] = {"board", "behind", "piped"};

/* --- tests ----------------------------------------------------------------------------- */

static void every_way_leads_to_it(void **state)
{
    (void)state;
    struct other other;
    struct user user;
    other_start(&other, MANNER_ECHO, secret, UINT64_MAX);
    for (size_t i = 0; i < 3; i++) {
        user_init(&user, ways[i]);
        user_open(&user, other.port, secret);
        user_expect_echo(&user);
        assert_int_equal(user.wire->bytes_received, 4);
        assert_int_equal(user.wire->pending, 0);
        wire_close(user.wire);
    }
    other_stop(&other);
}

static void no_way_is_told(void **state)
{
    (void)state;
    struct user user;
    unsigned nobody = free_port();
    static const char *const parts[] = {"connection refused", "the proxy said: ", "proxy said: "};
    for (size_t i = 0; i < 3; i++) {
        user_init(&user, ways[i]);
        user_open(&user, nobody, secret);
        user_expect_closed(&user, ERROR_NETWORK, parts[i]);
        assert_non_null(strstr(user.err.remedy, "firewall"));
        assert_null(strstr(user.err.remedy, "sshd"));
    }

    user_init(&user, "fixed");
    user_open(&user, nobody, secret);
    user_expect_closed(&user, ERROR_USAGE, "has no %p");
    assert_non_null(strstr(user.err.remedy, "ProxyJump"));

    /* The end comes before the words: they are waited for. */
    client_renew(&client);
    place_write(
        &place, "ssh_config",
        "Host *\n ProxyCommand sh -c 'exec </dev/null >/dev/null; echo no way to %%p >&2'\n");
    for (unsigned i = 0; i < 8; i++) {
        user_init(&user, "board");
        user_open(&user, nobody, secret);
        user_expect_closed(&user, ERROR_NETWORK, "the proxy said: no way to");
    }

    client_renew(&client);
    place_write(&place, "ssh_config", "Host *\n Prot 22\n");
    user_init(&user, "board");
    user_open(&user, nobody, secret);
    user_expect_closed(&user, ERROR_USAGE, "Bad configuration option: prot");
}

static void who_does_not_know_the_secret_is_refused(void **state)
{
    (void)state;
    struct other other;
    struct user user;
    other_start(&other, MANNER_ECHO, secret, UINT64_MAX);
    for (size_t i = 0; i < 3; i++) {
        user_init(&user, ways[i]);
        user_open(&user, other.port, other_secret);
        user_expect_closed(&user, ERROR_NETWORK, "did not prove to be the agent");
        assert_false(user.opened);
        assert_int_equal(user.received, 0);
    }
    other_stop(&other);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    struct other other;
    struct user user;
    other_start(&other, MANNER_GARBAGE, secret, 0);
    for (size_t i = 0; i < 3; i++) {
        user_init(&user, ways[i]);
        user_open(&user, other.port, secret);
        user_expect_closed(&user, ERROR_NETWORK, "not the agent of this run");
        assert_false(user.opened);
    }
    other_stop(&other);

    other_start(&other, MANNER_BAD_LATER, secret, 0);
    user_init(&user, "board");
    user_open(&user, other.port, secret);
    user_expect_closed(&user, ERROR_NETWORK, "not the agent of this run");
    assert_true(user.opened);
    assert_int_equal(user.received, 1);
    other_stop(&other);
}

static void silence_times_out(void **state)
{
    (void)state;
    static const enum manner manners[] = {MANNER_SILENT, MANNER_HALF};
    for (size_t m = 0; m < 2; m++) {
        struct other other;
        struct user user;
        other_start(&other, manners[m], secret, 0);
        for (size_t i = 0; i < 3; i++) {
            user_init(&user, ways[i]);
            user.config.connect_timeout = 1500;
            user_open(&user, other.port, secret);
            user_expect_closed(&user, ERROR_TIMEOUT, "nobody proved to be the agent in time");
            assert_false(user.opened);
        }
        other_stop(&other);
    }
}

static void a_cut_in_the_middle_is_told(void **state)
{
    (void)state;
    struct other other;
    struct user user;
    other_start(&other, MANNER_CUT, secret, 4);
    for (size_t i = 0; i < 3; i++) {
        user_init(&user, ways[i]);
        user_open(&user, other.port, secret);
        user_expect_echo(&user);
        user_expect_closed(&user, ERROR_NETWORK, "the agent closed the connection");
        assert_int_equal(user.received, 4);
    }
    other_stop(&other);
}

/* What is written to a dead or closed wire goes nowhere and leaks nothing. */
static void writes_after_the_end_are_dropped(void **state)
{
    (void)state;
    struct other other;
    struct user user;
    other_start(&other, MANNER_CUT, secret, 4);
    user_init(&user, "board");
    user_open(&user, other.port, secret);
    client_run_until(&client, &user.closed, 40);
    user_say(&user, "late", 4);
    client_run_for(&client, 50);
    wire_close(user.wire);
    other_stop(&other);
}

static void write_more(struct user *user)
{
    while (user->to_write > 0 && user->wire->pending < MIB) {
        size_t size = user->block->size;
        wire_write(user->wire, user->block, 0, size);
        user->to_write -= size;
    }
}

static void fill(struct buffer *block)
{
    randombytes_buf(block->data, block->size);
}

/* 64 MiB there and back, by each way: the same bytes. */
static void echo_is_identical(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct other other;
        struct user user;
        crypto_generichash_state expected;
        uint8_t hash[2][32];
        other_start(&other, MANNER_ECHO, secret, UINT64_MAX);
        user_init(&user, ways[i]);
        user.block = buffer_new(100003); /* no record's size */
        fill(user.block);
        user.to_write = 64u * MIB / 100003u * 100003u;
        user.wanted = user.to_write + 4;
        crypto_generichash_init(&expected, NULL, 0, 32);
        crypto_generichash_update(&expected, (const uint8_t *)"ping", 4);
        for (uint64_t n = 0; n < user.to_write; n += user.block->size)
            crypto_generichash_update(&expected, user.block->data, user.block->size);
        user.on_drain = write_more;
        user_open(&user, other.port, secret);
        write_more(&user);
        client_run_until(&client, &user.enough, 120);
        assert_int_equal(user.received, user.wanted);
        crypto_generichash_final(&expected, hash[0], 32);
        crypto_generichash_final(&user.hash, hash[1], 32);
        assert_memory_equal(hash[0], hash[1], 32);
        assert_true(user.drains > 10);
        assert_int_equal(user.wire->pending, 0);
        wire_close(user.wire);
        buffer_unref(user.block);
        other_stop(&other);
    }
}

/* Nobody reads: what was handed to the transport stays small, all else is pending and says so. */
static void a_slow_reader_holds_it_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct other other;
        struct user user;
        uint64_t total = 64u * MIB;
        other_start(&other, MANNER_DIGEST, secret, total);
        user_init(&user, ways[i]);
        user.block = buffer_new(MIB);
        fill(user.block);
        user.wire =
            lifeline_wire_open(client.pool, &user.config, other.port, secret, &user_events, &user);
        crypto_generichash_state expected;
        crypto_generichash_init(&expected, NULL, 0, 32);
        for (uint64_t n = 0; n < total; n += MIB) {
            wire_write(user.wire, user.block, 0, MIB);
            crypto_generichash_update(&expected, user.block->data, MIB);
        }
        assert_int_equal(user.wire->pending, total);
        uint64_t sent;
        do { /* until it has come to a halt */
            sent = user.wire->bytes_sent;
            client_run_for(&client, 500);
        } while (sent == 0 || sent != user.wire->bytes_sent);
        assert_true(user.wire->pending > total / 2);
        assert_true(user.wire->pending + sent >= total);
        assert_true(user.wire->pending + sent < total + MIB / 8); /* the records' overhead */
        assert_int_equal(user.drains, 0);
        assert_false(user.opened); /* it has not proven anything yet */
        kill(-other.pid, SIGUSR1);
        user.wanted = 32;
        client_run_until(&client, &user.enough, 120);
        uint8_t hash[32];
        crypto_generichash_final(&expected, hash, 32);
        assert_memory_equal(user.last, hash, 32);
        assert_int_equal(user.drains, 1);
        assert_int_equal(user.wire->pending, 0);
        wire_close(user.wire);
        buffer_unref(user.block);
        other_stop(&other);
    }
}

static void closing_at_any_moment_is_clean(void **state)
{
    (void)state;
    struct other other, cut;
    other_start(&other, MANNER_ECHO, secret, UINT64_MAX);
    other_start(&cut, MANNER_CUT, secret, 4);
    unsigned ports[] = {other.port, cut.port, free_port()};
    for (size_t i = 0; i < 3; i++) {
        for (size_t p = 0; p < 3; p++) {
            for (unsigned turn = 0; turn < 24; turn++) {
                struct user user;
                user_init(&user, ways[i]);
                user_open(&user, ports[p], secret);
                for (unsigned n = 0; n < turn && !user.closed; n++)
                    uv_run(&client.loop, UV_RUN_ONCE);
                wire_close(user.wire);
            }
        }
    }
    client_run_for(&client, 100);
    other_stop(&other);
    other_stop(&cut);
}

/* The agent itself, as it is shipped. */
static void the_agent_answers(void **state)
{
    (void)state;
    const char *program = getenv("AGENT_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0)
        skip();
    char port[16], key[2 * PROTOCOL_KEY_SIZE + 1];
    struct other agent = {.port = free_port()};
    snprintf(port, sizeof port, "%u", agent.port);
    sodium_bin2hex(key, sizeof key, secret, sizeof secret);
    must_run("truncate -s 1M %s/disk", place.dir);
    agent.pid = fork();
    if (agent.pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, program, "serve", "--disk", place_path(&place, "disk"), "--socket",
              place.dir, "--port", port, "--key", key, (char *)NULL);
        _exit(127);
    }
    setpgid(agent.pid, agent.pid);
    must_run("for i in $(seq 200); do %s/relay 127.0.0.1 %u </dev/null >/dev/null 2>&1 & p=$!; "
             "sleep 0.1; kill $p 2>/dev/null && exit 0; done; exit 1",
             place.dir, agent.port);
    for (size_t i = 0; i < 3; i++) {
        struct user user;
        uint8_t out[PROTOCOL_SMALL_MAX];
        struct frame frame;
        user_init(&user, ways[i]);
        user.wire =
            lifeline_wire_open(client.pool, &user.config, agent.port, secret, &user_events, &user);
        user_say(&user, out, protocol_encode_empty(FRAME_PING, out, sizeof out));
        user.wanted = PROTOCOL_HEADER_SIZE;
        client_run_until(&client, &user.done, 20);
        if (user.closed)
            fail_msg("the agent hung up: %s", user.err.text);
        client_run_until(&client, &user.enough, 20);
        assert_true(protocol_parse(user.last, sizeof user.last, &frame) > 0);
        assert_int_equal(frame.type, FRAME_PONG);
        wire_close(user.wire);

        user_init(&user, ways[i]);
        user_open(&user, agent.port, other_secret);
        user_expect_closed(&user, ERROR_NETWORK, "did not prove to be the agent");
    }
    other_stop(&agent);
}

int main(void)
{
    if (!fixture_available() || sodium_init() < 0)
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_way_leads_to_it),
        TEST(no_way_is_told),
        TEST(who_does_not_know_the_secret_is_refused),
        TEST(garbage_is_refused),
        TEST(silence_times_out),
        TEST(a_cut_in_the_middle_is_told),
        TEST(writes_after_the_end_are_dropped),
        TEST(echo_is_identical),
        TEST(a_slow_reader_holds_it_back),
        TEST(closing_at_any_moment_is_clean),
        TEST(the_agent_answers),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
