/* SPDX-License-Identifier: Apache-2.0 */
/* One invocation of fleetflash: its targets, its image, its waves, its end. The screen, the event
 * stream and the reports look at it through the const view below and are told of changes. */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include "inventory.h"
#include "store/store.h"
#include "target/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum run_phase {
    RUN_PREPARING, /* the image is read and checked, targets are probed */
    RUN_PLANNING,  /* the plan is shown, the user asked */
    RUN_FLASHING,
    RUN_ENDED,
};

/* What everybody may read. Pointers stay valid as long as the run. */
struct run_view {
    const char *id;      /* "20261120T230105-3f2a" */
    const char *command; /* "flash" or "check" */
    const char *image;   /* as the user wrote it, an address without its secrets; NULL with --check
                              alone */
    const char *inventory; /* file name */
    const char *controller;
    enum run_phase phase;
    uint64_t started_ms, ended_ms; /* Unix time in ms */
    int exit_code;                 /* valid when ended */
    const char *halted;            /* why the rollout was halted, NULL: it was not */
    bool interrupted;
    bool paused;            /* no new device is started until the user resumes */
    const char *problem;    /* the first error of the run as a whole, NULL: none */
    uint64_t soak_until_ms; /* while a wave soaks or is looked at again: Unix time in ms; else 0 */
    unsigned soak_wave;     /* which one, from 0 */
    const struct store_info *store; /* NULL until the image is checked */
    /* reading the image */
    uint64_t image_bytes_done, image_bytes_total, image_decoded;
    unsigned wave_count; /* at least 1 */
    size_t target_count; /* those that --limit selected */
    const struct target_status *const *targets;
};

/* Callbacks of one that watches; any may be NULL. All on the loop thread, none may block. */
struct run_observer {
    void (*run_started)(const struct run_view *run, void *arg);
    void (*image_progress)(const struct run_view *run, void *arg);
    void (*image_ready)(const struct run_view *run, void *arg);
    void (*wave_started)(const struct run_view *run, unsigned wave, void *arg);
    /* state, activity or progress of one target changed (often: a few times a second for each) */
    void (*target_changed)(const struct run_view *run, const struct target_status *target,
                           void *arg);
    void (*target_log)(const struct run_view *run, const struct target_status *target,
                       enum log_level level, const char *text, void *arg);
    /* its outcome is set */
    void (*target_done)(const struct run_view *run, const struct target_status *target, void *arg);
    /* the wave's devices are done; they are looked at again at until (Unix time in ms) */
    void (*soak_started)(const struct run_view *run, unsigned wave, uint64_t until, void *arg);
    /* it was looked at again: its outcome stands now (failed, with damage died, or as it was) */
    void (*target_soaked)(const struct run_view *run, const struct target_status *target,
                          void *arg);
    void (*soak_ended)(const struct run_view *run, unsigned wave, void *arg);
    /* a sentence about the run as a whole */
    void (*message)(const struct run_view *run, enum log_level level, const char *text, void *arg);
    /* the screen has to be quiet (the user is asked) until resume */
    void (*suspend)(const struct run_view *run, void *arg);
    void (*resume)(const struct run_view *run, void *arg);
    void (*run_ended)(const struct run_view *run, void *arg);
    void *arg;
};

#endif
