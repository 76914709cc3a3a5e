/* SPDX-License-Identifier: Apache-2.0 */
/* What one place of the file (defaults, a group's vars, a host's body) says about targets, and how
 * such layers are laid over one another. */
#ifndef INVENTORY_SETTINGS_H
#define INVENTORY_SETTINGS_H

#include "keys.h"
#include "ranges.h"
#include "values.h"
#include "yaml_tree.h"

enum setting_state {
    SETTING_UNSET = 0,
    SETTING_SET,
    SETTING_CLEARED, /* given as empty: the built-in default again */
    SETTING_WRONG,   /* a mistake was noted */
};

struct settings {
    struct target_spec spec; /* only members whose key is SETTING_SET mean anything */
    enum setting_state states[KEYS_MAX];
    struct position at[KEYS_MAX]; /* of the value */
};

/* Which of a ranged body's hosts is read; names NULL: no ranges here. */
struct numbering {
    const struct range_pattern *names;
    size_t index;
};

/* Reads a mapping of target keys. */
void settings_read(const struct context *context, const struct yaml_node *map, enum key_level level,
                   const struct numbering *numbering, struct settings *out);

/* Reads those values again that are numbered along with the host's name. */
void settings_renumber(const struct context *context, const struct yaml_node *map,
                       const struct numbering *numbering, struct settings *out);

/* The built-in defaults of the key table. */
void settings_builtin(const struct context *context, struct settings *out);

/* Lays layer over the settings below it. builtin is what cleared keys go back to. */
void settings_lay_over(const struct context *context, struct settings *below,
                       const struct settings *layer, const struct settings *builtin);

/* State of the key of that name at a level. */
enum setting_state settings_state(const struct settings *settings, enum key_level level,
                                  const char *name);
struct position settings_place(const struct settings *settings, enum key_level level,
                               const char *name);

/* Notes that a level has no such key, with a suggestion. */
void settings_unknown_key(const struct context *context, const struct yaml_entry *entry,
                          enum key_level level);

/* Reads `services`. Returns -1 after a mistake. */
int services_read(const struct context *context, const struct yaml_node *map,
                  struct services_spec *out);

/* above's parameters over below's, unless above names another policy. */
void services_lay_over(const struct context *context, struct services_spec *below,
                       const struct services_spec *above);

#endif
