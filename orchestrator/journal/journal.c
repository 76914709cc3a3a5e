/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/journal_internal.h"

#include "base/clock.h"
#include "journal/devices.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EVENTS_WAIT_NS (1000ull * 1000 * 1000)

/* --- statements --------------------------------------------------------------------------- */

int journal_fail(const struct journal *journal, struct error *err, const char *what)
{
    error_set(err, ERROR_IO, "the journal %s: %s: %s", journal->path, what,
              journal->db != NULL ? sqlite3_errmsg(journal->db) : "out of memory");
    return error_remedy(err, "check room and permissions there, or choose another --state-dir");
}

static int journal_execute(struct journal *journal, const char *sql)
{
    return sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}

static void bind_text(sqlite3_stmt *statement, int place, const char *text)
{
    sqlite3_bind_text(statement, place, text, -1, SQLITE_STATIC);
}

static int statement_run(struct journal *journal, sqlite3_stmt *statement)
{
    (void)journal;
    int status = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return status == SQLITE_DONE ? 0 : -1;
}

static sqlite3_stmt *statement_new(struct journal *journal, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    return sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL) == SQLITE_OK ? statement
                                                                                   : NULL;
}

static int write_target(struct journal *journal, const struct journal_write *write)
{
    const struct journal_target *t = &write->target;
    sqlite3_stmt *row =
        statement_new(journal, "INSERT OR REPLACE INTO targets VALUES"
                               " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    if (row == NULL)
        return -1;
    const char *texts[] = {write->run, t->name, t->step, t->state, t->outcome, t->error, t->damage};
    for (int i = 0; i < 7; i++)
        bind_text(row, i + 1, texts[i]);
    /* The secret is kept as long as an agent may wait for it. */
    if (t->has_key && (t->outcome[0] == '\0' || strcmp(t->damage, "incomplete") == 0))
        sqlite3_bind_blob(row, 8, t->key, sizeof t->key, SQLITE_STATIC);
    bind_text(row, 9, t->directory);
    sqlite3_bind_int(row, 10, (int)t->port);
    sqlite3_bind_int64(row, 11, t->uid);
    sqlite3_bind_int(row, 12, (int)t->deploys);
    sqlite3_bind_int(row, 13, t->is_root);
    sqlite3_bind_int(row, 14, t->write_sent);
    sqlite3_bind_int(row, 15, t->via_lifeline);
    bind_text(row, 16, t->boot_id);
    bind_text(row, 17, t->machine);
    bind_text(row, 18, t->disk);
    bind_text(row, 19, t->host_fingerprint);
    sqlite3_bind_int(row, 20, t->mode);
    sqlite3_bind_int64(row, 21, (sqlite3_int64)clock_unix_ms());
    bind_text(row, 22, t->boot_id_after);
    bind_text(row, 23, t->after_fingerprint);
    sqlite3_bind_int64(row, 24, (sqlite3_int64)t->soak_until);
    if (statement_run(journal, row) != 0 || devices_note(journal->db, t) != 0)
        return -1;
    sqlite3_stmt *line = statement_new(
        journal, "INSERT INTO transitions (run, target, time, step, state, outcome, error)"
                 " VALUES (?,?,?,?,?,?,?)");
    if (line == NULL)
        return -1;
    bind_text(line, 1, write->run);
    bind_text(line, 2, t->name);
    sqlite3_bind_int64(line, 3, (sqlite3_int64)clock_unix_ms());
    bind_text(line, 4, t->step);
    bind_text(line, 5, t->state);
    bind_text(line, 6, t->outcome);
    bind_text(line, 7, t->error);
    return statement_run(journal, line);
}

static int write_image(struct journal *journal, const struct journal_write *write)
{
    sqlite3_stmt *row = statement_new(journal, "UPDATE runs SET image_id = ? WHERE id = ?");
    if (row == NULL)
        return -1;
    bind_text(row, 1, write->image_id);
    bind_text(row, 2, write->run);
    return statement_run(journal, row);
}

static int write_end(struct journal *journal, const struct journal_write *write)
{
    sqlite3_stmt *row =
        statement_new(journal, "UPDATE runs SET ended = ?, exit_code = ? WHERE id = ?");
    if (row == NULL)
        return -1;
    sqlite3_bind_int64(row, 1, (sqlite3_int64)write->ended);
    sqlite3_bind_int(row, 2, write->exit_code);
    bind_text(row, 3, write->run);
    return statement_run(journal, row);
}

static int write_event(struct journal *journal, const struct journal_write *write)
{
    return event_write(journal->db, write);
}

/* --- the thread --------------------------------------------------------------------------- */

/* Commits everything that waited, in one transaction. */
static int commit_batch(struct journal *journal, struct journal_write *first)
{
    static int (*const writers[])(struct journal *,
                                  const struct journal_write *) = {[JOURNAL_TARGET] = write_target,
                                                                   [JOURNAL_IMAGE] = write_image,
                                                                   [JOURNAL_END] = write_end,
                                                                   [JOURNAL_EVENT] = write_event};
    if (journal_execute(journal, "BEGIN IMMEDIATE") != 0)
        return -1;
    for (struct journal_write *write = first; write != NULL; write = write->next) {
        if (writers[write->kind](journal, write) != 0) {
            journal_execute(journal, "ROLLBACK");
            return -1;
        }
    }
    return journal_execute(journal, "COMMIT");
}

/* Events alone wait for company, but not long: each commit is a flush of the disk. */
static void wait_for_writes(struct journal *journal)
{
    while (!journal->urgent && !journal->closing) {
        if (journal->queue == NULL)
            uv_cond_wait(&journal->wake, &journal->lock);
        else if (uv_cond_timedwait(&journal->wake, &journal->lock, EVENTS_WAIT_NS) == UV_ETIMEDOUT)
            break;
    }
}

static void journal_thread(void *arg)
{
    struct journal *journal = arg;
    uv_mutex_lock(&journal->lock);
    while (true) {
        wait_for_writes(journal);
        struct journal_write *batch = journal->queue;
        if (batch == NULL)
            break;
        journal->queue = NULL;
        journal->urgent = false;
        journal->events = 0;
        journal->queue_end = &journal->queue;
        uv_mutex_unlock(&journal->lock);
        struct error err = {0};
        if (commit_batch(journal, batch) != 0)
            journal_fail(journal, &err, "cannot be written");
        uv_mutex_lock(&journal->lock);
        struct journal_write **end = &journal->written;
        while (*end != NULL)
            end = &(*end)->next;
        *end = batch;
        for (struct journal_write *write = batch; write != NULL; write = write->next)
            write->err = err;
        uv_async_send(&journal->async);
    }
    uv_mutex_unlock(&journal->lock);
}

static void write_free(struct journal_write *write)
{
    sodium_memzero(&write->target, sizeof write->target);
    free(write->text);
    free(write);
}

static void written_callback(uv_async_t *async)
{
    struct journal *journal = async->data;
    uv_mutex_lock(&journal->lock);
    struct journal_write *write = journal->written;
    journal->written = NULL;
    uv_mutex_unlock(&journal->lock);
    while (write != NULL) {
        struct journal_write *next = write->next;
        if (write->callback != NULL)
            write->callback(write->err.cls != ERROR_NONE ? &write->err : NULL, write->arg);
        if (write->kind != JOURNAL_EVENT && --journal->pending == 0)
            uv_unref((uv_handle_t *)&journal->async);
        write_free(write);
        write = next;
    }
}

struct journal_write *journal_queue(struct journal *journal, struct journal_write *write)
{
    bool urgent = write->kind != JOURNAL_EVENT;
    if (urgent && journal->pending++ == 0)
        uv_ref((uv_handle_t *)&journal->async);
    uv_mutex_lock(&journal->lock);
    bool first = journal->queue == NULL;
    *journal->queue_end = write;
    journal->queue_end = &write->next;
    journal->urgent |= urgent;
    journal->events += !urgent;
    if (urgent || first)
        uv_cond_signal(&journal->wake);
    uv_mutex_unlock(&journal->lock);
    return write;
}

struct journal_write *journal_write_new(const struct journal *journal, enum journal_kind kind,
                                        const char *run)
{
    struct journal_write *write = journal->quiet ? NULL : calloc(1, sizeof *write);
    if (write == NULL)
        return NULL;
    write->kind = kind;
    snprintf(write->run, sizeof write->run, "%s", run);
    return write;
}

struct journal_write *journal_put(struct journal *journal, const char *run,
                                  const struct journal_target *target, journal_callback callback,
                                  void *arg)
{
    struct journal_write *write = journal_write_new(journal, JOURNAL_TARGET, run);
    if (write == NULL)
        return NULL;
    write->target = *target;
    write->callback = callback;
    write->arg = arg;
    return journal_queue(journal, write);
}

void journal_forget(struct journal_write *write)
{
    if (write != NULL)
        write->callback = NULL;
}

void journal_set_quiet(struct journal *journal, bool quiet)
{
    journal->quiet = quiet;
}

void journal_note_image(struct journal *journal, const char *run, const char *image_id)
{
    struct journal_write *write = journal_write_new(journal, JOURNAL_IMAGE, run);
    if (write == NULL)
        return;
    snprintf(write->image_id, sizeof write->image_id, "%s", image_id);
    journal_queue(journal, write);
}

void journal_end_run(struct journal *journal, const char *run, uint64_t ended, int exit_code)
{
    struct journal_write *write = journal_write_new(journal, JOURNAL_END, run);
    if (write == NULL)
        return;
    write->ended = ended;
    write->exit_code = exit_code;
    journal_queue(journal, write);
}

/* --- opening and closing ------------------------------------------------------------------ */

static int write_run(struct journal *journal, const struct journal_run *run)
{
    sqlite3_stmt *row = statement_new(
        journal, "INSERT INTO runs (id, inventory, image, image_id, started, accept_once, force,"
                 " mode, image_cut, sha256, minisign, keyring) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)");
    if (row == NULL)
        return -1;
    bind_text(row, 1, run->id);
    bind_text(row, 2, run->inventory);
    bind_text(row, 3, run->image);
    bind_text(row, 4, run->image_id);
    sqlite3_bind_int64(row, 5, (sqlite3_int64)run->started);
    sqlite3_bind_int(row, 6, run->accept_once);
    sqlite3_bind_int(row, 7, run->force);
    sqlite3_bind_int(row, 8, run->mode);
    sqlite3_bind_int(row, 9, run->image_cut);
    bind_text(row, 10, run->sha256);
    bind_text(row, 11, run->minisign);
    bind_text(row, 12, run->keyring);
    return statement_run(journal, row);
}

int journal_begin_run(struct journal *journal, const struct journal_run *run,
                      const struct journal_target *targets, size_t count, struct error *err)
{
    bool good = journal_execute(journal, "BEGIN IMMEDIATE") == 0 && write_run(journal, run) == 0;
    for (size_t i = 0; i < count && good; i++) {
        struct journal_write write = {.kind = JOURNAL_TARGET, .target = targets[i]};
        snprintf(write.run, sizeof write.run, "%s", run->id);
        good = write_target(journal, &write) == 0;
    }
    if (good && journal_execute(journal, "COMMIT") == 0)
        return 0;
    journal_fail(journal, err, "cannot be written"); /* before ROLLBACK has its own message */
    journal_execute(journal, "ROLLBACK");
    return -1;
}

static int journal_refuse_damaged(const struct journal *journal, struct error *err)
{
    journal_fail(journal, err, "is damaged");
    return error_remedy(err, "move it away; devices in the middle of a flash need it for "
                             "--resume");
}

/* A new file gets the schema, an older one is brought up to it; one of a newer version, or damaged,
 * is refused before anything runs. */
static int journal_prepare(struct journal *journal, struct error *err)
{
    if (journal_execute(journal, "PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL;"
                                 "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON") != 0)
        return sqlite3_errcode(journal->db) == SQLITE_NOTADB ||
                       sqlite3_errcode(journal->db) == SQLITE_CORRUPT
                   ? journal_refuse_damaged(journal, err)
                   : journal_fail(journal, err, "cannot be used");
    sqlite3_stmt *check = statement_new(journal, "PRAGMA quick_check(1)");
    bool sound = check != NULL && sqlite3_step(check) == SQLITE_ROW &&
                 strcmp((const char *)sqlite3_column_text(check, 0), "ok") == 0;
    sqlite3_finalize(check);
    if (!sound)
        return journal_refuse_damaged(journal, err);
    if (journal_execute(journal, "BEGIN IMMEDIATE") != 0)
        return journal_fail(journal, err, "cannot be written");
    sqlite3_stmt *version = statement_new(journal, "PRAGMA user_version");
    int found = version != NULL && sqlite3_step(version) == SQLITE_ROW
                    ? sqlite3_column_int(version, 0)
                    : -1;
    sqlite3_finalize(version);
    if (found > JOURNAL_VERSION) {
        journal_execute(journal, "ROLLBACK");
        error_set(err, ERROR_IO, "the journal %s is of version %d, this program knows %d",
                  journal->path, found, JOURNAL_VERSION);
        return error_remedy(err, "a newer fleetflash has written it: use that one, or choose "
                                 "another --state-dir");
    }
    if (found >= 0 && schema_upgrade(journal->db, found) != 0)
        found = -1;
    if (found < 0)
        journal_fail(journal, err, "cannot be written"); /* before ROLLBACK has its own message */
    if (journal_execute(journal, found < 0 ? "ROLLBACK" : "COMMIT") != 0)
        return journal_fail(journal, err, "cannot be written");
    return found < 0 ? -1 : 0;
}

static void async_closed_callback(uv_handle_t *handle)
{
    struct journal *journal = handle->data;
    for (struct journal_write *write = journal->written; write != NULL;) {
        struct journal_write *next = write->next;
        write_free(write);
        write = next;
    }
    uv_mutex_destroy(&journal->lock);
    uv_cond_destroy(&journal->wake);
    free(journal);
}

struct journal *journal_open(uv_loop_t *loop, const char *state_dir, struct error *err)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    snprintf(journal->path, sizeof journal->path, "%s/journal.sqlite", state_dir);
    mode_t mask = umask(0077);
    int status =
        sqlite3_open_v2(journal->path, &journal->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
    bool ready = status == SQLITE_OK && journal_prepare(journal, err) == 0;
    umask(mask);
    if (!ready) {
        if (status != SQLITE_OK)
            journal_fail(journal, err, "cannot be opened");
        sqlite3_close(journal->db);
        free(journal);
        return NULL;
    }
    journal->queue_end = &journal->queue;
    uv_mutex_init(&journal->lock);
    uv_cond_init(&journal->wake);
    uv_async_init(loop, &journal->async, written_callback);
    uv_unref((uv_handle_t *)&journal->async);
    journal->async.data = journal;
    if (uv_thread_create(&journal->thread, journal_thread, journal) == 0)
        return journal;
    error_set(err, ERROR_IO, "the journal %s: no thread can be started for it", journal->path);
    error_remedy(err, "end other programs, or raise the limits (ulimit -a)");
    sqlite3_close(journal->db);
    uv_close((uv_handle_t *)&journal->async, async_closed_callback);
    return NULL;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL)
        return;
    uv_mutex_lock(&journal->lock);
    journal->closing = true;
    uv_cond_signal(&journal->wake);
    uv_mutex_unlock(&journal->lock);
    uv_thread_join(&journal->thread);
    if (!journal->quiet) /* else its memory mapped file may be no more */
        sqlite3_close(journal->db);
    uv_close((uv_handle_t *)&journal->async, async_closed_callback);
}
