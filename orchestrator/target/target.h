/* SPDX-License-Identifier: Apache-2.0 */
/* One device on its way from the old system to the new one: the state machine of DESIGN's table. It
 * owns its link, its conversation with the agent and its policy run; it shares the store, the link
 * pool and the loop with the others and never waits for them. */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "inventory.h"
#include "journal/journal.h"
#include "link/link.h"
#include "netboot/station.h"
#include "policy/policy.h"
#include "store/store.h"
#include "target/agent_files.h"
#include "target/status.h"

#include <stdbool.h>
#include <uv.h>

struct target;

/* How the new system's host key will be judged (the plan says it). */
enum after_trust {
    TRUST_NONE, /* nobody said, and the image has no keys of its own: needs the user's word */
    TRUST_FINGERPRINT, /* given under `after` */
    TRUST_IMAGE,       /* the keys baked into the checked image */
    TRUST_KEEP,        /* the old key again */
    TRUST_ONCE,        /* whatever answers: the user's word */
    TRUST_NOT_NEEDED,  /* reach: ping or none */
};

/* Shared by all targets of a run; outlives them. */
struct target_env {
    uv_loop_t *loop;
    struct link_pool *links;
    struct policy_set *policies;
    const struct agent_files *files;
    const char *run_id;
    const char *controller;  /* host name */
    const char *image;       /* as the user wrote it */
    bool force;              /* flash though nothing differs */
    bool accept_once;        /* the user's word for new host keys */
    enum flash_mode mode;    /* MODE_AUTO: the inventory's */
    bool local;              /* the command line says mode local */
    uint64_t rate;           /* bytes per second of one target, 0: no limit */
    struct journal *journal; /* NULL: nothing is recorded (--check) */
    struct station *station; /* what netboot targets share */
    struct journal *known;   /* what devices were flashed with; NULL: of none it is known */
    struct store *store;     /* NULL until the image is checked to its last byte */

    /* What the run wants to hear. May call target functions. */
    void (*probed)(struct target *target, void *arg);  /* facts are known; waits for target_go */
    void (*changed)(struct target *target, void *arg); /* state, activity or progress */
    void (*absent)(struct target *target, void *arg);  /* target_is_absent from now on */
    void (*log)(struct target *target, enum log_level level, const char *text, void *arg);
    void (*done)(struct target *target, void *arg);    /* outcome is set; exactly once */
    void (*soaking)(struct target *target, void *arg); /* what target_soak_begin did is recorded */
    void (*soaked)(struct target *target, void *arg);  /* ends target_soak_check */
    void *arg;
};

/* A target that does nothing yet. NULL when memory is short. spec outlives it. */
struct target *target_new(const struct target_env *env, const struct target_spec *spec,
                          unsigned index, unsigned wave);

const struct target_status *target_status(const struct target *target);

/* Connects, deploys the agent, asks for the facts; ends in `probed` or `done`. */
void target_probe(struct target *target);

/* Before anything else: takes over what the journal knows of a run that was killed. */
void target_resume(struct target *target, const struct journal_target *record);

/* For the plan, once the image is there: whether a probed target may stay as it is (if_used: keep).
 * True: that is being found out, and ends in `probed` or, with the outcome unchanged, in `done`.
 * False: nothing is to be found out any more. */
bool target_look(struct target *target);

/* Flashes: probes first where that has not happened. env->store must be set. */
void target_go(struct target *target);

/* target_go was called and it has no outcome yet. */
bool target_is_going(const struct target *target);

/* It does not answer, and is tried again beside those that do; it has to be told to go once more
 * when it does (then `probed` comes, or `done`). */
bool target_is_absent(const struct target *target);

/* After a probe that is not followed by target_go soon: the agent is told to leave, the link
 * closed; a later target_go begins anew. */
void target_release(struct target *target);

/* Ends a target that was not started: outcome not-started, with the reason. */
void target_decline(struct target *target, const char *reason);
/* The same with the outcome failed: it is known already that it would. */
void target_refuse(struct target *target, const struct error *err);

/* An orderly stop: what has not reached its destructive part is backed out (failed, "interrupted");
 * what has goes on. */
void target_interrupt(struct target *target);

/* Lets go of everything at once; an agent in the middle waits for its next controller. */
void target_abandon(struct target *target);

/* target_soak.c: the wave of this target has a soak. Once it is flashed, the journal has it as left
 * to do until the soak has ended. Before target_resume. */
void target_soak_expect(struct target *target);
/* The soak of a target that is done begins; until is Unix time in ms. Ends in `soaking`. */
void target_soak_begin(struct target *target, uint64_t until);
/* Whether its soak has not ended, and when it will (0: it has not begun). */
bool target_is_soaking(const struct target *target, uint64_t *until);
/* The soak is over: is it still as it was when it was done? Ends in `soaked`, perhaps before this
 * returns; the outcome is failed then (damage died) when it is not. */
void target_soak_check(struct target *target);
/* Gives up a check that is under way; the journal keeps it as left to do. */
void target_soak_cancel(struct target *target);

/* The mode that the user asked for. */
enum flash_mode target_wanted_mode(const struct target_env *env, const struct target_spec *spec);

/* Whether the target is the machine that this program runs on, to be flashed by itself. */
bool target_is_local(const struct target_env *env, const struct target_spec *spec);

enum after_trust target_trust(const struct target_env *env, const struct target_spec *spec,
                              const struct image_facts *facts);

/* target_rules.c: what forbids a flash before anything of the device is touched. Each returns 0, or
 * -1 with ERROR_REFUSED.
 *
 * Whether an image can be meant for a device (size, machine), as far as its facts tell. */
int target_image_fits(const struct target_status *status, const struct store_info *info,
                      struct error *err);
/* Whether an image may be streamed: a disk half-written when the link goes away for good is lost,
 * so not over Wi-Fi, nor where the address may have to be given back meanwhile. rate: bytes per
 * second, 0: no limit. */
int target_may_stream(const struct target_status *status, const struct store_info *info,
                      uint64_t rate, struct error *err);
/* Whether a machine that flashes itself can hold the image in its memory, as far as its facts tell.
 */
int target_memory_fits(const struct target_status *status, const struct store_info *info,
                       struct error *err);
/* Whether the new system can be looked for as the inventory wants it: reach: ping needs ping(8). */
int target_can_look(const struct target_spec *spec, struct error *err);
/* Seconds that streaming an image to a slow board takes, guessed high. */
uint64_t target_stream_seconds(const struct store_info *info, uint64_t rate);
/* Whether a boot id (random(4)) is that of the machine we run on. */
bool target_is_controller(const char *boot_id);

/* Frees. Must not be called from a callback of the same target. */
void target_free(struct target *target);

#endif
