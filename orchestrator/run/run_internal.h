/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the run: shared by run.c (its life), claim.c (what it needs to begin), run_image.c,
 * interrupt.c (what the user says meanwhile), waves.c (whose turn it is) and ask.c (plan and
 * confirmation). Nobody else includes this. */
#ifndef RUN_RUN_INTERNAL_H
#define RUN_RUN_INTERNAL_H

#include "policy/local.h"
#include "run/jumps.h"
#include "run/locks.h"
#include "run/passage.h"
#include "run/start.h"
#include "target/target.h"

struct run {
    struct run_config config;
    struct run_view view;
    struct target_env env;
    char id[PROTOCOL_RUN_ID_MAX + 1];
    char controller[128];
    char *image_shown; /* the image for people: an address without user, password and query */
    size_t count;
    struct target **targets;
    const struct target_status **statuses;
    struct jumps *jumps; /* indexes as in targets */
    struct device_locks *locks;
    struct store_job *job;
    struct store *store;
    struct error image_error;
    uv_signal_t signals[3];
    uv_tty_t *terminal; /* while the user is asked */
    char answer[256];
    void (*answered)(struct run *run, const char *line);
    enum passage_phase passage;
    struct local_process *gate;
    uv_timer_t soak;
    size_t soak_unrecorded, soak_next, soak_under_way, soak_checked; /* targets looked at again */
    bool soak_filling;
    uv_timer_t window;    /* until the wave's window opens */
    uv_timer_t pause;     /* keeps the loop alive while the user pauses */
    bool window_waits;    /* the user was told */
    bool window_was_open; /* the present wave's, when it was last looked at or before */
    bool window_closed;   /* before everybody's turn came: exit 1 */
    unsigned wave;
    size_t done;
    size_t left_alone; /* in no wave of the rollout */
    unsigned interrupts;
    bool looking;        /* asks targets whether they may stay, for the plan */
    bool asked, refused; /* the plan was shown; nothing will be flashed */
    bool usage_error;    /* exit 2 */
    bool check_failed;   /* --check: some target would fail */
    uv_timer_t ending;   /* lets the stack unwind before the run is taken down */
    char halt_reason[200];
    char problem[700]; /* the first error that was told */
};

/* For each observer that has the callback. */
#define RUN_TELL(run, callback, ...)                                                               \
    do {                                                                                           \
        for (const struct run_observer *const *o_ = (run)->config.observers; *o_ != NULL; o_++) {  \
            if ((*o_)->callback != NULL)                                                           \
                (*o_)->callback(&(run)->view, __VA_ARGS__);                                        \
        }                                                                                          \
    } while (0)

/* run.c */
void run_message(struct run *run, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends a run in which nothing is flashed: exit 2 unless told otherwise; backs all targets out. */
void run_refuse(struct run *run, const char *reason);

/* Ends the run when nothing is under way any more. */
void run_settle(struct run *run);

/* With --check and before a question everybody is probed first. */
bool run_wants_plan(const struct run *run);
/* Shows the plan once the image and every target's facts are there. */
void run_try_plan(struct run *run);

/* run_image.c: prepares the image, where there is one; then goes on with plan, waves or refusal. */
void run_prepare_image(struct run *run);

/* claim.c: which device each target is, and which have to wait for others. Asks ssh, on the loop.
 */
int run_claim_names(struct run *run, struct error *err);
/* Locks the devices and writes the run's row into the journal, and a row for each target. */
int run_claim(struct run *run, struct error *err);

/* interrupt.c: from now on signals are the user's word. */
void run_listen(struct run *run);

/* waves.c: begins with the first wave; needs the store. */
void waves_begin(struct run *run);
/* The passage to the next wave is open. */
void waves_go_on(struct run *run);
/* What is under way finishes, nothing else begins; exit 3. */
void waves_halt(struct run *run, const char *reason);
/* A target has reached its outcome. */
void waves_target_done(struct run *run);
/* Halts when more targets of the wave have failed than it allows; whether the run is halted. */
bool waves_judge(struct run *run);
/* Says which targets go last because others are reached through them. */
void waves_announce_jumps(struct run *run);
/* Targets that may run at once in a wave. */
unsigned waves_parallel(const struct run *run, unsigned wave);

/* ask.c: shows the plan and asks; calls waves_begin, or ends the run. */
void ask_user(struct run *run);
/* Asks on the terminal; answered gets the line without its end, "" at the end of input. False when
 * there is no terminal. */
bool ask_line(struct run *run, const char *question,
              void (*answered)(struct run *run, const char *line));
/* The question, if there is one, is taken back. */
void ask_cancel(struct run *run);
/* Every selected target whose new host key nobody vouches for: a message each, and their number. */
size_t ask_untrusted(struct run *run);

#endif
