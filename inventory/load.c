/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to an inventory. */
#include "model.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX ((size_t)4 << 20) /* 4096 hosts at 1 KiB each */

static const struct position nowhere = {0, 0};

/* --- the file's bytes --------------------------------------------------------------------- */

static bool is_forbidden(unsigned char c)
{
    return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

/* Returns 0 when this is text. */
static int check_bytes(const char *text, size_t size, struct mistakes *mistakes)
{
    if (memchr(text, '\0', size) != NULL)
        return mistakes_add(mistakes, nowhere, "the file is binary, not YAML; is it the image?");
    const unsigned char *bytes = (const unsigned char *)text;
    struct position at = {1, 1};
    for (size_t i = 0; i < size;) {
        size_t length = utf8_length(bytes + i, size - i);
        if (length == 0)
            return mistakes_add(mistakes, at, "the byte 0x%02x is not UTF-8 text", bytes[i]);
        if (is_forbidden(bytes[i]))
            return mistakes_add(mistakes, at, "the byte 0x%02x has no place in YAML", bytes[i]);
        if (bytes[i] == '\n')
            at = (struct position){at.line + 1, 1};
        else
            at.column++;
        i += length;
    }
    return 0;
}

/* Reads all of a file. Returns its size, or -1 after noting why not. */
static ssize_t read_all(int fd, char *out, struct mistakes *mistakes)
{
    size_t used = 0;
    for (;;) {
        ssize_t n = read(fd, out + used, FILE_SIZE_MAX + 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mistakes_add(mistakes, nowhere, "cannot be read: %s", strerror(errno));
        if (n == 0)
            return (ssize_t)used;
        used += (size_t)n;
        if (used > FILE_SIZE_MAX)
            return mistakes_add(mistakes, nowhere,
                                "the file is larger than 4 MiB, which no inventory is; is it the "
                                "image?");
    }
}

/* --- from the model to the inventory ------------------------------------------------------ */

static void finish_target(struct model *model, const struct draft *draft, struct target_spec *out)
{
    *out = draft->settings.spec;
    out->name = draft->name;
    out->at = draft->at;
    out->group = draft->group->name;
    const char **groups =
        arena_alloc(model->context.arena, (draft->group_count + 1) * sizeof *groups);
    for (size_t i = 0; i < draft->group_count; i++)
        groups[i] = draft->groups[i]->name;
    out->groups = groups;
    if (out->host == NULL)
        out->host = draft->name;
}

static struct inventory *finish(struct model *model, const char *file)
{
    struct arena *arena = model->context.arena;
    struct inventory *inventory = arena_alloc(arena, sizeof *inventory);
    struct target_spec *targets = arena_alloc(arena, (model->draft_count + 1) * sizeof *targets);
    for (const struct draft *draft = model->drafts; draft != NULL; draft = draft->next)
        finish_target(model, draft, &targets[inventory->target_count++]);
    inventory->file = arena_copy(arena, file, strlen(file));
    inventory->targets = targets;
    inventory->wave_count = model->wave_count;
    inventory->waves = model->waves;
    inventory->notify_command = model->notify.command;
    inventory->notify_always = model->notify.is_always;
    inventory->memory = arena;
    return inventory;
}

static void read_top(struct model *model, const struct yaml_node *root)
{
    const struct yaml_node *parts[4] = {NULL};
    static const char *const names[4] = {"defaults", "groups", "rollout", "notify"};
    if (root->kind != YAML_MAP) {
        mistakes_add(model->context.mistakes, root->at,
                     "an inventory is a mapping with 'groups' in it, not %s",
                     yaml_node_words(root));
        return;
    }
    for (const struct yaml_entry *entry = root->first; entry != NULL; entry = entry->next) {
        if (keys_find(LEVEL_TOP, entry->key) == NULL) {
            settings_unknown_key(&model->context, entry, LEVEL_TOP);
            continue;
        }
        for (size_t i = 0; i < 4; i++) {
            if (strcmp(names[i], entry->key) == 0)
                parts[i] = entry->value;
        }
    }
    model_read_hosts(model, parts[0], parts[1]);
    model_read_rollout(model, parts[2]);
    model_read_notify(model, parts[3]);
    model_check(model);
}

static void keep_node(void *node)
{
    (void)node; /* drafts live in the arena */
}

void model_end(struct model *model)
{
    tdestroy(model->index, keep_node);
    model->index = NULL;
}

struct inventory *inventory_parse(const char *file, const char *text, size_t size,
                                  struct diagnostics *mistakes)
{
    struct mistakes noted = {0};
    struct model model = {.context = {.arena = arena_new(), .mistakes = &noted}};
    struct inventory *inventory = NULL;
    const struct yaml_node *root = NULL;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        text += 3;
        size -= 3;
    }
    if (check_bytes(text, size, &noted) == 0)
        root = yaml_tree_parse(model.context.arena, text, size, &noted);
    if (root != NULL)
        read_top(&model, root);
    if (noted.count == 0)
        inventory = finish(&model, file);
    else
        arena_free(model.context.arena);
    model_end(&model);
    mistakes_tell(&noted, file, mistakes);
    return inventory;
}

struct inventory *inventory_load(const char *path, struct diagnostics *mistakes)
{
    struct mistakes noted = {0};
    struct inventory *inventory = NULL;
    char *text = malloc(FILE_SIZE_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    ssize_t size = -1;
    if (text == NULL || fd < 0 || fstat(fd, &status) != 0)
        mistakes_add(&noted, nowhere, "cannot be read: %s", strerror(errno));
    else if (S_ISDIR(status.st_mode))
        mistakes_add(&noted, nowhere, "is a directory; give the inventory file in it");
    else
        size = read_all(fd, text, &noted);
    if (fd >= 0)
        close(fd);
    mistakes_tell(&noted, path, mistakes);
    if (size >= 0)
        inventory = inventory_parse(path, text, (size_t)size, mistakes);
    free(text);
    return inventory;
}

void inventory_free(struct inventory *inventory)
{
    if (inventory != NULL)
        arena_free(inventory->memory);
}
