/* SPDX-License-Identifier: Apache-2.0 */
#include "link_fixture.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

bool fixture_available(void)
{
    return geteuid() == 0 && access("/usr/sbin/sshd", X_OK) == 0 &&
           system("command -v ssh ssh-agent ssh-keygen >/dev/null") == 0;
}

bool dropbear_available(void)
{
    return access("/usr/sbin/dropbear", X_OK) == 0 &&
           system("command -v dropbearkey unshare >/dev/null && unshare -m true 2>/dev/null") == 0;
}

void must_run(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

void place_make(struct place *place)
{
    strcpy(place->dir, "/tmp/link-test-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    must_run("mkdir -p /run/sshd %s/home/.ssh && chmod 700 %s/home %s/home/.ssh", place->dir,
             place->dir, place->dir);
    must_run(
        "cd %s && for k in user other; do ssh-keygen -q -t ed25519 -N '' -C $k@test -f ${k}_key; "
        "done && ssh-keygen -q -t ed25519 -N secret -C locked@test -f locked_key && "
        "cat user_key.pub locked_key.pub > home/.ssh/authorized_keys && "
        "chmod 600 home/.ssh/authorized_keys && : > ssh_config",
        place->dir);
}

void place_remove(struct place *place)
{
    must_run("rm -rf %s", place->dir);
}

const char *place_path(const struct place *place, const char *name)
{
    static char paths[16][160];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", place->dir, name);
    return path;
}

void place_write(const struct place *place, const char *name, const char *format, ...)
{
    FILE *file = fopen(place_path(place, name), "w");
    assert_non_null(file);
    va_list args;
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    fclose(file);
}

const char *place_read(const struct place *place, const char *name)
{
    static char text[8192];
    FILE *file = fopen(place_path(place, name), "r");
    text[0] = '\0';
    if (file == NULL)
        return text;
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    fclose(file);
    return text;
}

unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static pid_t spawn_shell(const char *command)
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static bool port_answers(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return ok;
}

void server_start(struct server *server, const struct place *place, enum server_kind kind,
                  const char *key_type, const char *extra)
{
    char command[1024];
    memset(server, 0, sizeof *server);
    server->kind = kind;
    server->port = free_port();
    snprintf(server->key, sizeof server->key, "%s/host_%u", place->dir, server->port);
    if (kind == SERVER_OPENSSH) {
        char name[40];
        must_run("ssh-keygen -q -t %s -N '' -f %s", key_type, server->key);
        snprintf(name, sizeof name, "sshd_%u.conf", server->port);
        place_write(place, name,
                    "%sListenAddress 127.0.0.1\nPort %u\nHostKey %s\nPidFile none\nUsePAM no\n"
                    "AuthorizedKeysFile %s/home/.ssh/authorized_keys\nStrictModes no\n"
                    "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
                    "PermitRootLogin yes\nMaxStartups 200\nMaxSessions 64\n",
                    extra != NULL ? extra : "", server->port, server->key, place->dir);
        snprintf(command, sizeof command, "exec /usr/sbin/sshd -D -f %s/%s -E %s/sshd_%u.log",
                 place->dir, name, place->dir, server->port);
    } else {
        must_run("dropbearkey -t %s -f %s >/dev/null 2>&1", key_type, server->key);
        /* dropbear takes authorized_keys from the user's home: put ours there, for it alone. */
        snprintf(command, sizeof command,
                 "exec unshare -m sh -c 'mount --bind %s/home /root && exec dropbear -F -E -s -p "
                 "127.0.0.1:%u -r %s' >%s/dropbear_%u.log 2>&1",
                 place->dir, server->port, server->key, place->dir, server->port);
    }
    server->pid = spawn_shell(command);
    for (int i = 0; i < 500 && !port_answers(server->port); i++)
        usleep(20000);
    assert_true(port_answers(server->port));
}

void server_stop(struct server *server)
{
    if (server->pid <= 0)
        return;
    kill(-server->pid, SIGCONT);
    kill(-server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static const char *public_line(const struct server *server)
{
    static char line[2048];
    char command[256];
    if (server->kind == SERVER_OPENSSH)
        snprintf(command, sizeof command, "cut -d' ' -f1,2 %s.pub", server->key);
    else
        snprintf(command, sizeof command,
                 "dropbearkey -y -f %s | grep '^[es][cs]' | cut -d' ' -f1,2", server->key);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof line, pipe));
    pclose(pipe);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

const char *server_fingerprint(const struct server *server)
{
    static char text[128];
    char command[2300];
    snprintf(command, sizeof command, "echo '%s' | ssh-keygen -lf - | cut -d' ' -f2",
             public_line(server));
    FILE *pipe = popen(command, "r");
    assert_non_null(fgets(text, sizeof text, pipe));
    pclose(pipe);
    text[strcspn(text, "\n")] = '\0';
    return text;
}

void server_make_known(const struct server *server, const struct place *place)
{
    FILE *file = fopen(place_path(place, "known_hosts"), "a");
    assert_non_null(file);
    fprintf(file, "[127.0.0.1]:%u %s\n", server->port, public_line(server));
    fclose(file);
}

void server_start_known(struct server *server, const struct place *place, enum server_kind kind)
{
    memset(server, 0, sizeof *server);
    if (kind == SERVER_DROPBEAR && !dropbear_available())
        return;
    server_start(server, place, kind, "ed25519", NULL);
    server_make_known(server, place);
}

int listen_on_loopback(unsigned *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* ---- client ---- */

static void tick_callback(uv_timer_t *tick)
{
    struct client *client = tick->data;
    uint64_t now = uv_hrtime();
    if (client->last_tick != 0 && now - client->last_tick > client->longest_gap)
        client->longest_gap = now - client->last_tick;
    client->last_tick = now;
}

/* Sockets that are open: a link must leave none behind. */
static unsigned count_sockets(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char path[40], where[16] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, where, sizeof where - 1) > 0 && strncmp(where, "socket:", 7) == 0)
            count++;
    }
    return count;
}

void client_init(struct client *client, unsigned max_handshakes)
{
    memset(client, 0, sizeof *client);
    unsetenv("SSH_AUTH_SOCK");
    client->sockets = count_sockets();
    client->max_handshakes = max_handshakes;
    assert_int_equal(uv_loop_init(&client->loop), 0);
    client->pool = link_pool_new(&client->loop, max_handshakes);
    assert_non_null(client->pool);
    uv_timer_init(&client->loop, &client->tick);
    client->tick.data = client;
    uv_timer_start(&client->tick, tick_callback, 10, 10);
}

static bool run_until(struct client *client, const bool *flag, uint64_t nanoseconds)
{
    uint64_t end = uv_hrtime() + nanoseconds;
    client->last_tick = 0;
    client->turns = 0;
    while ((flag == NULL || !*flag) && uv_hrtime() < end) {
        uv_run(&client->loop, UV_RUN_ONCE);
        client->turns++;
    }
    return flag == NULL || *flag;
}

void client_run_until(struct client *client, const bool *flag, unsigned seconds)
{
    if (!run_until(client, flag, (uint64_t)seconds * 1000000000u))
        fail_msg("nothing happened in %u s", seconds);
}

void client_run_for(struct client *client, unsigned milliseconds)
{
    run_until(client, NULL, (uint64_t)milliseconds * 1000000u);
}

static void count_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        print_error("left open: %s\n", uv_handle_type_name(handle->type));
}

void client_finish(struct client *client)
{
    uv_close((uv_handle_t *)&client->tick, NULL);
    link_pool_free(client->pool);
    uint64_t end = uv_hrtime() + 20000000000u;
    while (uv_run(&client->loop, UV_RUN_NOWAIT) != 0 && uv_hrtime() < end)
        usleep(1000);
    int rc = uv_loop_close(&client->loop);
    if (rc != 0)
        uv_walk(&client->loop, count_handle, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(count_sockets(), client->sockets);
}

void client_renew(struct client *client)
{
    unsigned max_handshakes = client->max_handshakes;
    client_finish(client);
    client_init(client, max_handshakes);
}

static void peer_up_callback(struct link *link, const struct link_facts *facts, void *arg)
{
    (void)link;
    struct peer *peer = arg;
    assert_false(peer->up || peer->down);
    peer->up = peer->done = true;
    peer->up_at = uv_hrtime();
    peer->facts = *facts;
    snprintf(peer->fingerprint, sizeof peer->fingerprint, "%s", facts->host_fingerprint);
    snprintf(peer->type, sizeof peer->type, "%s", facts->host_key_type);
    snprintf(peer->cipher, sizeof peer->cipher, "%s", facts->cipher);
    snprintf(peer->banner, sizeof peer->banner, "%s", facts->server_banner);
    snprintf(peer->route, sizeof peer->route, "%s", facts->route);
    if (peer->on_up != NULL)
        peer->on_up(peer);
}

static void peer_down_callback(struct link *link, const struct error *err, void *arg)
{
    (void)link;
    struct peer *peer = arg;
    assert_false(peer->down);
    peer->down = peer->done = true;
    peer->err = *err;
    if (peer->on_down != NULL)
        peer->on_down(peer);
}

static const struct link_events peer_events = {.up = peer_up_callback, .down = peer_down_callback};

void peer_init(struct peer *peer, const struct place *place, const struct server *server)
{
    memset(peer, 0, sizeof *peer);
    peer->config = (struct link_config){
        .name = "device",
        .host = "127.0.0.1",
        .user = "root",
        .identity = place_path(place, "user_key"),
        .known_hosts = place_path(place, "known_hosts"),
        .ssh_config = place_path(place, "ssh_config"),
        .hostkey = HOSTKEY_STRICT,
        .port = server != NULL ? server->port : 0,
        .connect_timeout = 20000,
        .keepalive = 0,
    };
}

void peer_open(struct peer *peer, struct client *client)
{
    peer->link = link_open(client->pool, &peer->config, &peer_events, peer);
    assert_non_null(peer->link);
    assert_false(peer->done);
}

void peer_connect(struct peer *peer, struct client *client)
{
    peer_open(peer, client);
    client_run_until(client, &peer->done, 40);
}

void peer_expect_up(struct peer *peer)
{
    if (!peer->up || peer->down)
        fail_msg("not up: %s (%s)", peer->err.text, peer->err.remedy);
}

void peer_expect_down(struct peer *peer, enum error_class cls, const char *part)
{
    assert_true(peer->down);
    if (peer->err.cls != cls || strstr(peer->err.text, part) == NULL)
        fail_msg("expected %s with '%s', got %s: %s", error_class_name(cls), part,
                 error_class_name(peer->err.cls), peer->err.text);
}

void peer_close(struct peer *peer)
{
    link_close(peer->link);
    peer->link = NULL;
}

static void ran_callback(const struct link_run_result *result, void *arg)
{
    struct ran *ran = arg;
    assert_false(ran->done);
    ran->done = true;
    ran->status = result->exit_status;
    memcpy(ran->out, result->out, result->out_size + 1);
    ran->out_size = result->out_size;
    snprintf(ran->err_text, sizeof ran->err_text, "%s", result->err_text);
    if (result->err != NULL)
        ran->err = *result->err;
}

void peer_run(struct peer *peer, struct client *client, const char *command, struct buffer *input,
              uint64_t timeout, struct ran *ran)
{
    memset(ran, 0, sizeof *ran);
    assert_non_null(link_run_command(peer->link, command, input, timeout, ran_callback, ran));
    client_run_until(client, &ran->done, 60);
}
