/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the journal: shared by journal.c (writing) and read.c. */
#ifndef JOURNAL_JOURNAL_INTERNAL_H
#define JOURNAL_JOURNAL_INTERNAL_H

#include "journal/journal.h"

#include <sqlite3.h>

enum journal_kind { JOURNAL_TARGET, JOURNAL_IMAGE, JOURNAL_END, JOURNAL_EVENT };

struct journal_write {
    struct journal_write *next;
    enum journal_kind kind;
    char run[PROTOCOL_RUN_ID_MAX + 1];
    struct journal_target target;
    char image_id[2 * PROTOCOL_HASH_SIZE + 1];
    uint64_t ended;
    int exit_code;
    char event[32], *text; /* of an event; text is the write's */
    struct error err;
    journal_callback callback;
    void *arg;
};

struct journal {
    char path[4096];
    sqlite3 *db; /* the thread's, except before the loop runs */
    uv_thread_t thread;
    uv_async_t async;
    unsigned pending; /* writes not yet reported, but events: they keep the loop alive */
    bool quiet;       /* journal_set_quiet; the loop thread's */
    uv_mutex_t lock;  /* of what follows */
    uv_cond_t wake;
    struct journal_write *queue, **queue_end;
    struct journal_write *written;
    unsigned events; /* that wait */
    bool urgent;     /* there is more in the queue than events */
    bool closing;
};

/* Columns of a run's row, as journal_read_run takes them. */
#define JOURNAL_RUN_COLUMNS                                                                        \
    "SELECT id, inventory, image, image_id, started, ended, exit_code, accept_once, force, "       \
    "runs.mode, image_cut, sha256, minisign, keyring"
#define JOURNAL_RUN_COLUMN_COUNT 14

/* What is left of a run: targets without an outcome, not started, with a half-written disk, or in
 * the middle of a soak. */
#define JOURNAL_IS_LEFT                                                                            \
    "(outcome IN ('', 'not-started') OR damage = 'incomplete' OR step = '" JOURNAL_SOAK "')"

void journal_read_run(sqlite3_stmt *row, struct journal_run *run);

/* schema.c: brings a database of any earlier version (0: a new one) to JOURNAL_VERSION, inside the
 * caller's transaction. 0, or -1 as SQLite tells. */
int schema_upgrade(sqlite3 *db, int found);

/* What journal_put and others make and queue; NULL when memory is short or the journal is quiet. */
struct journal_write *journal_write_new(const struct journal *journal, enum journal_kind kind,
                                        const char *run);
struct journal_write *journal_queue(struct journal *journal, struct journal_write *write);

/* event.c: writes the row of an event, in the caller's transaction. */
int event_write(sqlite3 *db, const struct journal_write *write);

int journal_fail(const struct journal *journal, struct error *err, const char *what);

#endif
