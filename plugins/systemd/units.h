/* SPDX-License-Identifier: Apache-2.0 */
/* The units to stop on one device, and what systemctl says about them. */
#ifndef SYSTEMD_UNITS_H
#define SYSTEMD_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define UNITS_MAX     512u
#define UNIT_NAME_MAX 256u /* of systemd: UNIT_NAME_MAX in src/basic/unit-name.h, NUL included */

enum unit_state {
    UNIT_NEW,     /* found, not looked at yet */
    UNIT_TO_STOP, /* runs and is ours to stop */
    UNIT_LEFT,    /* does not run, or is left alone */
};

struct unit {
    char *name;
    const char *quoted; /* for the shell; the host's memory */
    size_t cause;       /* index of the unit whose stop takes this one along, its own for a match */
    enum unit_state state;
    bool awaited;      /* while stopping: still runs; while starting: not up yet */
    bool failed;       /* while starting: over without success */
    bool was_starting; /* had not come up when it was stopped: need not come up on undo */
};

struct units {
    struct unit *items;
    size_t count;
};

/* What `systemctl show` says about one unit; the texts are inside its output. */
struct unit_facts {
    char name[UNIT_NAME_MAX];
    bool running;               /* up, or on its way to or from it */
    bool starting;              /* on its way to it (a oneshot at work, too) */
    bool up;                    /* active */
    bool has_job;               /* something is still to happen to it */
    bool exited;                /* active, but none of its processes is left */
    bool stop_acts;             /* has ExecStop= or ExecStopPost= */
    bool can_stop;              /* false: RefuseManualStop= */
    const char *taken_along[3]; /* lists: RequiredBy, BoundBy, ConsistsOf */
    const char *triggered_by;   /* list */
    const char *triggers;       /* list */
};

/* Adds a unit (length bytes of name) unless it is there. Returns it, or NULL when memory is short
 * or there are too many. */
struct unit *units_add(struct units *units, const char *name, size_t length, size_t cause);
struct unit *units_find(const struct units *units, const char *name);
void units_free(struct units *units);

/* Whether it is a unit that starts others: a socket, timer or path. */
bool unit_is_trigger(const struct unit *unit);

/* How many are in that state. */
size_t units_count(const struct units *units, enum unit_state state);

/* The match that led to this unit. */
const struct unit *units_origin(const struct units *units, const struct unit *unit);

/* Reads the next unit's block and moves on; false at the end. *cursor's text is written to. */
bool unit_facts_read(char **cursor, struct unit_facts *facts);

/* The next word of a list; returns its length, 0 at the end, and moves *cursor to its begin. The
 * caller adds the length to go on. */
size_t word_next(const char **cursor);

#endif
