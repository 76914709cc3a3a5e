/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as a whole: what it was told, where it stands, who it talks to. Belongs to the main
 * thread but for `work`, which belongs to the running job. */
#ifndef AGENT_H
#define AGENT_H

#include "config.h"
#include "disk.h"
#include "fence.h"
#include "guard.h"
#include "intake.h"
#include "peer.h"
#include "target.h"
#include "watchdog.h"
#include "worker.h"

#define AGENT_PEERS_MAX 5u /* four that have not proven themselves, and the controller */

enum agent_job { JOB_NONE, JOB_PROBE, JOB_SCAN, JOB_FENCE, JOB_WRITE, JOB_UNDO };

/* Input and output of the running job. */
struct agent_work {
    struct agent *agent;
    struct fail fail;
    char device[1024];   /* PROBE: what was asked for */
    char *facts;         /* PROBE: the answer */
    pid_t peer_pid;      /* PROBE and FENCE: the relay that speaks for the controller; 0: none */
    struct scan_choice { /* SCAN */
        enum flash_mode asked;
        struct mode_reply reply;
        bool fresh;
        uint32_t staging; /* blocks that are going to be staged */
    } choice;
    bool destroyed; /* WRITE: the first byte may have been written */
};

struct agent {
    struct config config;
    const char
        *serve_disk;       /* a file instead of this machine's disk: no fence, no reboot; or NULL */
    uint32_t serve_sector; /* the sectors that the file is said to have; 0: as measured */
    int64_t started;       /* seconds since 1970, for "being flashed since" */
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    int console; /* -1: none */
    int wake_fd;
    int unix_listener, tcp_listener; /* -1: none */
    uint16_t tcp_port;
    struct peer *peers[AGENT_PEERS_MAX];
    struct peer *active; /* one of peers, or NULL */
    pid_t relay_pid;     /* of the active peer; 0: it has none here */

    enum agent_phase phase;
    enum flash_mode mode; /* MODE_AUTO: not decided */
    enum agent_job job;   /* running */
    bool staging_done, write_asked, failing, quit;
    bool is_heir;      /* of one that died while it wrote (heir.h) */
    bool unattended;   /* nobody tells it to write and to reboot (BEGIN_FLAG_UNATTENDED) */
    unsigned rewrites; /* then: how often a failed write was begun anew */
    struct fail fail;  /* why it failed, for controllers that come later */
    struct worker worker;
    struct flash flash;
    struct intake intake;
    struct disk disk;
    struct target target;
    struct fence fence;
    struct watchdog watchdog;
    struct guard guard; /* from the fence on */
    int sysrq_fd;       /* -1: not opened, or there is none */
    struct agent_work work;
    char *facts;
    int64_t alone_since;      /* ms: since when there has been no controller; 0: there is one */
    int64_t silence;          /* ms without a byte after which a controller counts as gone */
    int64_t last_heard;       /* ms: from the active peer */
    int64_t last_command;     /* ms */
    int64_t last_progress;    /* ms */
    struct progress progress; /* as last sent … */
    uint64_t pulse;           /* … and what the disk had written then */
    int64_t last_notice;      /* ms: on the console */
    int64_t reboot_at;        /* ms; 0: not planned */
};

/* Monotonic milliseconds. */
int64_t agent_now(void);

/* Sets up what both daemon and serve need (config and descriptors are set by the caller). */
int agent_init(struct agent *agent);
/* Runs until the agent is done; returns its exit status. */
int agent_loop(struct agent *agent);

/* session.c: one frame of an acquainted peer; -1: the connection must end. */
int session_frame(struct agent *agent, struct peer *peer, const struct frame *frame);
/* Sends the next WANT and PROGRESS if there is something to say. */
void session_pump(struct agent *agent);
void session_send(struct agent *agent, const uint8_t *data, size_t size);
void session_phase(struct agent *agent, enum agent_phase phase);
void session_log(struct agent *agent, enum log_level level, const char *text);
/* What the controller must have heard in this phase: MODE, STAGED, FENCED, WRITTEN or FAIL. */
void session_send_milestone(struct agent *agent);

/* jobs.c: the worker's jobs and what follows from them. */
bool jobs_start(struct agent *agent, enum agent_job job);
void jobs_done(struct agent *agent, enum agent_job job, int status);
/* Gives up in whatever way the phase allows; fail->state is set here. */
void jobs_fail(struct agent *agent, const struct fail *fail);
/* May an image of this size go to the disk, as far as that is known? -1: fail says why not. */
int jobs_check_size(const struct agent *agent, const struct manifest *manifest, struct fail *fail);
/* Every staged block has come: tells the controller. */
void jobs_check_staged(struct agent *agent);
/* The last steps: called once it says so, and again when the stream has ended. */
void jobs_reboot(struct agent *agent);

#endif
