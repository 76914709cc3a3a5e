/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory file: which targets there are, how they are reached, how a rollout goes through
 * them. Format: docs/fleetflash-inventory.5; the keys are one table (inventory/keys.h). */
#ifndef INVENTORY_INVENTORY_H
#define INVENTORY_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where something was written, for messages. */
struct position {
    unsigned line, column; /* from 1; 0: a built-in default */
};

/* All mistakes of a file, in its order. Each text is a whole line, "lab.yaml:12:9: unknown key
 * 'hots' (did you mean 'host'?)". */
struct diagnostics {
    size_t count;
    char **texts;
};
void diagnostics_add(struct diagnostics *list, const char *file, struct position at,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));
void diagnostics_free(struct diagnostics *list);

enum inventory_mode {
    INVENTORY_AUTO,
    INVENTORY_STAGE,
    INVENTORY_STREAM,
    INVENTORY_NETBOOT,
    INVENTORY_LOCAL
};
enum inventory_reach { REACH_SSH, REACH_PING, REACH_NONE };
enum inventory_if_used { IF_USED_REFLASH, IF_USED_KEEP };
enum inventory_become { BECOME_SUDO, BECOME_NONE };
enum inventory_recovery { RECOVERY_NONE, RECOVERY_NETBOOT };

/* host_key as written; AFTER_KEEP and the like only under `after`. */
enum inventory_hostkey {
    KEY_UNSET,
    KEY_STRICT,
    KEY_ACCEPT_NEW,
    KEY_FINGERPRINT,
    KEY_ACCEPT_ONCE, /* after only */
    KEY_KEEP,        /* after only */
};

struct hostkey_spec {
    enum inventory_hostkey kind;
    const char *fingerprint; /* "SHA256:…" with KEY_FINGERPRINT */
    struct position at;
};

/* `after`: what differs once the new system runs. NULL, 0 and KEY_UNSET: as before. */
struct after_spec {
    const char *host, *user, *identity;
    unsigned port;
    struct hostkey_spec host_key;
};

/* `services`: the policy's name and its parameters, each a key with one or several values. */
struct policy_parameter {
    const char *key;
    const char *const *values; /* NULL-terminated */
    struct position at;
};
struct services_spec {
    const char *policy; /* NULL: none */
    size_t parameter_count;
    const struct policy_parameter *parameters;
    struct position at;
};

struct reset_spec {
    bool present;
    const char *chip, *line; /* line: offset or name */
    bool active_low;
    uint64_t hold;       /* ms */
    const char *command; /* instead of chip and line */
    struct position at;
};

enum netboot_layout {
    NETBOOT_SHIFTED, /* behind the boot loader's partition, which stays */
    NETBOOT_DISK,    /* the whole disk: the boot loader lives elsewhere */
};

/* How the boot loader of a device is served. */
struct netboot_spec {
    enum netboot_layout layout;
    const char *server; /* address to bind, NULL: the one from which the device is reached */
    bool is_dhcp;       /* else the boot loader has the address `host` */
    unsigned port;
    uint64_t part_size; /* bytes */
    uint64_t timeout;   /* ms from the reset until it asks */
    /* For the scripts that its U-Boot runs: */
    const char *disk;              /* as it calls it: "mmc 0" */
    const char *boot;              /* its commands that boot the disk; NULL: the usual ones */
    const char *netmask, *gateway; /* NULL: 255.255.255.0, none */
    bool netconsole;               /* its console is sent to the controller too */
};

/* One device, everything inherited and resolved. */
struct target_spec {
    const char *name;
    const char *group;         /* the group its body stands in */
    const char *const *groups; /* all groups it is listed in, NULL-terminated */
    const char *host, *user, *identity;
    unsigned port; /* 0: ssh config's or 22 */
    enum inventory_become become;
    struct hostkey_spec host_key;
    enum inventory_mode mode;
    const char *device;
    enum inventory_if_used if_used;
    enum inventory_reach reach;
    const char *health;                                         /* NULL: none */
    uint64_t connect_timeout, transfer_timeout, reboot_timeout; /* ms */
    unsigned retries;
    struct after_spec after;
    struct services_spec services;
    const char *mac; /* canonical aa:bb:cc:dd:ee:ff, NULL */
    struct reset_spec reset;
    struct netboot_spec netboot;
    enum inventory_recovery recovery;
    struct position at;
};

/* max_failures: `3` or `10%`. */
struct failure_limit {
    bool present, is_percent;
    unsigned value;
};

struct wave_spec {
    const char *const *groups; /* NULL-terminated */
    unsigned parallel;         /* 0: the command line's or the default */
    struct failure_limit max_failures;
    uint64_t soak; /* ms */
    bool pause_confirm;
    const char *gate;           /* NULL: none */
    int window_from, window_to; /* minutes after midnight, -1: none */
    struct position at;
};

struct inventory {
    const char *file;
    size_t target_count;
    const struct target_spec *targets; /* in file order, each once */
    size_t wave_count;                 /* 0: one wave with everything */
    const struct wave_spec *waves;
    const char *notify_command; /* NULL: none */
    bool notify_always;
    void *memory; /* everything above lives there */
};

/* Reads and checks a file. Returns NULL when there is any mistake (all of them in mistakes, which
 * the caller frees in any case). */
struct inventory *inventory_load(const char *path, struct diagnostics *mistakes);
void inventory_free(struct inventory *inventory);

/* The same from size bytes of text; file is only its name in messages. */
struct inventory *inventory_parse(const char *file, const char *text, size_t size,
                                  struct diagnostics *mistakes);

/* The index of the wave that holds a target (by index), or -1: it is in none of them and never
 * flashed, or there are no waves. */
int inventory_wave_of(const struct inventory *inventory, size_t target);

/* --limit: a comma list of names, globs and groups, `!` excludes. selected has target_count
 * entries. Returns the number selected, or -1 with a sentence in message when a part matches
 * nothing. */
int inventory_select(const struct inventory *inventory, const char *pattern, bool *selected,
                     char *message, size_t message_size);

/* How many failures a limit allows among targets; SIZE_MAX when not present. */
size_t failure_limit_allows(const struct failure_limit *limit, size_t targets);

#endif
