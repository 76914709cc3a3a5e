/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include "agent.h"
#include "attach.h"
#include "console.h"
#include "daemon.h"
#include "text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage(void)
{
    fputs(
        "usage: fleetflash-agent serve --disk FILE (--stdio | --socket-pair-fd N | --socket NAME)\n"
        "           [--port N] [--run ID] [--key HEX] [--silence MS] [--sector BYTES] "
        "[--no-fence]\n",
        stderr);
    return 2;
}

struct serve_options {
    const char *disk, *socket, *run, *key, *test_switch[8];
    int pair, port, silence, sector, switch_count;
    bool stdio;
};

static bool take_option(struct serve_options *o, const char *name, const char *value)
{
    if (strcmp(name, "--disk") == 0)
        return (o->disk = value) != NULL;
    if (strcmp(name, "--socket") == 0)
        return (o->socket = value) != NULL;
    if (strcmp(name, "--run") == 0)
        return (o->run = value) != NULL;
    if (strcmp(name, "--key") == 0)
        return (o->key = value) != NULL;
    if (strcmp(name, "--socket-pair-fd") == 0 && value != NULL)
        return (o->pair = atoi(value)) > 2;
    if (strcmp(name, "--port") == 0 && value != NULL)
        return (o->port = atoi(value)) >= 0;
    if (strcmp(name, "--sector") == 0 && value != NULL)
        return (o->sector = atoi(value)) == 512 || o->sector == 4096;
    if (strcmp(name, "--silence") == 0 && value != NULL)
        return (o->silence = atoi(value)) > 0;
#ifdef AGENT_TEST_SWITCHES
    if (strcmp(name, "--switch") == 0 && value != NULL && o->switch_count < 8)
        return (o->test_switch[o->switch_count++] = value) != NULL;
#endif
    return false;
}

static bool take_options(struct serve_options *o, int argc, char **argv)
{
    *o = (struct serve_options){.pair = -1, .port = -1, .run = "serve"};
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--stdio") == 0)
            o->stdio = true;
        else if (strcmp(argv[i], "--no-fence") == 0) /* a file has no mounts to be fenced */
            continue;
        else if (!take_option(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL))
            return false;
        else
            i++;
    }
    return o->disk != NULL && (int)o->stdio + (o->pair >= 0) + (o->socket != NULL) == 1;
}

static int fill_config(struct config *config, const struct serve_options *o)
{
    size_t size = 0;
    config->uid = getuid();
    text_copy(config->run_id, sizeof config->run_id, o->run);
    text_copy(config->controller, sizeof config->controller, "this machine");
    if (o->key != NULL && (sodium_hex2bin(config->key, sizeof config->key, o->key, strlen(o->key),
                                          NULL, &size, NULL) != 0 ||
                           size != sizeof config->key))
        return -1;
#ifdef AGENT_TEST_SWITCHES
    for (int i = 0; i < o->switch_count; i++)
        if (!switch_parse(&config->switches, o->test_switch[i]))
            return -1;
#endif
    return 0;
}

int serve_run(int argc, char **argv)
{
    struct serve_options o;
    struct agent *agent = calloc(1, sizeof *agent);
    if (agent == NULL || !take_options(&o, argc, argv) || fill_config(&agent->config, &o) != 0)
        return usage();
    agent->serve_disk = o.disk;
    agent->serve_sector = (uint32_t)o.sector;
    agent->silence = o.silence;
    agent->console = agent->unix_listener = agent->tcp_listener = -1;
    daemon_settle();
    if (o.socket != NULL && (agent->unix_listener = attach_listen(o.socket)) < 0) {
        perror("fleetflash-agent: socket");
        return 1;
    }
    agent->tcp_port = (uint16_t)(o.port > 0 ? o.port : 0);
    if (o.port >= 0 && (agent->tcp_listener = daemon_listen_tcp(&agent->tcp_port)) < 0) {
        perror("fleetflash-agent: port");
        return 1;
    }
    if (agent_init(agent) != 0) {
        fputs("fleetflash-agent: out of memory\n", stderr);
        return 1;
    }
    int64_t forever = INT64_MAX;
    if (o.stdio)
        agent->peers[0] = peer_new(PEER_STDIO, STDIN_FILENO, STDOUT_FILENO, NULL, forever);
    else if (o.pair >= 0)
        agent->peers[0] = peer_new(PEER_STDIO, o.pair, o.pair, NULL, forever);
    int status = agent_loop(agent);
    return status;
}
