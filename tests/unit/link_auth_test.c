/* SPDX-License-Identifier: Apache-2.0 */
/* Logging in: key files, the agent, and every way it can be refused. */
#include "link_stand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct server *const servers[] = {&server, &dropbear};

static void key_file_logs_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        if (servers[i]->pid == 0)
            continue;
        struct peer peer;
        struct ran ran;
        peer_init(&peer, &place, servers[i]);
        peer_connect(&peer, &client);
        peer_expect_up(&peer);
        assert_string_equal(peer.fingerprint, server_fingerprint(servers[i]));
        assert_string_equal(peer.type, "ssh-ed25519");
        assert_string_equal(peer.route, "direct");
        assert_non_null(strstr(peer.banner, i == 0 ? "OpenSSH" : "dropbear"));
        assert_true(peer.facts.host_key_known);
        peer_run(&peer, &client, "echo hello; echo oops >&2; exit 7", NULL, 10000, &ran);
        assert_int_equal(ran.err.cls, ERROR_NONE);
        assert_int_equal(ran.status, 7);
        assert_string_equal(ran.out, "hello\n");
        assert_string_equal(ran.err_text, "oops\n");
        peer_close(&peer);
    }
}

/* A real ssh-agent with the given key in it; its socket goes into SSH_AUTH_SOCK. */
static void start_agent(const char *key, const char *askpass_secret)
{
    char socket[200];
    snprintf(socket, sizeof socket, "%s", place_path(&place, "agent.sock"));
    must_run("rm -f %s; ssh-agent -a %s > %s/agent.env", socket, socket, place.dir);
    place_write(&place, "askpass", "#!/bin/sh\necho %s\n", askpass_secret);
    must_run("chmod 700 %s/askpass && SSH_AUTH_SOCK=%s SSH_ASKPASS=%s/askpass "
             "SSH_ASKPASS_REQUIRE=force ssh-add -q %s/%s",
             place.dir, socket, place.dir, place.dir, key);
    setenv("SSH_AUTH_SOCK", socket, 1);
}

static void stop_agent(void)
{
    must_run(". %s/agent.env >/dev/null; kill $SSH_AGENT_PID", place.dir);
    unsetenv("SSH_AUTH_SOCK");
}

static void agent_logs_in(void **state)
{
    (void)state;
    start_agent("user_key", "");
    for (size_t i = 0; i < 2; i++) {
        if (servers[i]->pid == 0)
            continue;
        struct peer peer;
        peer_init(&peer, &place, servers[i]);
        peer.config.identity = NULL;
        peer_connect(&peer, &client);
        peer_expect_up(&peer);
        peer_close(&peer);
    }
    stop_agent();
}

static void locked_key_works_through_the_agent_only(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer, &place, &server);
    peer.config.identity = place_path(&place, "locked_key");
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "locked_key needs a passphrase");
    assert_non_null(strstr(peer.err.remedy, "ssh-add"));
    peer_close(&peer);

    start_agent("locked_key", "secret");
    peer_init(&peer, &place, &server);
    peer.config.identity = place_path(&place, "locked_key");
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    peer_close(&peer);
    stop_agent();
}

/* Ten useless keys in the agent would use up MaxAuthTries (6) before the right file is tried. */
static void agent_offers_only_the_named_key(void **state)
{
    (void)state;
    start_agent("other_key", "");
    for (int i = 0; i < 10; i++)
        must_run("cd %s && rm -f x%d* && ssh-keygen -q -t ed25519 -N '' -f x%d && ssh-add -q x%d",
                 place.dir, i, i, i);
    struct peer peer;
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    peer_close(&peer);

    peer_init(&peer, &place, &server);
    peer.config.identity = place_path(&place, "other_key");
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "agent key 'other@test'");
    peer_close(&peer);

    peer_init(&peer, &place, &server);
    peer.config.identity = NULL;
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "closed the connection");
    peer_close(&peer);
    stop_agent();
}

static void dead_agent_leaves_the_key_file(void **state)
{
    (void)state;
    struct peer peer;
    setenv("SSH_AUTH_SOCK", place_path(&place, "nobody.sock"), 1);
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    peer_close(&peer);
}

static void refused_key_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        if (servers[i]->pid == 0)
            continue;
        struct peer peer;
        peer_init(&peer, &place, servers[i]);
        peer.config.identity = place_path(&place, "other_key");
        peer_connect(&peer, &client);
        peer_expect_down(&peer, ERROR_AUTH, "refused every key for user root");
        assert_non_null(strstr(peer.err.text, "other_key"));
        assert_non_null(strstr(peer.err.remedy, "authorized_keys"));
        peer_close(&peer);
    }
}

static void missing_and_broken_keys_are_named(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer, &place, &server);
    peer.config.identity = place_path(&place, "no_such_key");
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "no_such_key: No such file");
    peer_close(&peer);

    place_write(&place, "broken_key", "this is no key\n");
    peer_init(&peer, &place, &server);
    peer.config.identity = place_path(&place, "broken_key");
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "broken_key: not a private key");
    peer_close(&peer);

    must_run("mkdir -p %s/dir_key", place.dir);
    peer_init(&peer, &place, &server);
    peer.config.identity = place_path(&place, "dir_key");
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "dir_key: Is a directory");
    peer_close(&peer);
}

static void server_without_public_keys_is_told_apart(void **state)
{
    (void)state;
    struct server server;
    struct peer peer;
    server_start(&server, &place, SERVER_OPENSSH, "ed25519",
                 "PubkeyAuthentication no\nPasswordAuthentication yes\n");
    server_make_known(&server, &place);
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "offers password only");
    peer_close(&peer);
    server_stop(&server);
}

static void other_key_types_and_ciphers(void **state)
{
    (void)state;
    static const char *const ciphers[] = {"aes256-ctr", "chacha20-poly1305@openssh.com",
                                          "aes256-gcm@openssh.com"};
    static const char *const types[] = {"rsa", "ecdsa", "ed25519"};
    for (size_t i = 0; i < 3; i++) {
        struct server server;
        struct peer peer;
        struct ran ran;
        char extra[100];
        snprintf(extra, sizeof extra, "Ciphers %s\n", ciphers[i]);
        server_start(&server, &place, SERVER_OPENSSH, types[i], extra);
        server_make_known(&server, &place);
        peer_init(&peer, &place, &server);
        peer_connect(&peer, &client);
        peer_expect_up(&peer);
        assert_string_equal(peer.cipher, ciphers[i]);
        peer_run(&peer, &client, "true", NULL, 10000, &ran);
        assert_int_equal(ran.status, 0);
        peer_close(&peer);
        server_stop(&server);
    }
}

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        TEST(key_file_logs_in),
        TEST(agent_logs_in),
        TEST(locked_key_works_through_the_agent_only),
        TEST(agent_offers_only_the_named_key),
        TEST(dead_agent_leaves_the_key_file),
        TEST(refused_key_is_named),
        TEST(missing_and_broken_keys_are_named),
        TEST(server_without_public_keys_is_told_apart),
        TEST(other_key_types_and_ciphers),
    };
    return cmocka_run_group_tests(tests, stand_begin_both, stand_end);
}
