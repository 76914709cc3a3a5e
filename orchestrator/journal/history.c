/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/history.h"

#include "journal/journal_internal.h"

#include <stdio.h>
#include <string.h>

static sqlite3_stmt *query(struct journal *journal, const char *sql, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL) == SQLITE_OK)
        return statement;
    journal_fail(journal, err, "cannot be read");
    return NULL;
}

static int query_end(struct journal *journal, sqlite3_stmt *statement, int status,
                     struct error *err)
{
    sqlite3_finalize(statement);
    return status == SQLITE_DONE ? 0 : journal_fail(journal, err, "cannot be read");
}

int history_each_run(struct journal *journal,
                     void (*each)(const struct journal_run *run,
                                  const struct history_counts *counts, void *arg),
                     void *arg, struct error *err)
{
    sqlite3_stmt *row =
        query(journal,
              JOURNAL_RUN_COLUMNS
              ", COUNT(name), SUM(outcome = 'flashed'), SUM(outcome = 'unchanged'),"
              " SUM(outcome = 'failed'), SUM(outcome = 'skipped'), SUM(outcome = 'not-started'),"
              " SUM(outcome = '') FROM runs LEFT JOIN targets ON run = id GROUP BY id"
              " ORDER BY started DESC, id DESC",
              err);
    if (row == NULL)
        return -1;
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct journal_run run;
        struct history_counts counts;
        unsigned *const fields[] = {&counts.devices,  &counts.flashed, &counts.unchanged,
                                    &counts.failed,   &counts.skipped, &counts.not_started,
                                    &counts.under_way};
        journal_read_run(row, &run);
        for (int i = 0; i < (int)(sizeof fields / sizeof *fields); i++)
            *fields[i] = (unsigned)sqlite3_column_int(row, JOURNAL_RUN_COLUMN_COUNT + i);
        each(&run, &counts, arg);
    }
    return query_end(journal, row, status, err);
}

static const char *column(sqlite3_stmt *row, int number)
{
    const unsigned char *text = sqlite3_column_text(row, number);
    return text != NULL ? (const char *)text : "";
}

int history_each_step(struct journal *journal, const char *run, const char *target,
                      void (*each)(const struct history_step *step, void *arg), void *arg,
                      struct error *err)
{
    sqlite3_stmt *row = query(journal,
                              "SELECT time, step, state, outcome, error FROM transitions"
                              " WHERE run = ? AND target = ? ORDER BY number",
                              err);
    if (row == NULL)
        return -1;
    sqlite3_bind_text(row, 1, run, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 2, target, -1, SQLITE_STATIC);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        const struct history_step step = {(uint64_t)sqlite3_column_int64(row, 0), column(row, 1),
                                          column(row, 2), column(row, 3), column(row, 4)};
        each(&step, arg);
    }
    return query_end(journal, row, status, err);
}

int history_resolve(struct journal *journal, const char *text, char id[PROTOCOL_RUN_ID_MAX + 1],
                    struct error *err)
{
    char found[2][PROTOCOL_RUN_ID_MAX + 1] = {"", ""};
    unsigned count = 0;
    sqlite3_stmt *row = query(
        journal, "SELECT id FROM runs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id = ?1 DESC",
        err);
    if (row == NULL)
        return -1;
    sqlite3_bind_text(row, 1, text, -1, SQLITE_STATIC);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW && count < 2)
        snprintf(found[count++], sizeof *found, "%s", column(row, 0));
    if (status == SQLITE_ROW)
        status = SQLITE_DONE; /* more than two are too many too */
    if (query_end(journal, row, status, err) != 0)
        return -1;
    if (count == 0) {
        error_set(err, ERROR_USAGE, "there is no run %.60s in the journal", text);
        return error_remedy(err, "look at fleetflash --history");
    }
    if (count > 1 && strcmp(found[0], text) != 0) {
        error_set(err, ERROR_USAGE, "'%.60s' may be run %s or %s", text, found[0], found[1]);
        return error_remedy(err, "write more of it");
    }
    memcpy(id, found[0], sizeof *found);
    return 0;
}

/* Days before now; 0, the beginning, where the clock does not go back so far. */
static unsigned long long days_ago(uint64_t now, uint64_t days)
{
    uint64_t past = days * 24 * 3600 * 1000;
    return now > past ? now - past : 0;
}

int history_prune(struct journal *journal, uint64_t now, struct error *err)
{
    char sql[1000];
    snprintf(
        sql, sizeof sql,
        "BEGIN IMMEDIATE;"
        /* by their runs, which are still there: through the index, events are many */
        "DELETE FROM events WHERE run IN (SELECT id FROM runs WHERE started < %llu OR id NOT IN"
        " (SELECT id FROM runs ORDER BY started DESC LIMIT %u));"
        "DELETE FROM runs WHERE (started < %llu OR id NOT IN"
        " (SELECT id FROM runs ORDER BY started DESC LIMIT %u))"
        " AND NOT EXISTS (SELECT 1 FROM targets WHERE run = id AND " JOURNAL_IS_LEFT ");"
        "DELETE FROM targets WHERE run NOT IN (SELECT id FROM runs);"
        "DELETE FROM transitions WHERE run NOT IN (SELECT id FROM runs);"
        "COMMIT",
        days_ago(now, HISTORY_EVENT_DAYS), HISTORY_EVENT_RUNS, days_ago(now, HISTORY_DAYS),
        HISTORY_RUNS);
    if (sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    journal_fail(journal, err, "cannot be written");
    sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}
