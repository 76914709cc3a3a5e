/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML file as a small tree in which everything knows its place. Aliases share their anchor's
 * node, merge keys (<<) are already merged, duplicate keys are already mistakes. */
#ifndef INVENTORY_YAML_TREE_H
#define INVENTORY_YAML_TREE_H

#include "arena.h"
#include "mistakes.h"

#include <stdbool.h>

#define YAML_DEPTH_MAX   32u      /* levels of nesting, aliases followed */
#define YAML_NODES_MAX   1000000u /* nodes that aliases may expand to in all */
#define YAML_ANCHORS_MAX 1000u

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    struct position at;
    const char *text;         /* YAML_TEXT: terminated */
    bool is_null;             /* YAML_TEXT: empty, ~ or null, and not quoted */
    struct yaml_entry *first; /* YAML_LIST and YAML_MAP */
    size_t count;             /* of entries */
    size_t weight;            /* nodes below and including it, aliases expanded */
    unsigned depth;           /* levels below and including it */
};

struct yaml_entry {
    const char *key;    /* NULL in a list */
    struct position at; /* of the key */
    struct yaml_node *value;
    struct yaml_entry *next;
    bool is_merge, is_merged; /* a plain <<; came in through one */
};

/* Returns the document's root, or NULL when the text is empty or no YAML (then a mistake is noted).
 */
struct yaml_node *yaml_tree_parse(struct arena *arena, const char *text, size_t size,
                                  struct mistakes *mistakes);

/* What a node is, in words: "a mapping", "a list", "nothing", "text". */
const char *yaml_node_words(const struct yaml_node *node);

#endif
