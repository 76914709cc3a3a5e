/* SPDX-License-Identifier: Apache-2.0 */
#include "base/place.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *place_find(const char *build_tree, const char *in_build, const char *relative)
{
    char program[PATH_MAX], folder[2 * PATH_MAX];
    size_t tree = strlen(build_tree);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    if (strncmp(program, build_tree, tree) == 0 && program[tree] == '/') {
        snprintf(folder, sizeof folder, "%s/%s", build_tree, in_build);
        return strdup(folder);
    }
    char *slash = strrchr(program, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(folder, sizeof folder, "%s/%s", program, relative);
    char *whole = realpath(folder, NULL);
    return whole != NULL ? whole : strdup(folder);
}
