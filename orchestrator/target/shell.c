/* SPDX-License-Identifier: Apache-2.0 */
#include "target/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *shell_quote(const char *text)
{
    size_t size = 3;
    for (const char *c = text; *c != '\0'; c++)
        size += *c == '\'' ? 4 : 1;
    char *out = malloc(size);
    if (out == NULL)
        return NULL;
    char *o = out;
    *o++ = '\'';
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'') {
            memcpy(o, "'\\''", 4);
            o += 4;
        } else {
            *o++ = *c;
        }
    }
    *o++ = '\'';
    *o = '\0';
    return out;
}

char *shell_as_root(const char *command, bool is_root)
{
    char *quoted = shell_quote(command);
    char *out = NULL;
    if (quoted != NULL && asprintf(&out, "%ssh -c %s", is_root ? "" : "sudo -n ", quoted) < 0)
        out = NULL;
    free(quoted);
    return out;
}

bool shell_value(const char *output, const char *key, char *out, unsigned out_size)
{
    size_t key_size = strlen(key);
    for (const char *line = output; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, key, key_size) != 0 || line[key_size] != '=')
            continue;
        const char *value = line + key_size + 1;
        size_t size = strcspn(value, "\r\n");
        if (size >= out_size)
            size = out_size - 1;
        memcpy(out, value, size);
        out[size] = '\0';
        return true;
    }
    out[0] = '\0';
    return false;
}
