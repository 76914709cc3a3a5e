/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the journal back, for --resume and --retry-failed. */
#include "journal/journal_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void column_copy(sqlite3_stmt *row, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(row, column);
    snprintf(out, size, "%s", text != NULL ? (const char *)text : "");
}

#define RUN_COLUMNS JOURNAL_RUN_COLUMNS " FROM runs "

void journal_read_run(sqlite3_stmt *row, struct journal_run *run)
{
    memset(run, 0, sizeof *run);
    column_copy(row, 0, run->id, sizeof run->id);
    column_copy(row, 1, run->inventory, sizeof run->inventory);
    column_copy(row, 2, run->image, sizeof run->image);
    column_copy(row, 3, run->image_id, sizeof run->image_id);
    run->started = (uint64_t)sqlite3_column_int64(row, 4);
    run->ended = (uint64_t)sqlite3_column_int64(row, 5);
    run->exit_code = sqlite3_column_int(row, 6);
    run->accept_once = sqlite3_column_int(row, 7) != 0;
    run->force = sqlite3_column_int(row, 8) != 0;
    run->mode = (uint8_t)sqlite3_column_int(row, 9);
    run->image_cut = sqlite3_column_int(row, 10) != 0;
    column_copy(row, 11, run->sha256, sizeof run->sha256);
    column_copy(row, 12, run->minisign, sizeof run->minisign);
    column_copy(row, 13, run->keyring, sizeof run->keyring);
}

int journal_find_run(struct journal *journal, const char *id, bool failed, struct journal_run *run,
                     struct error *err)
{
    const char *sql = id != NULL ? RUN_COLUMNS "WHERE id = ?"
                      : failed   ? RUN_COLUMNS
                          "WHERE EXISTS (SELECT 1 FROM targets WHERE run = id AND"
                          " outcome = 'failed') ORDER BY started DESC LIMIT 1"
                               : RUN_COLUMNS
                          "WHERE EXISTS (SELECT 1 FROM targets WHERE run = id AND " JOURNAL_IS_LEFT
                          ") ORDER BY started DESC LIMIT 1";
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(journal->db, sql, -1, &row, NULL) != SQLITE_OK)
        return journal_fail(journal, err, "cannot be read");
    if (id != NULL)
        sqlite3_bind_text(row, 1, id, -1, SQLITE_STATIC);
    int status = sqlite3_step(row);
    if (status == SQLITE_ROW)
        journal_read_run(row, run);
    sqlite3_finalize(row);
    if (status != SQLITE_ROW && status != SQLITE_DONE)
        return journal_fail(journal, err, "cannot be read");
    return status == SQLITE_ROW ? 1 : 0;
}

static void read_target(sqlite3_stmt *row, struct journal_target *target)
{
    memset(target, 0, sizeof *target);
    column_copy(row, 0, target->name, sizeof target->name);
    column_copy(row, 1, target->step, sizeof target->step);
    column_copy(row, 2, target->state, sizeof target->state);
    column_copy(row, 3, target->outcome, sizeof target->outcome);
    column_copy(row, 4, target->error, sizeof target->error);
    column_copy(row, 5, target->damage, sizeof target->damage);
    if (sqlite3_column_bytes(row, 6) == PROTOCOL_KEY_SIZE) {
        memcpy(target->key, sqlite3_column_blob(row, 6), PROTOCOL_KEY_SIZE);
        target->has_key = true;
    }
    column_copy(row, 7, target->directory, sizeof target->directory);
    target->port = (unsigned)sqlite3_column_int(row, 8);
    target->uid = (unsigned)sqlite3_column_int64(row, 9);
    target->deploys = (unsigned)sqlite3_column_int(row, 10);
    target->is_root = sqlite3_column_int(row, 11) != 0;
    column_copy(row, 12, target->boot_id, sizeof target->boot_id);
    column_copy(row, 13, target->machine, sizeof target->machine);
    column_copy(row, 14, target->disk, sizeof target->disk);
    column_copy(row, 15, target->host_fingerprint, sizeof target->host_fingerprint);
    target->mode = (uint8_t)sqlite3_column_int(row, 16);
    target->write_sent = sqlite3_column_int(row, 17) != 0;
    target->via_lifeline = sqlite3_column_int(row, 18) != 0;
    column_copy(row, 19, target->boot_id_after, sizeof target->boot_id_after);
    column_copy(row, 20, target->after_fingerprint, sizeof target->after_fingerprint);
    target->soak_until = (uint64_t)sqlite3_column_int64(row, 21);
}

int journal_load_targets(struct journal *journal, const char *run, struct journal_target **targets,
                         size_t *count, struct error *err)
{
    sqlite3_stmt *row = NULL;
    *targets = NULL;
    *count = 0;
    if (sqlite3_prepare_v2(journal->db,
                           "SELECT name, step, state, outcome, error, damage, secret, directory,"
                           " port, uid, deploys, is_root, boot_id, machine, disk, host_key, mode,"
                           " write_sent, via_lifeline, boot_id_after, host_key_after, soak_until"
                           " FROM targets WHERE run = ? ORDER BY rowid",
                           -1, &row, NULL) != SQLITE_OK)
        return journal_fail(journal, err, "cannot be read");
    sqlite3_bind_text(row, 1, run, -1, SQLITE_STATIC);
    int status = SQLITE_ROW;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct journal_target *grown = realloc(*targets, (*count + 1) * sizeof *grown);
        if (grown == NULL)
            break;
        *targets = grown;
        read_target(row, &grown[(*count)++]);
    }
    sqlite3_finalize(row);
    if (status == SQLITE_DONE)
        return 0;
    free(*targets);
    *targets = NULL;
    return journal_fail(journal, err, "cannot be read");
}
