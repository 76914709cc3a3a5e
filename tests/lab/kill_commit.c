/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into the program, ends it by SIGKILL at the n-th commit of its journal, before it or
 * after it: KILL_COMMIT=before:7. The program itself knows nothing of it. */
#include <dlfcn.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*exec_function)(sqlite3 *, const char *, int (*)(void *, int, char **, char **),
                             void *, char **);

/* The journal's thread commits; the one that opens it does so before there are others. */
static unsigned commits;

int sqlite3_exec(sqlite3 *db, const char *sql, int (*callback)(void *, int, char **, char **),
                 void *arg, char **message)
{
    exec_function next;
    void *symbol = dlsym(RTLD_NEXT, "sqlite3_exec");
    memcpy(&next, &symbol, sizeof next);
    const char *wish = getenv("KILL_COMMIT");
    unsigned number = 0;
    char when[8] = "";
    bool is_commit = strcmp(sql, "COMMIT") == 0;
    if (wish != NULL && sscanf(wish, "%7[a-z]:%u", when, &number) != 2)
        abort();
    bool now = is_commit && wish != NULL && ++commits == number;
    if (now && strcmp(when, "before") == 0) {
        usleep(300000); /* who does not wait for the journal gets on meanwhile, and is found out */
        kill(getpid(), SIGKILL);
    }
    int status = next(db, sql, callback, arg, message);
    if (now)
        kill(getpid(), SIGKILL);
    return status;
}
