/* SPDX-License-Identifier: Apache-2.0 */
/* ssh's configuration, and the ways around: ProxyCommand, ProxyJump. */
#include "link_stand.h"

#include "link/settings.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct server jump;

static int group_setup(void **state)
{
    stand_begin(state);
    server_start_known(&jump, &place, SERVER_OPENSSH);
    must_run("cd %s && sed -n 's/^.127.0.0.1.:%u /[localhost]:%u /p' known_hosts > l && cat l >> "
             "known_hosts",
             place.dir, jump.port, jump.port);
    return 0;
}

static int group_teardown(void **state)
{
    server_stop(&jump);
    return stand_end(state);
}

/* Everything from the file: the inventory has only a name. */
static void bare_peer(struct peer *peer, const char *host)
{
    peer_init(peer, &place, NULL);
    peer->config.host = host;
    peer->config.user = NULL;
    peer->config.identity = NULL;
    peer->config.known_hosts = NULL;
}

static void config_is_honoured(void **state)
{
    (void)state;
    struct peer peer;
    struct ran ran;
    place_write(&place, "ssh_config",
                "Host board\n HostName 127.0.0.1\n Port %u\n User root\n IdentitiesOnly yes\n"
                " IdentityFile %s/no_such_key\n IdentityFile %s/user_key\n"
                " UserKnownHostsFile %s/absent %s/known_hosts\n StrictHostKeyChecking no\n",
                server.port, place.dir, place.dir, place.dir, place.dir);
    bare_peer(&peer, "board");
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    peer_run(&peer, &client, "echo $SSH_CONNECTION", NULL, 5000, &ran);
    assert_non_null(strstr(ran.out, "127.0.0.1"));
    peer_close(&peer);

    /* The inventory wins. */
    bare_peer(&peer, "board");
    peer.config.identity = place_path(&place, "other_key");
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_AUTH, "other_key");
    assert_null(strstr(peer.err.text, "user_key"));
    peer_close(&peer);

    bare_peer(&peer, "board");
    peer.config.port = free_port();
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_NETWORK, "connection refused");
    peer_close(&peer);

    /* StrictHostKeyChecking no does not weaken our policy. */
    bare_peer(&peer, "board");
    peer.config.known_hosts = "/dev/null";
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_HOSTKEY, "not known");
    peer_close(&peer);
}

static void broken_config_is_told(void **state)
{
    (void)state;
    struct peer peer;
    place_write(&place, "ssh_config", "Host *\n Prot 22\n");
    bare_peer(&peer, "board");
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_USAGE, "Bad configuration option: prot");
    peer_close(&peer);
}

static void match_exec_does_not_block(void **state)
{
    (void)state;
    struct peer peer;
    place_write(&place, "ssh_config", "Match exec \"sleep 2\"\n Port %u\n", server.port);
    peer_init(&peer, &place, NULL);
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    assert_true(client.longest_gap < 1000000000u);
    peer_close(&peer);

    client_renew(&client);
    place_write(&place, "ssh_config", "Match exec \"sleep 100\"\n Port 1\n");
    peer_init(&peer, &place, NULL);
    peer.config.connect_timeout = 500;
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_TIMEOUT, "while ssh read its configuration");
    peer_close(&peer);
}

/* Every reading forks, and a device is connected to several times in a row. */
static void config_is_read_once(void **state)
{
    (void)state;
    struct peer peer;
    place_write(&place, "ssh_config", "Match exec \"echo >>%s/read\"\n Port %u\n", place.dir,
                server.port);
    for (unsigned i = 0; i < 3; i++) {
        peer_init(&peer, &place, NULL);
        peer_connect(&peer, &client);
        peer_expect_up(&peer);
        assert_string_equal(place_read(&place, "read"), "\n");
        peer_close(&peer);
    }
}

static void proxy_command_carries(void **state)
{
    (void)state;
    struct peer peer;
    struct ran ran;
    place_write(
        &place, "ssh_config",
        "Host *\n ProxyCommand ssh -F none -i %s/user_key -o UserKnownHostsFile=%s/known_hosts "
        "-p %u -W %%h:%%p %%r@127.0.0.1\n",
        place.dir, place.dir, jump.port);
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_up(&peer);
    assert_non_null(strstr(peer.route, "root@127.0.0.1"));
    assert_string_equal(peer.facts.peer_address, "");
    peer_run(&peer, &client, "echo through", NULL, 5000, &ran);
    assert_string_equal(ran.out, "through\n");
    peer_close(&peer);
}

static void proxy_jump_carries(void **state)
{
    (void)state;
    struct peer peer;
    struct ran ran;
    place_write(
        &place, "ssh_config",
        "Host gate\n HostName 127.0.0.1\n Port %u\n"
        "Host board\n HostName 127.0.0.1\n Port %u\n ProxyJump root@gate\n"
        "Host far\n HostName 127.0.0.1\n Port %u\n ProxyJump root@localhost:%u,root@gate\n"
        "Host *\n User root\n IdentityFile %s/user_key\n UserKnownHostsFile %s/known_hosts\n",
        jump.port, server.port, server.port, jump.port, place.dir, place.dir);
    static const char *const names[] = {"board", "far"};
    for (size_t i = 0; i < 2; i++) {
        bare_peer(&peer, names[i]);
        peer_connect(&peer, &client);
        peer_expect_up(&peer);
        assert_non_null(strstr(peer.route, "-W"));
        peer_run(&peer, &client, "echo through", NULL, 5000, &ran);
        assert_string_equal(ran.out, "through\n");
        peer_close(&peer);
    }
}

static void failing_proxies_are_quoted(void **state)
{
    (void)state;
    struct peer peer;
    place_write(&place, "ssh_config", "Host *\n ProxyCommand echo no way >&2; exit 3\n");
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_NETWORK, "the proxy said: no way");
    peer_close(&peer);

    client_renew(&client);
    place_write(&place, "ssh_config", "Host *\n ProxyCommand /no/such/program\n");
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_NETWORK, "/no/such/program");
    peer_close(&peer);

    /* The gate's key is not known: ssh must not ask, and what it says must arrive. */
    client_renew(&client);
    place_write(&place, "ssh_config",
                "Host *\n ProxyJump root@127.0.0.1:%u\n UserKnownHostsFile /dev/null\n", jump.port);
    peer_init(&peer, &place, &server);
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_NETWORK, "the proxy said:");
    peer_close(&peer);
}

static void killed_proxy_ends_with_the_link(void **state)
{
    (void)state;
    struct peer peer;
    place_write(&place, "ssh_config",
                "Host *\n ProxyCommand sh -c 'echo $$ > %s/pid; sleep 1000'\n", place.dir);
    peer_init(&peer, &place, &server);
    peer.config.connect_timeout = 1000;
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_TIMEOUT, "in the ssh handshake");
    peer_close(&peer);
    client_run_for(&client, 300);
    assert_int_not_equal(kill(atoi(place_read(&place, "pid")), 0), 0);
}

/* ---- no servers from here on ---- */

static void jump_becomes_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *jump, *expected;
    } cases[] = {
        {"gate", "ssh -F cfg -oBatchMode=yes -oClearAllForwardings=yes -W [h]:2200 -- gate"},
        {"u@gate:2222",
         "ssh -F cfg -oBatchMode=yes -oClearAllForwardings=yes -p 2222 -W [h]:2200 -- u@gate"},
        {"a:1,b", "ssh -F cfg -oBatchMode=yes -oClearAllForwardings=yes -J a:1 -W [h]:2200 -- b"},
        {"[fe80::1]:23",
         "ssh -F cfg -oBatchMode=yes -oClearAllForwardings=yes -p 23 -W [h]:2200 -- fe80::1"},
        {"u@[10.0.0.1]", /* as `ssh -G` prints "u@10.0.0.1" */
         "ssh -F cfg -oBatchMode=yes -oClearAllForwardings=yes -W [h]:2200 -- u@10.0.0.1"},
        {"ssh://u@g:9",
         "ssh -F cfg -oBatchMode=yes -oClearAllForwardings=yes -W [h]:2200 -- ssh://u@g:9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings settings;
        struct error err;
        char text[400] = "", printed[100];
        assert_int_equal(settings_init(&settings, "h", "u", 2200), 0);
        snprintf(printed, sizeof printed, "hostname h\nproxyjump %s\n", cases[i].jump);
        assert_int_equal(settings_parse(&settings, printed), 0);
        char **arguments = settings_proxy(&settings, "cfg", &err);
        assert_non_null(arguments);
        for (size_t k = 0; arguments[k] != NULL; k++) {
            strcat(text, k > 0 ? " " : "");
            strcat(text, arguments[k]);
        }
        assert_string_equal(text, cases[i].expected);
        free(arguments);
        settings_free(&settings);
    }
}

static void tokens_expand(void **state)
{
    (void)state;
    struct settings settings;
    struct error err;
    assert_int_equal(settings_init(&settings, "board", "pi", 2200), 0);
    assert_int_equal(settings_parse(&settings,
                                    "hostname 10.0.0.1\nproxycommand nc %n %h %p %r %%\n"
                                    "identityfile /k/%h\nidentityfile /k/%z\n"
                                    "userknownhostsfile /a /b\nglobalknownhostsfile /c\n"),
                     0);
    char **arguments = settings_proxy(&settings, NULL, &err);
    assert_non_null(arguments);
    assert_string_equal(arguments[0], "/bin/sh");
    assert_string_equal(arguments[2], "exec nc board 10.0.0.1 2200 pi %");
    free(arguments);
    assert_int_equal(settings.identity_count, 1);
    assert_string_equal(settings.identities[0], "/k/10.0.0.1");
    assert_int_equal(settings.known_hosts_count, 3);
    assert_string_equal(settings.known_hosts[2], "/c");
    settings_free(&settings);

    assert_int_equal(settings_init(&settings, "board", "pi", 22), 0);
    assert_int_equal(settings_parse(&settings, "proxycommand nc %Z\n"), 0);
    assert_null(settings_proxy(&settings, NULL, &err));
    assert_int_equal(err.cls, ERROR_USAGE);
    settings_free(&settings);
}

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        TEST(config_is_honoured),
        TEST(broken_config_is_told),
        TEST(match_exec_does_not_block),
        TEST(config_is_read_once),
        TEST(proxy_command_carries),
        TEST(proxy_jump_carries),
        TEST(failing_proxies_are_quoted),
        TEST(killed_proxy_ends_with_the_link),
        cmocka_unit_test(jump_becomes_arguments),
        cmocka_unit_test(tokens_expand),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
