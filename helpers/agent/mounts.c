/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif

/* "\040" and the like, in place (fs/proc_namespace.c, mangle). */
static void unescape(char *text)
{
    char *out = text;
    for (char *in = text; *in != '\0'; out++) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
            in[3] >= '0' && in[3] <= '7') {
            *out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
            in += 4;
        } else {
            *out = *in++;
        }
    }
    *out = '\0';
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static bool parse_line(char *line, struct mount *mount)
{
    unsigned major, minor;
    char *save = NULL, *fields[6], *word = NULL;
    for (int i = 0; i < 6; i++)
        if ((fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save)) == NULL)
            return false;
    while ((word = strtok_r(NULL, " ", &save)) != NULL && strcmp(word, "-") != 0)
        ;
    mount->fstype = word == NULL ? NULL : strtok_r(NULL, " ", &save);
    /* An empty source leaves two blanks, which strtok_r takes for one. */
    char *first = mount->fstype == NULL ? NULL : strtok_r(NULL, " ", &save);
    char *second = first == NULL ? NULL : strtok_r(NULL, " ", &save);
    if (first == NULL || sscanf(fields[2], "%u:%u", &major, &minor) != 2)
        return false;
    mount->source = second == NULL ? first + strlen(first) : first;
    mount->super = second == NULL ? first : second;
    mount->id = atoi(fields[0]);
    mount->parent = atoi(fields[1]);
    mount->device = makedev(major, minor);
    mount->root = fields[3];
    mount->point = fields[4];
    mount->options = fields[5];
    unescape(mount->root);
    unescape(mount->point);
    unescape(mount->source);
    unescape(mount->super);
    return true;
}

int mounts_parse(struct mount_table *table, char *text)
{
    unsigned lines = 1;
    memset(table, 0, sizeof *table);
    table->text = text;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    table->items = calloc(lines, sizeof *table->items);
    if (table->items == NULL) {
        mounts_free(table);
        return -1;
    }
    for (char *line = text; line != NULL && *line != '\0';) {
        char *next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        table->count += parse_line(line, &table->items[table->count]);
        line = next;
    }
    return 0;
}

int mounts_read(struct mount_table *table, pid_t pid)
{
    char path[64];
    memset(table, 0, sizeof *table);
    if (pid == 0)
        text_copy(path, sizeof path, "/proc/self/mountinfo");
    else
        text_format(path, sizeof path, "/proc/%d/mountinfo", (int)pid);
    char *text = text_read_all(path);
    return text == NULL ? -1 : mounts_parse(table, text);
}

void mounts_free(struct mount_table *table)
{
    free(table->items);
    free(table->text);
    memset(table, 0, sizeof *table);
}

const struct mount *mounts_root(const struct mount_table *table)
{
    for (unsigned i = table->count; i-- > 0;)
        if (strcmp(table->items[i].point, "/") == 0)
            return &table->items[i];
    return NULL;
}

const struct mount *mounts_find_device(const struct mount_table *table, dev_t device)
{
    for (unsigned i = 0; i < table->count; i++)
        if (table->items[i].device == device)
            return &table->items[i];
    return NULL;
}

bool mount_has_option(const char *options, const char *word)
{
    size_t n = strlen(word);
    while (*options != '\0') {
        size_t length = strcspn(options, ",");
        if (length == n && strncmp(options, word, n) == 0)
            return true;
        options += length + (options[length] == ',');
    }
    return false;
}

bool mount_option_value(const char *options, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    while (*options != '\0') {
        size_t length = strcspn(options, ",");
        if (length > n && options[n] == '=' && strncmp(options, name, n) == 0) {
            if (length - n - 1 >= size)
                return false;
            memcpy(out, options + n + 1, length - n - 1);
            out[length - n - 1] = '\0';
            return true;
        }
        options += length + (options[length] == ',');
    }
    return false;
}

unsigned long mount_flags(const char *options)
{
    static const struct {
        const char *word;
        unsigned long flag;
    } words[] = {
        {"nosuid", MS_NOSUID},   {"nodev", MS_NODEV},           {"noexec", MS_NOEXEC},
        {"noatime", MS_NOATIME}, {"nodiratime", MS_NODIRATIME}, {"relatime", MS_RELATIME},
    };
    unsigned long flags = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (mount_has_option(options, words[i].word))
            flags |= words[i].flag;
    /* Without any of these the kernel would make it relatime. */
    if ((flags & (MS_NOATIME | MS_RELATIME)) == 0)
        flags |= MS_STRICTATIME;
    return flags;
}

unsigned long mount_super_flags(const char *super)
{
    static const struct {
        const char *word;
        unsigned long flag;
    } words[] = {
        {"sync", MS_SYNCHRONOUS},
        {"dirsync", MS_DIRSYNC},
        {"mand", MS_MANDLOCK},
        {"lazytime", MS_LAZYTIME},
    };
    unsigned long flags = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (mount_has_option(super, words[i].word))
            flags |= words[i].flag;
    return flags;
}
