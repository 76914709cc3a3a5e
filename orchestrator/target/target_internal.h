/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the target: shared by target.c (steps, timers, retries) and the target_*.c that do the
 * steps' work. Nobody else includes this. */
#ifndef TARGET_TARGET_INTERNAL_H
#define TARGET_TARGET_INTERNAL_H

#include "target/agent_session.h"
#include "target/deploy.h"
#include "target/reach.h"
#include "target/target.h"

/* The steps inside the stable states; target.c has the table of their rules. */
enum target_step {
    STEP_IDLE,
    STEP_BACKOFF, /* waits before the next try */
    STEP_CONNECT, /* ssh */
    STEP_DEPLOY,  /* survey, upload, start */
    STEP_ATTACH,  /* relay up, HELLO answered */
    STEP_FACTS,
    STEP_PROBED,   /* waits for target_go */
    STEP_BEGIN,    /* manifest sent, the agent decides */
    STEP_STAGE,    /* blocks go into the agent's memory */
    STEP_LIFELINE, /* the second way in is tried before it is needed */
    STEP_POLICY,   /* services stop */
    STEP_FENCE,
    STEP_WRITE,
    STEP_REBOOT,
    STEP_AWAY,   /* waits a moment for the new system */
    STEP_RETURN, /* ssh to the new system */
    STEP_PROVE,
    STEP_UNDO, /* policy undo, then ABORT */
    STEP_DONE,
    STEP_COUNT
};

struct target {
    const struct target_env *env;
    struct target_status status;
    enum target_step step;
    uint64_t state_since; /* loop time when the present stable state began */
    uv_timer_t timer;     /* of the step */

    bool go; /* the run said so */
    bool interrupted;
    unsigned tries;   /* transient failures so far, since the last success */
    unsigned deploys; /* agents started: part of the folder's name */

    struct link *link;
    struct deploy *deploy;
    struct deploy_config deploy_config;
    struct deploy_result deployed;
    bool has_agent; /* deployed is valid, the agent may be alive */
    struct agent_session *session;
    struct agent_session *lifeline; /* while the second way is tried */
    struct transfer_count count;
    enum agent_phase phase;
    bool write_sent;       /* the destructive part may have begun */
    bool via_lifeline;     /* the session runs over the agent's own port */
    bool lifeline_proven;  /* the agent's own port was reached once */
    bool lifeline_refused; /* it was not: only a staged flash goes on */

    struct policy_run *policy;
    struct policy_target policy_target;
    bool policy_done;
    bool undoing; /* the failure is settled: error and outcome stand */
    enum target_outcome final_outcome;

    struct reach *reach;
    uint64_t reboot_deadline; /* loop time */
    struct error reach_error; /* why the last round failed */
    uv_process_t *ping;

    uint64_t progress_time; /* loop time of the last progress sample */
    uint32_t progress_done;
};

/* target.c */
void target_set_step(struct target *target, enum target_step step);
void target_set_state(struct target *target, enum target_state state);
void target_set_activity(struct target *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void target_log(struct target *target, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Something went wrong: tries again, backs out or gives up, by the step's rule and the error's
 * class. */
void target_fault(struct target *target, const struct error *err);
/* Another try after a pause if the error's class and `retries` allow, else backs out. */
void target_retry(struct target *target, const struct error *err);
/* Settles the outcome after backing out what can be backed out. */
void target_back_out(struct target *target, enum target_outcome outcome, const struct error *err);
/* Settles the outcome now. */
void target_finish(struct target *target, enum target_outcome outcome, const struct error *err);
void target_timer_start(struct target *target, uint64_t milliseconds);
/* Closes session, deploy, reach and link. */
void target_disconnect(struct target *target);

/* target_agent.c: connect … the conversation with the agent up to the reboot */
void target_enter_connect(struct target *target);
void target_enter_deploy(struct target *target);
void target_enter_attach(struct target *target);
void target_enter_facts(struct target *target);
void target_enter_begin(struct target *target);
void target_enter_stage(struct target *target);
void target_enter_lifeline(struct target *target);
void target_lifeline_failed(struct target *target, const struct error *err);
void target_enter_fence(struct target *target);
void target_enter_write(struct target *target);
void target_enter_reboot(struct target *target);

/* target_policy.c */
void target_enter_policy(struct target *target);
void target_enter_undo(struct target *target);

/* target_reach.c */
void target_enter_away(struct target *target);
void target_enter_return(struct target *target);
void target_enter_prove(struct target *target);
/* The way to the device, before the flash or (after) to its new system. */
void target_link_config(const struct target *target, bool after, struct link_config *config);

#endif
