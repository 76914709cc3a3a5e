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
    bool running; /* at the last look */
};

struct units {
    struct unit *items;
    size_t count;
};

/* What `systemctl show` says about one unit; the texts are inside its output. */
struct unit_facts {
    char name[UNIT_NAME_MAX];
    bool running;               /* active, or on its way to or from it */
    bool can_stop;              /* false: RefuseManualStop= */
    const char *taken_along[3]; /* lists: RequiredBy, BoundBy, ConsistsOf */
    const char *triggers;       /* list: TriggeredBy */
};

/* Adds a unit (length bytes of name) unless it is there. Returns it, or NULL when memory is short
 * or there are too many. */
struct unit *units_add(struct units *units, const char *name, size_t length, size_t cause);
struct unit *units_find(const struct units *units, const char *name);
void units_free(struct units *units);

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
