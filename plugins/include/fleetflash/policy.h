/* SPDX-License-Identifier: Apache-2.0 */
/* The service-stop policy interface: how a shared object decides what stops on a device before its
 * disk is overwritten, waits for it, vetoes the flash with a reason, and starts again what it
 * stopped when the device is backed out. fleetflash-policy(3) tells the same with examples.
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
 * Compile: cc -shared -fPIC $(pkg-config --cflags fleetflash-policy) example.c -o example.so
 * (the file is called after .name) and try it: fleetflash policy check ./example.so
 *
 * What holds everywhere:
 * - Everything runs on one thread, the host's event loop, which also feeds every other device: no
 *   callback may block or sleep. A policy asks the host to run commands and gets called back; a
 *   callback that takes longer than 50 ms is logged with the policy's name. Host functions may be
 *   called on that thread only.
 * - Many targets are at work at the same time. What belongs to one of them goes to
 *   target->policy_data, not into static variables.
 * - Calls for one target come in this order: stop, then undo or returned or neither, end (after a
 * postpone this begins anew). undo may come while stop is still under way; stop is over then and
 * none of its callbacks comes any more. An undo that failed, or was cut off by a dead link, may be
 * called once more.
 * - A policy is code inside the host. One that crashes while it is loaded is refused (it is tried
 * in a child process first); one that crashes later takes the whole run with it. The devices
 * survive that, their agents wait for `--resume`, but nothing else protects against it.
 *
 * Stability: structs only grow at their end; struct_size says how much of one its maker knows (see
 * FF_KNOWS); enums get new values at their end; api_version changes only where that is not enough,
 * and a host refuses another version's policies. A policy built for an older header of the same
 * version runs in a newer host, and the other way round.
 */
#ifndef FLEETFLASH_POLICY_H
#define FLEETFLASH_POLICY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FF_POLICY_API_VERSION 1

/* True when the maker of *object (the host, for ff_host, ff_target and ff_result) knows this field.
 * Needed only for fields that came after the first release; those say so. */
#define FF_KNOWS(object, field)                                                                    \
    ((object)->struct_size >=                                                                      \
     (size_t)((const char *)&(object)->field - (const char *)(object)) + sizeof(object)->field)

/* What a policy may say of a target (ff_host.finish). */
enum ff_verdict {
    FF_VERDICT_GO = 0,   /* stopped what had to stop (or, from undo: started again) */
    FF_VERDICT_VETO = 1, /* leave this device alone; reason says why: outcome `skipped` */
    FF_VERDICT_FAIL = 2, /* tried and could not; reason says what: outcome `failed` */
};

/* One flash of one target, made by the host; valid from stop until end has returned, and during
 * check. A policy writes policy_data and nothing else. Strings are never NULL ("" where not known,
 * as mode, image and run_id are in check). */
struct ff_target {
    size_t struct_size;
    void *host_data;     /* the host's */
    void *policy_data;   /* the policy's own state for this target; freed by its end */
    const char *name;    /* as in the inventory */
    const char *group;   /* the group its entry stands in */
    const char *address; /* host name or address as in the inventory */
    const char *mode;    /* "stage" or "stream" */
    const char *image;   /* path or URL of the image */
    const char *run_id;
};

/* Result of a command. Valid, as its strings are, until the callback returns. Strings are never
 * NULL. Output with a NUL byte in it ends there. */
struct ff_result {
    size_t struct_size;
    int exit_status;   /* 0…255; -1: could not be run, died of a signal or timed out: see error */
    const char *out;   /* stdout, at most 64 KiB */
    const char *err;   /* stderr, at most 4 KiB */
    const char *error; /* "" when it ran to its end */
    int truncated;     /* not 0: there was, or may have been, more stdout than out holds */
};

struct ff_host;

/* data is what was given to run, run_local or after. */
typedef void (*ff_command_callback)(const struct ff_host *host, struct ff_target *target,
                                    const struct ff_result *result, void *data);
typedef void (*ff_timer_callback)(const struct ff_host *host, struct ff_target *target, void *data);

/* What the host offers. parameter, number, quote and log may be called from any policy callback;
 * mistake from check; the others from stop and undo and what follows from them, until finish. */
struct ff_host {
    size_t struct_size;
    int api_version;

    /* Runs a POSIX shell command on the device as root, without a terminal, with an empty stdin.
     * The host bounds it by timeout_ms (0: one minute); the device may go on with it after that.
     * The callback comes later, never from within run, and exactly once unless the stop or undo
     * ends first (then never: what data points to must be freed by end, not only by the callback).
     * Returns 0, or -1 when it cannot (no memory, the link is gone, 32 things are under way, called
     * after finish); then no callback comes. */
    int (*run)(struct ff_target *target, const char *command, unsigned timeout_ms,
               ff_command_callback callback, void *data);

    /* Runs a program on the controller, as its user: argv NULL-terminated, argv[0] searched for in
     * PATH, no shell; input (may be NULL: empty) to its stdin. argv and input are copied. When its
     * time is over it and its children get SIGTERM, two seconds later SIGKILL. Else same as run. */
    int (*run_local)(struct ff_target *target, const char *const *argv, const char *input,
                     unsigned timeout_ms, ff_command_callback callback, void *data);

    /* Calls back after a delay, under the rules of run. Returns 0 or -1. */
    int (*after)(struct ff_target *target, unsigned delay_ms, ff_timer_callback callback,
                 void *data);

    /* Ends a stop or an undo; exactly once for each, from within it or later. reason may be NULL
     * with FF_VERDICT_GO; it is copied, and only its first line counts. Anything still under way
     * for this target (commands, timers) is cancelled. FF_VERDICT_VETO from undo counts as FAIL. */
    void (*finish)(struct ff_target *target, enum ff_verdict verdict, const char *reason);

    /* How long from now this stop or undo may take, instead of the host's default (two minutes; an
     * hour at most). When that is over without a finish, the host ends it as FAIL. A policy with
     * a timeout of its own calls this first, with something on top, to be the one who says what
     * hung. */
    void (*deadline)(struct ff_target *target, unsigned timeout_ms);

    /* A parameter from the inventory's `services` mapping: value number index (0, 1, …) of key, or
     * NULL when there are no more. Valid as long as the target. */
    const char *(*parameter)(struct ff_target *target, const char *key, size_t index);

    /* A parameter of type FF_TYPE_DURATION in milliseconds, or of FF_TYPE_BOOL as 0 or 1; fallback
     * when the inventory does not set it. */
    uint64_t (*number)(struct ff_target *target, const char *key, uint64_t fallback);

    /* text quoted so that a POSIX shell takes it as one word, in memory that lives as long as the
     * target (so quote once, not at each poll); NULL when memory is short. */
    const char *(*quote)(struct ff_target *target, const char *text);

    /* A line for the target's log; control characters are replaced, 1000 bytes are kept. */
    void (*log)(struct ff_target *target, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

    /* A mistake in the parameters, from check only, as often as there are any. key says which
     * parameter it is about, so that the user gets its line; NULL: all of them. */
    void (*mistake)(struct ff_target *target, const char *key, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

    /* Ends a stop instead of finish: not now, reason says why ("a test is running"; copied, its
     * first line). Whatever was stopped must run again by now. After delay_ms (at least a second)
     * the host calls end and then stop anew; undo or end may come in between. When all delays of a
     * target together would be longer than an hour, this becomes a veto. From stop and what follows
     * from it only. Ask FF_KNOWS(host, postpone) first. */
    void (*postpone)(struct ff_target *target, unsigned delay_ms, const char *reason);

    /* Leaves a POSIX shell command on the device that starts again what this stop is about to stop,
     * for when this controller is killed and cannot call undo any more. Root runs it there, once,
     * when the agent gives the device back by itself or a later --resume backs it out; it must do
     * no harm where the services run already. It takes the place of what the same stop has left
     * before. To be called before anything is asked to stop, which begins when the callback comes
     * (under the rules of run; an exit status other than 0: it could not be left, which is no
     * reason not to go on). Returns 0, or -1 when there is no place for it, or it is longer than
     * FF_UNDO_MAX; then no callback comes. Ask FF_KNOWS(host, leave_undo) first. */
    int (*leave_undo)(struct ff_target *target, const char *command, ff_command_callback callback,
                      void *data);
};

/* Bytes: a small ssh server takes no longer command lines than 9000. */
#define FF_UNDO_MAX 4000

/* How a parameter's value is written. The host checks it before anything runs. */
enum ff_type {
    FF_TYPE_TEXT = 0,
    FF_TYPE_DURATION = 1, /* 500ms, 90s, 5m, 1h, 2d; a plain number means seconds */
    FF_TYPE_BOOL = 2,     /* yes, no, true, false, on, off */
};

/* A parameter a policy knows, so that a mistake in the inventory is found before anything runs. */
struct ff_parameter {
    const char *key;  /* [a-z0-9_-]+, not "policy" */
    const char *help; /* one line, with the default in it; may be NULL */
    int required;     /* not 0: a mistake when missing */
    int list;         /* not 0: may have several values */
    int type;         /* enum ff_type */
};

struct ff_policy {
    size_t struct_size;    /* FF_POLICY_HEADER sets these three */
    size_t parameter_size; /* sizeof(struct ff_parameter), so that it can grow too */
    int api_version;
    const char *name;        /* as written in the inventory: [a-z0-9-]+; the file is NAME.so */
    const char *longname;    /* for people; may be NULL */
    const char *description; /* one line; may be NULL */
    const struct ff_parameter *parameters; /* ended by an entry whose key is NULL; NULL: none */

    /* Looks at the parameters of a target before the run begins, beyond what the table says: no
     * device is touched yet, policy_data stays as it is (no end follows). Says what is wrong with
     * host->mistake. May be called several times for a target. May be NULL. */
    void (*check)(const struct ff_host *host, struct ff_target *target);

    /* Stops what must stop, and notes it in policy_data before asking for it, so that undo knows
     * also when it comes in between. Ends with host->finish, now or later. Required. */
    void (*stop)(const struct ff_host *host, struct ff_target *target);

    /* Starts again what stop has stopped; called when the target is backed out, also after a stop
     * that ended in VETO or FAIL or was cut off. Ends with host->finish. May be NULL: then nothing
     * is started again, and the host says so in the log. */
    void (*undo)(const struct ff_host *host, struct ff_target *target);

    /* Frees policy_data. Always the last call for a target that stop was called for, when all is
     * over or in the middle of things. May be NULL. */
    void (*end)(const struct ff_host *host, struct ff_target *target);

    /* The device has proved that it runs the new system, and is healthy: what was taken out of
     * service elsewhere (a cluster's scheduler, a load balancer) may come back. run goes to the new
     * system. policy_data is NULL where another process did the stop, before a --resume; it must
     * be left as end expects it. Ends with host->finish; anything but GO makes the target `failed`
     * with the reason, though its new system runs. May be NULL; hosts that do not know it never
     * call it. */
    void (*returned)(const struct ff_host *host, struct ff_target *target);
};

#define FF_POLICY_HEADER                                                                           \
    .struct_size = sizeof(struct ff_policy), .parameter_size = sizeof(struct ff_parameter),        \
    .api_version = FF_POLICY_API_VERSION

#ifdef __cplusplus
#define FF_POLICY_EXTERN extern "C"
#else
#define FF_POLICY_EXTERN extern
#endif

/* The one symbol of a policy's shared object. It is called once for every load, and the table must
 * stay as it is. */
#define FF_REGISTER_POLICY(table)                                                                  \
    FF_POLICY_EXTERN __attribute__((visibility("default"))) const struct ff_policy *               \
    fleetflash_policy(void);                                                                       \
    const struct ff_policy *fleetflash_policy(void)                                                \
    {                                                                                              \
        return &(table);                                                                           \
    }

#ifdef __cplusplus
}
#endif

#endif
