/* SPDX-License-Identifier: Apache-2.0 */
#include "base/directory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int directory_make(const char *path, struct error *err)
{
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return error_set(err, ERROR_IO, "cannot make the directory %s: %s", part,
                             strerror(errno));
        if (slash == NULL)
            return 0;
        *slash = '/';
    }
}
