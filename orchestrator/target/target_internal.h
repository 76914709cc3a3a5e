/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the target: shared by target.c (its life), target_steps.c (the table), target_fault.c
 * and the target_*.c that do the steps' work. Nobody else includes this. */
#ifndef TARGET_TARGET_INTERNAL_H
#define TARGET_TARGET_INTERNAL_H

#include "journal/devices.h"
#include "reset/reset.h"
#include "target/agent_session.h"
#include "target/deploy.h"
#include "target/reach.h"
#include "target/target.h"

/* The steps inside the stable states; target_steps.c has the table of their rules. */
enum target_step {
    STEP_IDLE,
    STEP_BACKOFF, /* waits before the next try */
    STEP_CONNECT, /* ssh */
    STEP_DEPLOY,  /* survey, upload, start */
    STEP_ATTACH,  /* relay up, HELLO answered */
    STEP_FACTS,
    STEP_NETBOOT_PROBE, /* is everything there for a flash by its boot loader? */
    STEP_PROBED,        /* waits for target_go */
    STEP_KEEP,          /* may it stay as it is? (if_used) */
    STEP_BEGIN,         /* manifest sent, the agent decides */
    STEP_STAGE,         /* blocks go into the agent's memory */
    STEP_LIFELINE,      /* the second way in is tried before it is needed */
    STEP_POLICY,        /* services stop */
    STEP_FENCE,
    STEP_WRITE,
    STEP_NETBOOT, /* instead of all from BEGIN to WRITE: reset, served, its report awaited */
    STEP_REBOOT,
    STEP_AWAY,   /* waits a moment for the new system */
    STEP_RETURN, /* ssh to the new system */
    STEP_PROVE,
    STEP_WELCOME, /* the policy puts it back to work */
    STEP_UNDO,    /* has parts of its own */
    STEP_DONE,
    STEP_COUNT
};

/* The parts of STEP_UNDO (target_undo.c). */
enum undo_part { UNDO_AGENT, UNDO_RETURN, UNDO_SERVICES, UNDO_LEFT, UNDO_FOLDER };

enum { POLICY_CUTS_MAX = 8 };

struct target {
    const struct target_env *env;
    struct target_status status;
    enum target_step step;
    uint64_t state_since; /* loop time when the present stable state began */
    uv_timer_t timer;     /* of the step */

    bool go;       /* the run said so */
    bool is_local; /* this very machine: from the fence on its agent works unattended */
    bool absent;   /* it did not answer: its place is free for others until it has */
    bool interrupted;
    unsigned tries;   /* transient failures so far, since the last success */
    bool got_on;      /* the agent got on with the disk since the last of them */
    unsigned deploys; /* agents started: part of the folder's name */

    struct link *link;
    struct deploy *deploy;
    struct deploy_config deploy_config;
    struct deploy_result deployed;
    bool has_agent; /* deployed is valid, the agent may be alive */
    struct agent_session *session;
    struct agent_session *lifeline; /* while the second way is tried */
    uint64_t lifeline_since;        /* loop time */
    struct error lifeline_error;    /* why it failed, while the first one is listened to */
    struct transfer_count count;
    enum agent_phase phase;
    bool write_sent;       /* the destructive part may have begun */
    bool heir;             /* of an agent that died while it wrote: it lacks the image's manifest */
    bool write_told;       /* … by our word, since it last told its phase in HELLO */
    bool via_lifeline;     /* the session runs over the agent's own port */
    bool lifeline_proven;  /* the agent's own port was reached once */
    bool lifeline_refused; /* it was not: only a staged flash goes on */

    struct journal_write *gate; /* the step begins when this is on the disk */
    bool releasing;             /* backing out only to wait for its turn again */
    bool agent_probed;          /* the present agent has answered PROBE */
    bool heard;                 /* the agent has answered HELLO in this run */
    bool rewritten;             /* WRITE was sent again after a failed one */
    bool alone;                 /* nobody saw the agent finish */
    bool resumed;               /* carried over from a run that was killed */
    bool resume_away;           /* … after its agent had all it needed */

    struct policy_run *policy;
    /* Runs that a dying link cut off: what they had stopped, only they know. */
    struct policy_run *cut_policies[POLICY_CUTS_MAX];
    unsigned cut_count;
    struct policy_target policy_target;
    bool policy_done, policy_can_undo;
    bool policy_unheard; /* a command of it could not be brought to its end */
    bool fence_asked;    /* of the present agent */
    bool undoing;        /* the failure is settled: error and outcome stand */
    enum target_outcome final_outcome;
    enum undo_part undo_part;
    bool undo_connected, undo_connecting; /* tried once; just now */
    bool undo_paused, undo_pausing;       /* before the agent is attached to again */
    bool undo_unsure;          /* nobody who could say it knows what became of the old system */
    struct link_run *undo_run; /* what was left on the device, or the folder's removal */

    struct device_record flashed_with; /* with if_used: keep; image_id "": nothing known */
    bool looked;                       /* whether it may stay was asked for the plan: it may not */
    bool verified;                     /* the disk was read back, or compared, whole */

    bool recovering;      /* the live flash has failed; its boot loader is to mend it */
    struct error failure; /* … and how */
    struct tftp_guest *guest;
    struct parts *parts;            /* the station's */
    struct netconsole_ear *console; /* what its boot loader says */
    struct reset *reset;
    bool netboot_asked;      /* its boot loader has begun to fetch */
    uint64_t netboot_sent;   /* bytes of transfers that have ended */
    unsigned netboot_warned; /* of transfers that failed */

    struct reach *reach;
    uint64_t reboot_deadline; /* loop time */
    struct error reach_error; /* why the last round failed */
    struct error answer;      /* the last wrong answer (key, login, health) … */
    unsigned answer_count;    /* … of so many: it says more than a lost connection */
    struct error sick;        /* the new system was proven, and its health check not good */
    unsigned unproven;        /* rounds in which the new system could not be told for sure */
    bool seen_gone;           /* reach: ping; it has not answered once */
    uv_process_t *ping;
    void (*pinged)(struct target *target, const struct error *err);

    bool soak_expected;  /* its wave has a soak */
    bool soaking;        /* it has its outcome, and is looked at again when the soak ends */
    uint64_t soak_until; /* Unix time in ms, 0: the soak has not begun */

    uint64_t progress_time; /* loop time of the last progress sample */
    uint32_t progress_done;
};

/* target.c */
void target_set_activity(struct target *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void target_log(struct target *target, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void target_enter_probed(struct target *target);
/* Settles the outcome now. */
void target_finish(struct target *target, enum target_outcome outcome, const struct error *err);
/* Closes session, deploy, reach and link. */
void target_disconnect(struct target *target);

/* target_steps.c */
void target_set_step(struct target *target, enum target_step step);
void target_set_state(struct target *target, enum target_state state);
/* The time in the present stable state goes to its account. */
void target_state_account(struct target *target);
/* The step's timer; when it is over, the step's rule says what follows. */
void target_timer_start(struct target *target, uint64_t milliseconds);

/* What a fault in a step leads to. */
enum step_fault {
    FAULT_RETRY,   /* transient errors: another try; others: back out */
    FAULT_BACKOUT, /* back out whatever the error */
    FAULT_POLICY,  /* once more over a new connection, else back out */
    FAULT_FENCE,   /* ssh may be gone for good: the agent's own port, else back out */
    FAULT_WRITE,   /* the destructive part: get back to the agent, by its own port */
    FAULT_LOST,    /* after the commit: the device counts as lost */
};

/* The rule of a step. */
enum step_fault target_step_fault(enum target_step step);

/* target_fault.c */
/* Something went wrong: tries again, backs out or gives up, by the step's rule and the error's
 * class. */
void target_fault(struct target *target, const struct error *err);
/* Another try after a pause if the error's class and `retries` allow, else backs out. */
void target_retry(struct target *target, const struct error *err);
void target_enter_backoff(struct target *target);
/* Settles the outcome after backing out what can be backed out. */
void target_back_out(struct target *target, enum target_outcome outcome, const struct error *err);

/* target_connect.c: ssh, and the agent started over it */
void target_enter_connect(struct target *target);
void target_enter_deploy(struct target *target);

/* target_agent.c: the conversation with the agent up to the reboot */
void target_enter_attach(struct target *target);
void target_enter_facts(struct target *target);
void target_enter_begin(struct target *target);
void target_enter_stage(struct target *target);
void target_enter_fence(struct target *target);
void target_enter_write(struct target *target);
void target_enter_reboot(struct target *target);

/* target_lifeline.c: the second way in. It failed, or the step's timer is over. */
void target_enter_lifeline(struct target *target);
void target_lifeline_failed(struct target *target, const struct error *err);

/* target_local.c: the machine flashes itself. Before the fence: what is said, and the journal's
 * silence. */
void target_local_commit(struct target *target);
/* The agent has undone what it did: the journal may be written again. */
void target_local_return(struct target *target);
/* Where a run that was killed goes on; needs the record's key and folder in place. */
void target_local_resume(struct target *target, const struct journal_target *record);
/* ms to wait before the new system is looked for; nobody lives to see their end when all is well.
 */
uint64_t target_local_away(const struct target *target);

/* target_journal.c: writes the target's present standing; callback as journal_put. NULL without a
 * journal. */
struct journal_write *target_record(struct target *target, journal_callback callback);

/* A new conversation, over ssh's relay or over the agent's own port. */
void target_session_open(struct target *target, bool lifeline);

/* target_keep.c: what the journal knows of the device, before the loop runs; the check itself. */
void target_keep_look_up(struct target *target);
void target_enter_keep(struct target *target);
/* By which a device is known to the journal beside its name: host and port. */
void target_device_address(const struct target_spec *spec, char *out, size_t size);

/* target_netboot.c */
bool target_is_netboot(const struct target *target);
/* Its boot loader is to mend what a live flash may leave behind. */
bool target_has_recovery(const struct target *target);
/* A target whose live flash ended badly can still be mended by its boot loader. */
bool target_can_recover(const struct target *target);
void target_enter_netboot_probe(struct target *target);
void target_enter_netboot(struct target *target);
void target_netboot_timeout(struct target *target);
/* The board is let in no longer, its reset line let go. */
void target_netboot_end(struct target *target);

/* target_policy.c */
void target_enter_policy(struct target *target);
/* The link died while the policy stopped services: keeps the run for undo. False: no room. */
bool target_policy_cut(struct target *target);
/* Frees the present run; true when one that was cut off takes its place. */
bool target_policy_next(struct target *target);

/* target_undo.c */
void target_enter_undo(struct target *target); /* or goes on, when the link is up again */
void target_undo_answered(struct target *target, const struct fail *fail);
/* The agent reboots the old system, since its fence cannot be undone. err: why; NULL: settled. */
void target_undo_rebooting(struct target *target, const struct error *err);
void target_undo_fault(struct target *target); /* link or stream lost, or the timer */

/* target_reach.c */
void target_enter_away(struct target *target);
void target_enter_return(struct target *target);
void target_enter_prove(struct target *target);
void target_enter_welcome(struct target *target);
/* target_ping.c: asks once whether the device answers ping; err NULL: it does. The callback may
 * come before this returns. */
void target_ping(struct target *target, void (*pinged)(struct target *, const struct error *err));

/* target_soak.c: takes over a target whose wave was soaking; false: it was not. */
bool target_soak_resume(struct target *target, const struct journal_target *record);
/* The way to the device, before the flash or (after) to its new system. */
void target_link_config(const struct target *target, bool after, struct link_config *config);

#endif
