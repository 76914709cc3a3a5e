/* SPDX-License-Identifier: Apache-2.0 */
/* The mount table (proc(5), /proc/PID/mountinfo). */
#ifndef MOUNTS_H
#define MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mount {
    int id, parent;
    dev_t device; /* of the super block; major 0 for file systems without one block device */
    char *root, *point, *options, *fstype, *source;
    char *super; /* the super block's options: "ro,errors=remount-ro" */
};

struct mount_table {
    struct mount *items;
    unsigned count;
    char *text; /* owned; the strings point into it */
};

/* Takes the text over (it must come from malloc). -1: out of memory. Lines that make no sense are
 * left out. */
int mounts_parse(struct mount_table *table, char *text);
/* pid 0: this process's. -1: not readable. */
int mounts_read(struct mount_table *table, pid_t pid);
void mounts_free(struct mount_table *table);
/* What is visible at "/": the last one mounted there. NULL: none. */
const struct mount *mounts_root(const struct mount_table *table);
const struct mount *mounts_find_device(const struct mount_table *table, dev_t device);
/* Is the word one of the comma-separated options? */
bool mount_has_option(const char *options, const char *word);
/* The value of "name=value" among the options; false: absent or too long. */
bool mount_option_value(const char *options, const char *name, char *out, size_t size);
/* MS_SYNCHRONOUS and so on, from the super block's options: a remount without them clears them. */
unsigned long mount_super_flags(const char *super);
/* MS_NOSUID and so on, from the per-mount options. */
unsigned long mount_flags(const char *options);

#endif
