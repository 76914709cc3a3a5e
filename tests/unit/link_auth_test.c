/* SPDX-License-Identifier: Apache-2.0 */
/* Logging in: key files, the agent, and every way it can be refused. */
#include "link_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct place place;
static struct server openssh, dropbear;
static struct client client;

static struct server *const servers[] = {&openssh, &dropbear};

static int group_setup(void **state)
{
    (void)state;
    place_make(&place);
    server_start(&openssh, &place, SERVER_OPENSSH, "ed25519", NULL);
    server_make_known(&openssh, &place);
    if (dropbear_available()) {
        server_start(&dropbear, &place, SERVER_DROPBEAR, "ed25519", NULL);
        server_make_known(&dropbear, &place);
    }
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    server_stop(&openssh);
    server_stop(&dropbear);
    place_remove(&place);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    unsetenv("SSH_AUTH_SOCK");
    client_init(&client, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_finish(&client);
    return 0;
}

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

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(key_file_logs_in, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
