/* SPDX-License-Identifier: Apache-2.0 */
/* Every key that an inventory can have: one table from which files are read and against which
 * fleetflash-inventory(5) is tested. */
#ifndef INVENTORY_KEYS_H
#define INVENTORY_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum key_type {
    TYPE_MAP,     /* a mapping with keys of its own */
    TYPE_TEXT,    /* any text of one line */
    TYPE_COMMAND, /* for a shell, may have several lines */
    TYPE_FILE,    /* a path on the controller */
    TYPE_NAME,    /* letters, digits, - _ . */
    TYPE_ADDRESS, /* host name, IPv4 or IPv6 address */
    TYPE_USER,
    TYPE_NUMBER,   /* unsigned; range "1…65535" */
    TYPE_DURATION, /* uint64_t milliseconds; range "1s…1h" */
    TYPE_SIZE,     /* uint64_t bytes; range "1M…4G" */
    TYPE_CHOICE,   /* bool or enum: the place in range "a|b|c" */
    TYPE_HOSTKEY,  /* struct hostkey_spec; range like a choice's */
    TYPE_DEVICE,
    TYPE_MAC,
    TYPE_IPV4,   /* IPv4 address */
    TYPE_DISK,   /* as U-Boot calls it: "mmc 0" */
    TYPE_LIMIT,  /* struct failure_limit */
    TYPE_WINDOW, /* window_from and window_to of struct wave_spec */
    TYPE_NAMES,  /* list of names */
    TYPE_LIST,   /* list of mappings */
    TYPE_COUNT
};

/* Where a key may stand. */
enum key_level {
    LEVEL_TOP = 1 << 0,
    LEVEL_DEFAULTS = 1 << 1,
    LEVEL_GROUP = 1 << 2,
    LEVEL_VARS = 1 << 3,
    LEVEL_HOST = 1 << 4,
    LEVEL_AFTER = 1 << 5,
    LEVEL_RESET = 1 << 6,
    LEVEL_SERVICES = 1 << 7,
    LEVEL_ROLLOUT = 1 << 8,
    LEVEL_WAVE = 1 << 9,
    LEVEL_NOTIFY = 1 << 10,
    LEVEL_NETBOOT = 1 << 11,
};
#define LEVEL_ANY (LEVEL_DEFAULTS | LEVEL_VARS | LEVEL_HOST)

struct key {
    const char *name;
    enum key_type type;
    unsigned levels;      /* enum key_level, or-ed */
    const char *range;    /* what numbers, durations and choices allow; else NULL */
    const char *value;    /* the default as it would be written, NULL: none … */
    const char *fallback; /* … and then what holds instead, in words; NULL: the key is required */
    bool is_numbered;     /* takes a range like 10.0.0.[12:34] where the host's name has one */
    size_t offset,
        size;         /* of the member that it fills: of struct target_spec (also below after,
                         reset and netboot), struct wave_spec or struct notify_spec; size 0: none */
    const char *help; /* one line, no full stop */
};

/* What `notify` says. */
struct notify_spec {
    const char *command;
    bool is_always;
};

#define KEYS_MAX 80

const struct key *keys_all(size_t *count);

/* The key of that name at a level, or NULL. */
const struct key *keys_find(enum key_level level, const char *name);

/* Its place in keys_all, < KEYS_MAX. */
size_t keys_index(const struct key *key);

/* A level in words: "defaults", "a host". */
const char *keys_level_words(enum key_level level);

/* "duration 1s…1h"; "after, defaults, host, vars": as the manual page has them. Return out. */
char *keys_type_text(const struct key *key, char *out, size_t out_size);
char *keys_levels_text(const struct key *key, char *out, size_t out_size);
const char *keys_default_text(const struct key *key);

#endif
