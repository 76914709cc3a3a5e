/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct anchor {
    const char *name;
    struct yaml_node *node;
    bool is_open; /* its node is still being read: an alias to it would be endless */
    struct anchor *next;
};

/* One container that is being read. */
struct frame {
    struct yaml_node *node;
    struct yaml_entry **tail;
    struct anchor *anchor;
    const char *key; /* NULL: in a map, the next node is a key */
    struct position key_at;
    bool key_is_plain;
};

struct builder {
    struct arena *arena;
    struct mistakes *mistakes;
    struct anchor *anchors; /* newest first: YAML allows to define a name again */
    unsigned anchor_count;
    struct yaml_node *root;
    struct frame frames[YAML_DEPTH_MAX];
    unsigned open;
    size_t expanded;
};

static struct position place(yaml_mark_t mark)
{
    return (struct position){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

const char *yaml_node_words(const struct yaml_node *node)
{
    switch (node->kind) {
    case YAML_MAP:
        return "a mapping";
    case YAML_LIST:
        return "a list";
    case YAML_TEXT:
        break;
    }
    return node->is_null ? "nothing" : "text";
}

/* --- duplicate and merge keys ------------------------------------------------------------- */

struct ranked {
    struct yaml_entry *entry;
    size_t rank;
    bool is_dropped;
};

static int compare_keys(const void *a, const void *b)
{
    const struct ranked *one = a, *other = b;
    int order = strcmp(one->entry->key, other->entry->key);
    if (order != 0)
        return order;
    return one->rank < other->rank ? -1 : 1;
}

static int compare_ranks(const void *a, const void *b)
{
    const struct ranked *one = a, *other = b;
    return one->rank < other->rank ? -1 : 1;
}

/* Keeps the first of each key; a second one is a mistake unless it was merged in. */
static void drop_duplicates(struct builder *builder, struct yaml_node *map)
{
    if (map->count < 2)
        return;
    struct ranked *ranked = calloc(map->count, sizeof *ranked);
    if (ranked == NULL)
        return;
    size_t n = 0;
    for (struct yaml_entry *entry = map->first; entry != NULL; entry = entry->next, n++)
        ranked[n] = (struct ranked){.entry = entry, .rank = n};
    qsort(ranked, n, sizeof *ranked, compare_keys);
    const struct yaml_entry *kept = ranked[0].entry;
    for (size_t i = 1; i < n; i++) {
        const struct yaml_entry *entry = ranked[i].entry;
        if (strcmp(kept->key, entry->key) != 0) {
            kept = entry;
            continue;
        }
        ranked[i].is_dropped = true;
        if (!entry->is_merged)
            mistakes_add(builder->mistakes, entry->at, "'%s' is already given at line %u",
                         entry->key, kept->at.line);
    }
    qsort(ranked, n, sizeof *ranked, compare_ranks);
    struct yaml_entry **tail = &map->first;
    map->count = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranked[i].is_dropped)
            continue;
        *tail = ranked[i].entry;
        tail = &ranked[i].entry->next;
        map->count++;
    }
    *tail = NULL;
    free(ranked);
}

/* Appends copies of a map's entries behind tail. */
static struct yaml_entry **append_merged(struct builder *builder, struct yaml_entry **tail,
                                         const struct yaml_node *from, size_t *count)
{
    if (from->kind != YAML_MAP) {
        mistakes_add(builder->mistakes, from->at,
                     "'<<' merges a mapping or a list of mappings, not %s", yaml_node_words(from));
        return tail;
    }
    for (const struct yaml_entry *entry = from->first; entry != NULL; entry = entry->next) {
        struct yaml_entry *copy = arena_alloc(builder->arena, sizeof *copy);
        *copy = *entry;
        copy->is_merged = true;
        copy->next = NULL;
        *tail = copy;
        tail = &copy->next;
        (*count)++;
    }
    return tail;
}

/* Replaces each << by what it stands for, behind the map's own keys, which win. */
static void merge_keys(struct builder *builder, struct yaml_node *map)
{
    struct yaml_entry *merges = NULL, **merges_tail = &merges, **link = &map->first;
    while (*link != NULL) {
        struct yaml_entry *entry = *link;
        if (!entry->is_merge) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        entry->next = NULL;
        *merges_tail = entry;
        merges_tail = &entry->next;
        map->count--;
    }
    for (struct yaml_entry *merge = merges; merge != NULL; merge = merge->next) {
        const struct yaml_node *value = merge->value;
        if (value->kind != YAML_LIST) {
            link = append_merged(builder, link, value, &map->count);
            continue;
        }
        for (const struct yaml_entry *item = value->first; item != NULL; item = item->next)
            link = append_merged(builder, link, item->value, &map->count);
    }
}

/* --- building ----------------------------------------------------------------------------- */

/* Puts a finished node where the reader stands: as the root, an item, or a key's value. */
static void attach(struct builder *builder, struct yaml_node *node)
{
    if (builder->open == 0) {
        builder->root = node;
        return;
    }
    struct frame *frame = &builder->frames[builder->open - 1];
    struct yaml_entry *entry = arena_alloc(builder->arena, sizeof *entry);
    entry->key = frame->key;
    entry->at = frame->key == NULL ? node->at : frame->key_at;
    entry->value = node;
    entry->is_merge = frame->key_is_plain && frame->key != NULL && strcmp(frame->key, "<<") == 0;
    *frame->tail = entry;
    frame->tail = &entry->next;
    frame->key = NULL;
    frame->node->count++;
    frame->node->weight += node->weight;
    if (node->depth + 1 > frame->node->depth)
        frame->node->depth = node->depth + 1;
}

/* True when the next node is a map's key. */
static bool wants_key(const struct builder *builder)
{
    if (builder->open == 0)
        return false;
    const struct frame *frame = &builder->frames[builder->open - 1];
    return frame->node->kind == YAML_MAP && frame->key == NULL;
}

static struct yaml_node *node_new(struct builder *builder, enum yaml_kind kind, yaml_mark_t mark)
{
    struct yaml_node *node = arena_alloc(builder->arena, sizeof *node);
    node->kind = kind;
    node->at = place(mark);
    node->weight = 1;
    node->depth = 1;
    return node;
}

static struct anchor *anchor_new(struct builder *builder, const yaml_char_t *name,
                                 struct yaml_node *node)
{
    if (name == NULL)
        return NULL;
    if (builder->anchor_count++ == YAML_ANCHORS_MAX)
        mistakes_add(builder->mistakes, node->at, "more than %u anchors", YAML_ANCHORS_MAX);
    if (builder->anchor_count > YAML_ANCHORS_MAX)
        return NULL;
    struct anchor *anchor = arena_alloc(builder->arena, sizeof *anchor);
    anchor->name = arena_copy(builder->arena, (const char *)name, strlen((const char *)name));
    anchor->node = node;
    anchor->is_open = node->kind != YAML_TEXT;
    anchor->next = builder->anchors;
    builder->anchors = anchor;
    return anchor;
}

/* YAML's own types are all read as text; anything else means a program that is not this one. */
static int check_tag(struct builder *builder, const yaml_char_t *tag, yaml_mark_t mark)
{
    const char *text = (const char *)tag, prefix[] = "tag:yaml.org,2002:";
    if (text == NULL || strcmp(text, "!") == 0 || strncmp(text, prefix, sizeof prefix - 1) == 0)
        return 0;
    return mistakes_add(builder->mistakes, place(mark), "the tag '%s' means nothing here", text);
}

static bool text_is_null(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

static int read_scalar(struct builder *builder, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    check_tag(builder, event->data.scalar.tag, event->start_mark);
    if (memchr(value, '\0', length) != NULL)
        mistakes_add(builder->mistakes, place(event->start_mark), "a NUL byte inside a text");
    struct yaml_node *node = node_new(builder, YAML_TEXT, event->start_mark);
    node->text = arena_copy(builder->arena, value, length);
    node->is_null = is_plain && text_is_null(node->text);
    anchor_new(builder, event->data.scalar.anchor, node);
    if (!wants_key(builder)) {
        attach(builder, node);
        return 0;
    }
    struct frame *frame = &builder->frames[builder->open - 1];
    frame->key = node->text;
    frame->key_at = node->at;
    frame->key_is_plain = is_plain;
    return 0;
}

static int open_container(struct builder *builder, enum yaml_kind kind, const yaml_char_t *anchor,
                          const yaml_char_t *tag, yaml_mark_t mark)
{
    if (wants_key(builder))
        return mistakes_add(builder->mistakes, place(mark), "a key must be a text, not %s",
                            kind == YAML_MAP ? "a mapping" : "a list");
    if (builder->open == YAML_DEPTH_MAX)
        return mistakes_add(builder->mistakes, place(mark), "nested deeper than %u levels",
                            YAML_DEPTH_MAX);
    check_tag(builder, tag, mark);
    struct yaml_node *node = node_new(builder, kind, mark);
    struct frame *frame = &builder->frames[builder->open++];
    *frame = (struct frame){.node = node, .tail = &node->first};
    frame->anchor = anchor_new(builder, anchor, node);
    return 0;
}

static void close_container(struct builder *builder)
{
    struct frame *frame = &builder->frames[--builder->open];
    if (frame->anchor != NULL)
        frame->anchor->is_open = false;
    if (frame->node->kind == YAML_MAP) {
        merge_keys(builder, frame->node);
        drop_duplicates(builder, frame->node);
    }
    attach(builder, frame->node);
}

static int read_alias(struct builder *builder, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct position at = place(event->start_mark);
    const struct anchor *anchor = builder->anchors;
    while (anchor != NULL && strcmp(anchor->name, name) != 0)
        anchor = anchor->next;
    if (anchor == NULL)
        return mistakes_add(builder->mistakes, at, "no anchor '&%s' before this alias", name);
    if (anchor->is_open)
        return mistakes_add(builder->mistakes, at, "the alias '*%s' stands inside its own anchor",
                            name);
    if (wants_key(builder))
        return mistakes_add(builder->mistakes, at, "an alias cannot be a key");
    builder->expanded += anchor->node->weight;
    if (builder->expanded > YAML_NODES_MAX)
        return mistakes_add(builder->mistakes, at, "aliases make this file larger than %u nodes",
                            YAML_NODES_MAX);
    if (builder->open + anchor->node->depth > YAML_DEPTH_MAX)
        return mistakes_add(builder->mistakes, at, "nested deeper than %u levels", YAML_DEPTH_MAX);
    attach(builder, anchor->node);
    return 0;
}

/* Returns 0 to go on, 1 at the end of the stream, -1 when reading on makes no sense. */
static int take_event(struct builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        return 1;
    case YAML_DOCUMENT_START_EVENT:
        if (builder->root != NULL)
            return mistakes_add(builder->mistakes, place(event->start_mark),
                                "a second document begins here; an inventory is one");
        return 0;
    case YAML_SCALAR_EVENT:
        return read_scalar(builder, event);
    case YAML_ALIAS_EVENT:
        return read_alias(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_container(builder, YAML_LIST, event->data.sequence_start.anchor,
                              event->data.sequence_start.tag, event->start_mark);
    case YAML_MAPPING_START_EVENT:
        return open_container(builder, YAML_MAP, event->data.mapping_start.anchor,
                              event->data.mapping_start.tag, event->start_mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_container(builder);
        return 0;
    default:
        return 0;
    }
}

/* --- syntax errors ------------------------------------------------------------------------ */

/* Where a byte offset lies: the reader's errors carry no mark. */
static struct position place_of_offset(const char *text, size_t size, size_t offset)
{
    struct position at = {1, 1};
    for (size_t i = 0; i < offset && i < size; i++) {
        if (text[i] == '\n')
            at = (struct position){at.line + 1, 1};
        else if (((unsigned char)text[i] & 0xc0) != 0x80)
            at.column++;
    }
    return at;
}

/* The byte at a place, 0 when there is none. */
static char byte_at(const char *text, size_t size, struct position at)
{
    struct position here = {1, 1};
    for (size_t i = 0; i < size; i++) {
        if (here.line == at.line && here.column == at.column)
            return text[i];
        if (text[i] == '\n')
            here = (struct position){here.line + 1, 1};
        else if (i + 1 == size || ((unsigned char)text[i + 1] & 0xc0) != 0x80)
            here.column++;
    }
    return '\0';
}

static void tell_syntax(struct builder *builder, const yaml_parser_t *parser, const char *text,
                        size_t size)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        mistakes_add(builder->mistakes, (struct position){0}, "out of memory");
        return;
    }
    const char *problem = parser->problem == NULL ? "no reason given" : parser->problem;
    if (parser->error == YAML_READER_ERROR) {
        mistakes_add(builder->mistakes, place_of_offset(text, size, parser->problem_offset),
                     "not valid YAML: %s", problem);
        return;
    }
    struct position at = place(parser->problem_mark);
    if (parser->error == YAML_SCANNER_ERROR && byte_at(text, size, at) == '\t')
        mistakes_add(builder->mistakes, at, "a tab cannot indent YAML; use spaces");
    else if (parser->context != NULL && parser->context_mark.line != parser->problem_mark.line)
        mistakes_add(builder->mistakes, at, "not valid YAML: %s, %s that begins at line %zu",
                     problem, parser->context, parser->context_mark.line + 1);
    else
        mistakes_add(builder->mistakes, at, "not valid YAML: %s", problem);
}

struct yaml_node *yaml_tree_parse(struct arena *arena, const char *text, size_t size,
                                  struct mistakes *mistakes)
{
    struct builder builder = {.arena = arena, .mistakes = mistakes};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        mistakes_add(mistakes, (struct position){0}, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    int state = 0;
    while (state == 0) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            tell_syntax(&builder, &parser, text, size);
            state = -1;
            break;
        }
        state = take_event(&builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (state < 0)
        return NULL;
    if (builder.root == NULL || builder.root->is_null) {
        mistakes_add(mistakes, (struct position){0}, "the file is empty");
        return NULL;
    }
    return builder.root;
}
