/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory while it is being read: groups, hosts and waves with everything that messages need.
 */
#ifndef INVENTORY_MODEL_H
#define INVENTORY_MODEL_H

#include "settings.h"

#include <limits.h>

#define NO_WAVE UINT_MAX

struct group {
    const char *name;
    struct position at;
    const struct yaml_node *hosts; /* NULL: not readable */
    const struct settings *vars;
    unsigned wave;           /* index of its wave, NO_WAVE */
    struct position wave_at; /* of its name there */
    size_t member_count;
    struct group *next;
};

/* One host. */
struct draft {
    struct settings settings;
    const char *name;
    const char *written; /* as in the file, with its range */
    struct position at;  /* of its body, or of its first listing */
    bool has_body;
    bool is_counted;              /* its body makes more than one host */
    enum setting_state own_reset; /* what its body says about `reset` */
    struct group *group;          /* its body's */
    struct group **groups;        /* all, NULL-terminated */
    size_t group_count;
    size_t sequence;    /* in which it was made */
    struct draft *next; /* in file order of at */
};

struct model {
    struct context context;
    struct settings builtin, defaults;
    struct group *groups;
    struct draft *drafts;
    size_t draft_count;
    void *index; /* tsearch(3) tree of drafts by name */
    struct wave_spec *waves;
    size_t wave_count;
    struct notify_spec notify;
};

/* `defaults` and `groups` (NULL: not there) into groups and drafts. */
void model_read_hosts(struct model *model, const struct yaml_node *defaults,
                      const struct yaml_node *groups);

/* `rollout` and `notify`. */
void model_read_rollout(struct model *model, const struct yaml_node *rollout);
void model_read_notify(struct model *model, const struct yaml_node *notify);

/* Whatever concerns several hosts at once. */
void model_check(struct model *model);

/* Frees what is not in the arena. */
void model_end(struct model *model);

#endif
