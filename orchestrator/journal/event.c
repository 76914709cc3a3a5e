/* SPDX-License-Identifier: Apache-2.0 */
/* What was told of a run, kept as it was told. */
#include "base/clock.h"
#include "journal/history.h"
#include "journal/journal_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a disk that takes seconds for a commit; each is some 300 bytes of text. */
#define EVENTS_MAX 4096u

void journal_note_event(struct journal *journal, const char *run, const char *target,
                        const char *event, const char *text)
{
    uv_mutex_lock(&journal->lock);
    bool full = journal->events >= EVENTS_MAX;
    uv_mutex_unlock(&journal->lock);
    struct journal_write *write = full ? NULL : journal_write_new(journal, JOURNAL_EVENT, run);
    if (write == NULL)
        return;
    write->text = strdup(text);
    write->ended = clock_unix_ms();
    snprintf(write->event, sizeof write->event, "%s", event);
    snprintf(write->target.name, sizeof write->target.name, "%s", target);
    journal_queue(journal, write);
}

int event_write(sqlite3 *db, const struct journal_write *write)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(db,
                           "INSERT INTO events (run, time, target, event, data) VALUES (?,?,?,?,?)",
                           -1, &row, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_text(row, 1, write->run, -1, SQLITE_STATIC);
    sqlite3_bind_int64(row, 2, (sqlite3_int64)write->ended);
    sqlite3_bind_text(row, 3, write->target.name, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 4, write->event, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 5, write->text, -1, SQLITE_STATIC);
    int status = sqlite3_step(row);
    sqlite3_finalize(row);
    return status == SQLITE_DONE ? 0 : -1;
}

static const char *column(sqlite3_stmt *row, int number)
{
    const unsigned char *text = sqlite3_column_text(row, number);
    return text != NULL ? (const char *)text : "";
}

int history_each_event(struct journal *journal, const char *run,
                       void (*each)(const struct history_event *event, void *arg), void *arg,
                       struct error *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(journal->db,
                           "SELECT time, target, event, data FROM events WHERE run = ?"
                           " ORDER BY number",
                           -1, &row, NULL) != SQLITE_OK)
        return journal_fail(journal, err, "cannot be read");
    sqlite3_bind_text(row, 1, run, -1, SQLITE_STATIC);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        const struct history_event event = {(uint64_t)sqlite3_column_int64(row, 0), column(row, 1),
                                            column(row, 2), column(row, 3)};
        each(&event, arg);
    }
    sqlite3_finalize(row);
    return status == SQLITE_DONE ? 0 : journal_fail(journal, err, "cannot be read");
}
