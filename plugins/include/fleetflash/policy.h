/* SPDX-License-Identifier: Apache-2.0 */
/* The service-stop policy interface: how a shared object decides what stops on a device before its
 * disk is overwritten, waits for it, vetoes the flash with a reason, and starts again what it stopped
 * when the device is backed out.
 *
 * A policy is one file that ends in a designated-initialiser table and the register macro:
 *
 *     static const struct ff_policy policy = {
 *         FF_POLICY_HEADER,
 *         .name = "example", .longname = "Example", .description = "…",
 *         .parameters = parameters, .stop = example_stop, .undo = example_undo,
 *     };
 *     FF_REGISTER_POLICY(policy)
 *
 * The ABI is stable: structs only grow at their end, struct_size says how much of one the other side
 * knows, and api_version changes only when that is not enough. Everything runs on the host's event
 * loop: no callback may block or sleep; a policy asks the host to run commands and gets called back.
 *
 * Compile: cc -shared -fPIC $(pkg-config --cflags fleetflash-policy) example.c -o example.so
 */
#ifndef FLEETFLASH_POLICY_H
#define FLEETFLASH_POLICY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FF_POLICY_API_VERSION 1

/* What a policy may say of a target (ff_host.finish). */
enum ff_verdict {
    FF_VERDICT_GO = 0,   /* stopped what had to stop (or, from undo: started again) */
    FF_VERDICT_VETO = 1, /* leave this device alone; reason says why: outcome `skipped` */
    FF_VERDICT_FAIL = 2, /* tried and could not; reason says what: outcome `failed` */
};

/* One flash of one target, made by the host, valid from stop until undo or end has returned. */
struct ff_target {
    size_t struct_size;
    void *host_data;          /* the host's */
    void *policy_data;        /* the policy's own state for this target */
    const char *name;         /* as in the inventory */
    const char *group;
    const char *address;
    const char *mode;         /* "stage" or "stream" */
    const char *image;        /* path or URL of the image */
    const char *run_id;
};

/* Result of a command. */
struct ff_result {
    size_t struct_size;
    int exit_status;          /* 0…255; -1: could not be run, or timed out: error says why */
    const char *out;          /* stdout, terminated, at most 64 KiB */
    const char *err;          /* stderr, terminated, at most 4 KiB */
    const char *error;        /* "" when it ran */
};

typedef void (*ff_command_callback)(struct ff_target *target, const struct ff_result *result);
typedef void (*ff_timer_callback)(struct ff_target *target);

/* What the host offers. Every function may be called from any policy callback. */
struct ff_host {
    size_t struct_size;
    int api_version;

    /* Runs a POSIX shell command on the device as root. timeout_ms bounds it. The callback comes
     * later, exactly once. Returns 0, or -1 when there is no memory (then no callback comes). */
    int (*run)(struct ff_target *target, const char *command, unsigned timeout_ms,
               ff_command_callback callback);

    /* Runs a program on the controller: argv NULL-terminated, no shell; input (may be NULL) to its
     * stdin. Same rules as run. */
    int (*run_local)(struct ff_target *target, const char *const *argv, const char *input,
                     unsigned timeout_ms, ff_command_callback callback);

    /* Calls back after a delay. Returns 0 or -1. */
    int (*after)(struct ff_target *target, unsigned delay_ms, ff_timer_callback callback);

    /* A parameter from the inventory's `services` mapping: value number index (0, 1, …) of key, or
     * NULL when there are no more. Valid as long as the target. */
    const char *(*parameter)(struct ff_target *target, const char *key, size_t index);

    /* A line for the target's log. */
    void (*log)(struct ff_target *target, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

    /* Ends a stop or an undo; exactly once for each. reason may be NULL with FF_VERDICT_GO; it is
     * copied. Anything still under way for this target (commands, timers) is cancelled. */
    void (*finish)(struct ff_target *target, enum ff_verdict verdict, const char *reason);

    /* text quoted so that a POSIX shell takes it as one word, in memory that lives as long as the
     * target; NULL when memory is short. */
    const char *(*quote)(struct ff_target *target, const char *text);
};

/* A parameter a policy knows, so that a mistake in the inventory is found before anything runs. */
struct ff_parameter {
    const char *key;
    const char *help;
    int required;
    int list;                 /* may have several values */
};

struct ff_policy {
    size_t struct_size;       /* FF_POLICY_HEADER sets both */
    int api_version;
    const char *name;         /* as written in the inventory: [a-z0-9-]+ */
    const char *longname;
    const char *description;  /* one line */
    const struct ff_parameter *parameters; /* ended by an entry whose key is NULL; NULL: none */

    /* Looks at the parameters of a target before the run begins (no device is touched yet, only
     * host->parameter and host->log may be used). Returns NULL, or a sentence that says what is wrong.
     * May be NULL. */
    const char *(*check)(const struct ff_host *host, struct ff_target *target);

    /* Stops what must stop. Ends with host->finish, now or later. Required. */
    void (*stop)(const struct ff_host *host, struct ff_target *target);

    /* Starts again what stop has stopped; called when the target is backed out, also after a stop
     * that ended in VETO or FAIL or was cut off. Ends with host->finish. May be NULL. */
    void (*undo)(const struct ff_host *host, struct ff_target *target);

    /* Frees policy_data. Always the last call for a target that stop was called for. May be NULL. */
    void (*end)(const struct ff_host *host, struct ff_target *target);
};

/* The one symbol of a policy's shared object. */
#define FF_REGISTER_POLICY(table)                                                                   \
    __attribute__((visibility("default"))) const struct ff_policy *fleetflash_policy(void);         \
    const struct ff_policy *fleetflash_policy(void)                                                 \
    {                                                                                               \
        return &(table);                                                                            \
    }
#define FF_POLICY_HEADER .struct_size = sizeof(struct ff_policy), .api_version = FF_POLICY_API_VERSION

#ifdef __cplusplus
}
#endif

#endif
