/* SPDX-License-Identifier: Apache-2.0 */
/* The user's ssh agent, when it is slow or does not answer: nobody else waits for it. */
#include "link_stand.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* An agent between libssh and a real one: it signs when a byte comes from go. go < 0: it never
 * answers anything. */
static pid_t start_slow_agent(const char *path, const char *real, int go)
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
    if (go < 0 || connect(agent, (struct sockaddr *)&to, sizeof to) != 0)
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
            char byte;
            if (i == 1 && message[4] == 14 && read(go, &byte, 1) != 1) /* the signature */
                _exit(0);
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
    int go[2];
    assert_int_equal(pipe(go), 0);
    pid_t pid =
        start_slow_agent(place_path(&place, "slow.sock"), place_path(&place, "real.sock"), go[0]);
    place_write(&place, "ssh_config",
                "Host slow\n HostName 127.0.0.1\n IdentityAgent %s/slow.sock\n", place.dir);
    peer_init(&slow, &place, &server);
    slow.config.host = "slow";
    slow.config.identity = NULL;
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
    /* All of it while the agent had not answered: a loop that waited for it would not be here. */
    assert_int_equal(write(go[1], "!", 1), 1);
    client_run_until(&client, &slow.done, 20);
    peer_expect_up(&slow);
    print_message("longest gap of the loop: %.1f ms\n", (double)client.longest_gap / 1e6);
    peer_close(&slow);
    for (size_t i = 0; i < 7; i++)
        peer_close(&fast[i]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(go[0]);
    close(go[1]);
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
    peer_connect(&peer, &client);
    peer_expect_down(&peer, ERROR_TIMEOUT, "is the ssh agent answering?");
    peer_close(&peer);
    /* The agent still sits there, but nobody of ours waits for it. */
    client_renew(&client);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(void)
{
    if (!fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, stand_setup, stand_teardown)
    const struct CMUnitTest tests[] = {
        TEST(slow_agent_holds_up_nobody),
        TEST(mute_agent_times_out),
    };
    return cmocka_run_group_tests(tests, stand_begin, stand_end);
}
