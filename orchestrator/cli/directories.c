/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/directories.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *join(const char *base, const char *rest)
{
    char *path = NULL;
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    return asprintf(&path, "%.*s/%s", (int)length, base, rest) < 0 ? NULL : path;
}

char *directory_default(enum directory directory, uid_t uid, const char *xdg, const char *home)
{
    static const struct {
        const char *root, *home;
    } places[] = {
        [DIRECTORY_STATE] = {"/var/lib", ".local/state/fleetflash"},
        [DIRECTORY_CACHE] = {"/var/cache", ".cache/fleetflash"},
    };
    if (xdg != NULL && xdg[0] == '/')
        return join(xdg, "fleetflash");
    if (uid == 0)
        return join(places[directory].root, "fleetflash");
    if (home != NULL && home[0] == '/')
        return join(home, places[directory].home);
    return NULL;
}

char *directory_mine(enum directory directory)
{
    const char *home = getenv("HOME");
    if (home == NULL || home[0] != '/') {
        const struct passwd *user = getpwuid(geteuid());
        home = user == NULL ? NULL : user->pw_dir;
    }
    return directory_default(
        directory, geteuid(),
        getenv(directory == DIRECTORY_STATE ? "XDG_STATE_HOME" : "XDG_CACHE_HOME"), home);
}
