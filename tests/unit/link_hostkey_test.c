/* SPDX-License-Identifier: Apache-2.0 */
/* Host keys: the four policies against known, unknown, changed, hashed and revoked entries. */
#include "link_stand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct server stranger;

static int group_setup(void **state)
{
    stand_begin(state);
    server_start(&stranger, &place, SERVER_OPENSSH, "ed25519", NULL);
    return 0;
}

static int group_teardown(void **state)
{
    server_stop(&stranger);
    return stand_end(state);
}

/* No server is known. */
static int setup(void **state)
{
    unlink(place_path(&place, "known_hosts"));
    return stand_setup(state);
}

/* server's address with the key of another one: what a changed key looks like. */
static void know_wrong_key(void)
{
    server_make_known(&stranger, &place);
    must_run("sed -i 's/:%u/:%u/' %s/known_hosts", stranger.port, server.port, place.dir);
}

static void strict_refuses_unknown(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_HOSTKEY, "is not known");
    assert_non_null(strstr(peer.err.text, server_fingerprint(&server)));
    assert_non_null(strstr(peer.err.remedy, "ssh-keyscan"));
    assert_non_null(strstr(peer.err.remedy, "accept-new"));
    assert_string_equal(place_read(&place, "known_hosts"), "");
    peer_close(&peer);
}

static void changed_is_refused(void **state)
{
    (void)state;
    static const enum hostkey_policy policies[] = {HOSTKEY_STRICT, HOSTKEY_ACCEPT_NEW};
    char known[512];
    know_wrong_key();
    snprintf(known, sizeof known, "%s", place_read(&place, "known_hosts"));
    for (size_t i = 0; i < 2; i++) {
        struct peer peer;
        peer_init(&peer, &place, &server);
        peer.config.hostkey = policies[i];
        peer_connect(&peer, &client);
        peer_expect_down(&peer, ERROR_HOSTKEY, "has changed");
        assert_non_null(strstr(peer.err.text, server_fingerprint(&server)));
        assert_non_null(strstr(peer.err.text, server_fingerprint(&stranger)));
        assert_non_null(strstr(peer.err.text, "known_hosts line 1"));
        peer_close(&peer);
    }
    assert_string_equal(place_read(&place, "known_hosts"), known);
}

/* Eight links to a new device at once remember it once. */
static void accept_new_remembers_once(void **state)
{
    (void)state;
    struct peer peers[8];
    place_write(&place, "known_hosts", "# no line end at the end");
    for (size_t i = 0; i < 8; i++) {
        peer_init(&peers[i], &place, &server);
        peers[i].config.hostkey = HOSTKEY_ACCEPT_NEW;
        peer_open(&peers[i], &client);
    }
    for (size_t i = 0; i < 8; i++) {
        client_run_until(&client, &peers[i].done, 40);
        peer_expect_up(&peers[i]);
        peer_close(&peers[i]);
    }
    const char *known = place_read(&place, "known_hosts");
    char expected[64];
    snprintf(expected, sizeof expected, "# no line end at the end\n[127.0.0.1]:%u ssh-ed25519 ",
             server.port);
    assert_int_equal(strncmp(known, expected, strlen(expected)), 0);
    assert_null(strstr(known + strlen(expected), "ssh-ed25519"));

    struct peer peer;
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    assert_true(peer.facts.host_key_known);
    peer_close(&peer);
}

static void accept_new_makes_the_file(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer, &place, &server);
    peer.config.known_hosts = place_path(&place, "fresh/known_hosts");
    peer.config.hostkey = HOSTKEY_ACCEPT_NEW;
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    assert_false(peer.facts.host_key_known);
    peer_close(&peer);
    assert_non_null(strstr(place_read(&place, "fresh/known_hosts"), "ssh-ed25519"));

    peer_init(&peer, &place, &server);
    peer.config.known_hosts = "/proc/nowhere/known_hosts";
    peer.config.hostkey = HOSTKEY_ACCEPT_NEW;
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_HOSTKEY, "cannot remember the key");
    peer_close(&peer);
}

static void fingerprint_pins(void **state)
{
    (void)state;
    struct peer peer;
    char fingerprint[100];
    know_wrong_key(); /* known_hosts is not asked */
    snprintf(fingerprint, sizeof fingerprint, "%s", server_fingerprint(&server));
    peer_init(&peer, &place, &server);
    peer.config.hostkey = HOSTKEY_FINGERPRINT;
    peer.config.fingerprint = fingerprint;
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    peer_close(&peer);

    snprintf(fingerprint, sizeof fingerprint, "%s", server_fingerprint(&stranger));
    peer_init(&peer, &place, &server);
    peer.config.hostkey = HOSTKEY_FINGERPRINT;
    peer.config.fingerprint = fingerprint;
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_HOSTKEY, fingerprint);
    assert_non_null(strstr(peer.err.text, server_fingerprint(&server)));
    peer_close(&peer);
}

static void accept_once_forgets(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer, &place, &server);
    peer.config.hostkey = HOSTKEY_ACCEPT_ONCE;
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    assert_false(peer.facts.host_key_known);
    peer_close(&peer);
    assert_string_equal(place_read(&place, "known_hosts"), "");
    know_wrong_key();
    peer_init(&peer, &place, &server);
    peer.config.hostkey = HOSTKEY_ACCEPT_ONCE;
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    peer_close(&peer);
}

static void hashed_and_unreadable_lines(void **state)
{
    (void)state;
    struct peer peer;
    server_make_known(&server, &place);
    must_run("ssh-keygen -q -H -f %s/known_hosts >/dev/null 2>&1 || true", place.dir);
    assert_non_null(strstr(place_read(&place, "known_hosts"), "|1|"));
    must_run(
        "cd %s && mv known_hosts h && (echo '[127.0.0.1]:%u sk-ssh-x@example.com AAAAnonsense'; "
        "echo '@cert-authority * garbage'; echo half-a-line; cat h) > known_hosts",
        place.dir, server.port);
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    peer_close(&peer);
}

static void revoked_is_refused(void **state)
{
    (void)state;
    struct peer peer;
    server_make_known(&server, &place);
    must_run("cd %s && sed 's/^/@revoked /' known_hosts > r && cat r >> known_hosts", place.dir);
    peer_init(&peer, &place, &server);
    peer.config.hostkey = HOSTKEY_ACCEPT_NEW;
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_HOSTKEY, "revoked");
    peer_close(&peer);
}

/* A server with several keys must show the one that is known, whatever its type. */
static void known_type_is_asked_for(void **state)
{
    (void)state;
    struct server many;
    char extra[512];
    must_run(
        "cd %s && ssh-keygen -q -t ecdsa -N '' -f many_ecdsa && ssh-keygen -q -t ed25519 -N '' "
        "-f many_ed25519",
        place.dir);
    snprintf(extra, sizeof extra, "HostKey %s/many_ecdsa\nHostKey %s/many_ed25519\n", place.dir,
             place.dir);
    server_start(&many, &place, SERVER_OPENSSH, "rsa", extra);
    static const char *const files[] = {"many_ecdsa", "many_ed25519", NULL};
    static const char *const types[] = {"ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"};
    for (size_t i = 0; i < 3; i++) {
        struct peer peer;
        char key[200];
        snprintf(key, sizeof key, "%s", files[i] != NULL ? place_path(&place, files[i]) : many.key);
        must_run("(printf '[127.0.0.1]:%u '; cut -d' ' -f1,2 %s.pub) > %s/known_hosts", many.port,
                 key, place.dir);
        peer_init(&peer, &place, &many);
        peer_connect(&peer, &client);
        peer_expect_up(&peer);
        assert_string_equal(peer.type, types[i]);
        peer_close(&peer);
    }
    server_stop(&many);
}

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        TEST(strict_refuses_unknown),
        TEST(changed_is_refused),
        TEST(accept_new_remembers_once),
        TEST(accept_new_makes_the_file),
        TEST(fingerprint_pins),
        TEST(accept_once_forgets),
        TEST(hashed_and_unreadable_lines),
        TEST(revoked_is_refused),
        TEST(known_type_is_asked_for),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
