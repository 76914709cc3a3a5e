/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread: connections, the worker's events, timers. */
#include "agent.h"
#include "console.h"
#include "fault.h"
#include "services.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK              200              /* ms */
#define STRANGER_PATIENCE 10000            /* ms until a connection must have proven itself */
#define LONELY_UNTOUCHED  (10 * 60 * 1000) /* ms without a controller until the agent ends */
#define LONELY_FENCED     (60 * 1000)      /* … until a fence is taken down again */
#define WRITTEN_PATIENCE  (30 * 1000) /* … without a command until a finished disk is booted */
#define NOTICE_EVERY      (60 * 1000) /* … between notices on the console */

int64_t agent_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int agent_init(struct agent *agent)
{
    agent->disk.fd = -1;
    agent->watchdog.fd = -1;
    agent->sysrq_fd = -1;
    agent->started = (int64_t)time(NULL);
    agent->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    agent->alone_since = agent_now();
    if (agent->silence == 0)
        agent->silence = PROTOCOL_SILENCE;
    agent->work.agent = agent;
    lifeline_token(agent->config.key, agent->token);
    if (agent->wake_fd < 0 || flash_init(&agent->flash, agent->wake_fd) != 0 ||
        intake_init(&agent->intake, &agent->flash) != 0 ||
        worker_start(&agent->worker, agent->wake_fd) != 0)
        return -1;
    return 0;
}

/* --- connections ------------------------------------------------------------------------------ */

static void drop_peer(struct agent *agent, unsigned slot)
{
    struct peer *peer = agent->peers[slot];
    agent->peers[slot] = NULL;
    if (peer == agent->active) {
        agent->active = NULL;
        agent->relay_pid = 0; /* another process may have that number soon */
        agent->alone_since = agent_now();
        /* What was asked for over this connection has to be asked for again. */
        intake_forget(&agent->intake);
    }
    peer_free(peer);
}

/* A free slot; the stranger who has waited longest makes room when there is none. */
static int find_slot(struct agent *agent)
{
    int oldest = -1;
    for (unsigned i = 0; i < AGENT_PEERS_MAX; i++) {
        struct peer *peer = agent->peers[i];
        if (peer == NULL)
            return (int)i;
        if (!peer->authenticated && (oldest < 0 || peer->deadline < agent->peers[oldest]->deadline))
            oldest = (int)i;
    }
    if (oldest >= 0)
        drop_peer(agent, (unsigned)oldest);
    return oldest;
}

static void accept_peer(struct agent *agent, int listener, enum peer_kind kind)
{
    struct ucred cred = {0};
    socklen_t size = sizeof cred;
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (kind == PEER_UNIX && (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0 ||
                              (cred.uid != 0 && cred.uid != agent->config.uid))) {
        close(fd);
        return;
    }
    if (kind == PEER_TCP) {
        /* The kernel's own watch: check_silence and the strangers' deadline are the agent's. */
        int idle = 10, count = 3;
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof idle);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    }
    int slot = find_slot(agent);
    if (slot < 0) {
        close(fd);
        return;
    }
    struct peer *peer = peer_new(kind, fd, fd, agent->config.key, agent_now() + STRANGER_PATIENCE);
    if (peer != NULL)
        peer->pid = cred.pid;
    agent->peers[slot] = peer;
}

/* All whole frames that have come. -1: the connection must end. */
static int take_frames(struct agent *agent, struct peer *peer)
{
    size_t at = 0;
    while (!peer->ending) {
        struct frame frame;
        int64_t n = protocol_parse(peer->in + at, peer->in_size - at, &frame);
        if (n < 0 ||
            (n == 0 && frame.size > 0 && !peer->authenticated && frame.type != FRAME_HELLO))
            return -1;
        if (n == 0)
            break;
        if (session_frame(agent, peer, &frame) != 0) {
            peer->ending = true;
            break;
        }
        at += (size_t)n;
    }
    peer_consume(peer, at);
    return 0;
}

static void serve_peer(struct agent *agent, unsigned slot)
{
    struct peer *peer = agent->peers[slot];
    for (unsigned i = 0; i < 16; i++) { /* others get their turn */
        int got = peer_receive(peer);
        if (got > 0 && peer == agent->active)
            agent->last_heard = agent_now();
        if (got < 0 || take_frames(agent, peer) != 0) {
            drop_peer(agent, slot);
            return;
        }
        if (got == 0 || peer->ending)
            break;
    }
}

/* --- the worker's events ------------------------------------------------------------------ */

static void take_events(struct agent *agent)
{
    struct event *event;
    uint64_t count;
    ssize_t ignored = read(agent->wake_fd, &count, sizeof count);
    (void)ignored;
    while ((event = worker_next(&agent->worker)) != NULL) {
        if (event->kind == EVENT_PHASE)
            session_phase(agent, event->phase);
        else if (event->kind == EVENT_LOG)
            session_log(agent, event->level, event->text);
        else
            jobs_done(agent, (enum agent_job)event->job, event->status);
        free(event);
    }
    jobs_check_staged(agent);
}

/* --- timers ------------------------------------------------------------------------------- */

/* Blocks that only a controller can bring. */
static uint32_t count_missing(struct agent *agent)
{
    pthread_mutex_lock(&agent->flash.lock);
    uint32_t missing = agent->flash.need_count;
    pthread_mutex_unlock(&agent->flash.lock);
    return missing;
}

/* Stage mode that holds everything compares the fenced disk, then writes: nobody is needed. */
static bool goes_on_alone(struct agent *agent)
{
    return agent->job == JOB_WRITE && agent->mode == MODE_STAGE && count_missing(agent) == 0;
}

static int64_t lonely_untouched(const struct agent *agent)
{
    return switch_is_on(&agent->config.switches, SWITCH_IMPATIENT) ? 5000 : LONELY_UNTOUCHED;
}

/* The old system runs on, and nobody else will start again what was stopped in it. */
static void give_back(struct agent *agent)
{
    if (!agent->work.destroyed && services_start(agent->config.directory))
        console_print(agent->console, "services that were stopped are started again");
    agent->quit = true;
}

static void check_lonely(struct agent *agent, int64_t now)
{
    struct fail fail;
    int64_t alone = agent->alone_since == 0 ? 0 : now - agent->alone_since;
    bool destructive = agent->phase >= PHASE_ERASING_HEAD && agent->phase <= PHASE_WRITING_HEAD;
    if (alone == 0)
        return;
    if (agent->phase == PHASE_FAILED && agent->job == JOB_NONE && agent->reboot_at == 0)
        give_back(agent);
    else if (agent->serve_disk != NULL && agent->unix_listener < 0 && agent->tcp_listener < 0 &&
             (agent->phase < PHASE_FENCED || agent->mode != MODE_STAGE))
        agent->quit = true; /* nobody can come back */
    else if (agent->phase < PHASE_FENCING && alone > lonely_untouched(agent))
        give_back(agent);
    else if (agent->phase == PHASE_FENCED && alone > LONELY_FENCED && !goes_on_alone(agent)) {
        fault_set(&fail, FAILCODE_ABORTED,
                  "the controller has been gone for %d s, and %u blocks are missing",
                  LONELY_FENCED / 1000, count_missing(agent));
        jobs_fail(agent, &fail);
    } else if (destructive && now - agent->last_notice > NOTICE_EVERY) {
        agent->last_notice = now;
        console_print(agent->console,
                      "the disk is incomplete: DO NOT POWER OFF, waiting for %s (run %s)",
                      agent->config.controller, agent->config.run_id);
    }
}

/* What becomes of the device now that nobody is there, for who stands before it. */
static const char *say_what_follows(struct agent *agent)
{
    if (goes_on_alone(agent))
        return "all it needs is here, the agent finishes alone";
    if (agent->phase >= PHASE_ERASING_HEAD && agent->phase <= PHASE_WRITING_HEAD)
        return "the disk is incomplete: DO NOT POWER OFF, waiting for fleetflash --resume";
    if (agent->phase == PHASE_FENCING || agent->phase == PHASE_FENCED)
        return "nothing was written yet, the old system is given back if nobody comes";
    if (agent->phase == PHASE_WRITTEN || agent->phase == PHASE_REBOOTING)
        return "the new system is booted";
    return "nothing was changed yet";
}

/* A host that lost its power, or a cable that was pulled, sends no end of the stream. */
static void check_silence(struct agent *agent, int64_t now)
{
    if (agent->active == NULL || now - agent->last_heard <= agent->silence)
        return;
    console_print(agent->console, "no word from %s for %d s, its connection is given up: %s",
                  agent->config.controller, (int)(agent->silence / 1000), say_what_follows(agent));
    for (unsigned i = 0; i < AGENT_PEERS_MAX; i++)
        if (agent->peers[i] != NULL && agent->peers[i] == agent->active)
            drop_peer(agent, i);
}

static void check_timers(struct agent *agent)
{
    int64_t now = agent_now();
    if (agent->phase != PHASE_REBOOTING) /* then it is the last resort */
        watchdog_feed(&agent->watchdog, now);
    for (unsigned i = 0; i < AGENT_PEERS_MAX; i++) {
        struct peer *peer = agent->peers[i];
        if (peer == NULL)
            continue;
        bool late = !peer->authenticated && now > peer->deadline;
        if (late || (peer->ending &&
                     (peer_pending(peer) == 0 || peer_flush(peer) != 0 || peer_pending(peer) == 0)))
            drop_peer(agent, i);
    }
    check_silence(agent, now);
    check_lonely(agent, now);
    int64_t patience = agent->serve_disk == NULL ? WRITTEN_PATIENCE : 0;
    if (agent->phase == PHASE_WRITTEN && agent->reboot_at == 0 &&
        now - agent->last_command > (agent->active == NULL ? patience : WRITTEN_PATIENCE))
        agent->reboot_at = now;
    if (agent->reboot_at != 0 && now >= agent->reboot_at)
        jobs_reboot(agent);
}

/* --- loop --------------------------------------------------------------------------------- */

struct poll_set {
    struct pollfd fds[3 + 2 * AGENT_PEERS_MAX];
    unsigned count;
    int in_at[AGENT_PEERS_MAX]; /* index into fds, -1: none */
    int out_at[AGENT_PEERS_MAX];
};

static int poll_add(struct poll_set *set, int fd, short events)
{
    if (fd < 0 || events == 0)
        return -1;
    set->fds[set->count] = (struct pollfd){.fd = fd, .events = events};
    return (int)set->count++;
}

static bool poll_ready(const struct poll_set *set, int at)
{
    return at >= 0 && set->fds[at].revents != 0;
}

int agent_loop(struct agent *agent)
{
    while (!agent->quit) {
        struct poll_set set = {.count = 0};
        int wake = poll_add(&set, agent->wake_fd, POLLIN);
        int local = poll_add(&set, agent->unix_listener, POLLIN);
        int tcp = poll_add(&set, agent->tcp_listener, POLLIN);
        for (unsigned i = 0; i < AGENT_PEERS_MAX; i++) {
            struct peer *peer = agent->peers[i];
            set.in_at[i] = peer == NULL || peer->ending ? -1 : poll_add(&set, peer->in_fd, POLLIN);
            set.out_at[i] = peer == NULL || peer_pending(peer) == 0
                                ? -1
                                : poll_add(&set, peer->out_fd, POLLOUT);
        }
        if (poll(set.fds, set.count, TICK) < 0 && errno != EINTR)
            return 1;
        if (poll_ready(&set, wake))
            take_events(agent);
        for (unsigned i = 0; i < AGENT_PEERS_MAX; i++) {
            if (poll_ready(&set, set.out_at[i]) && agent->peers[i] != NULL &&
                peer_flush(agent->peers[i]) != 0)
                drop_peer(agent, i);
            if (poll_ready(&set, set.in_at[i]) && agent->peers[i] != NULL)
                serve_peer(agent, i);
        }
        /* After the others: a new connection may take the slot of one that was just dropped. */
        if (poll_ready(&set, local))
            accept_peer(agent, agent->unix_listener, PEER_UNIX);
        if (poll_ready(&set, tcp))
            accept_peer(agent, agent->tcp_listener, PEER_TCP);
        session_pump(agent);
        check_timers(agent);
    }
    for (unsigned i = 0; i < AGENT_PEERS_MAX; i++)
        if (agent->peers[i] != NULL)
            peer_flush(agent->peers[i]);
    return 0;
}
