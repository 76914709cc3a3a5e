/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/devices.h"

#include "base/clock.h"
#include "journal/journal_internal.h"

#include <stdio.h>
#include <string.h>

int devices_prepare(sqlite3 *db)
{
    return sqlite3_exec(db,
                        "CREATE TABLE IF NOT EXISTS devices (name TEXT, address TEXT, serial TEXT,"
                        " machine TEXT, image_id TEXT, time INTEGER, PRIMARY KEY (name, address))",
                        NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : -1;
}

/* Runs a statement whose places are all texts but for ?6, the time. */
static int devices_run(sqlite3 *db, const char *sql, const struct journal_target *target, bool all)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        return -1;
    const char *texts[] = {target->name, target->address, target->serial, target->machine,
                           target->image_id};
    for (int i = 0; i < (all ? 5 : 2); i++)
        sqlite3_bind_text(row, i + 1, texts[i], -1, SQLITE_STATIC);
    if (all)
        sqlite3_bind_int64(row, 6, (sqlite3_int64)clock_unix_ms());
    int status = sqlite3_step(row);
    sqlite3_finalize(row);
    return status == SQLITE_DONE ? 0 : -1;
}

int devices_note(sqlite3 *db, const struct journal_target *target)
{
    if (target->verified &&
        (strcmp(target->outcome, "flashed") == 0 || strcmp(target->outcome, "unchanged") == 0))
        return devices_run(db, "INSERT OR REPLACE INTO devices VALUES (?,?,?,?,?,?)", target, true);
    if (target->write_sent)
        return devices_run(db, "DELETE FROM devices WHERE name = ? AND address = ?", target, false);
    return 0;
}

int devices_find(struct journal *journal, const char *name, const char *address,
                 struct device_record *record, struct error *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(journal->db,
                           "SELECT serial, machine, image_id, time FROM devices"
                           " WHERE name = ? AND address = ?",
                           -1, &row, NULL) != SQLITE_OK)
        return journal_fail(journal, err, "cannot be read");
    sqlite3_bind_text(row, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 2, address, -1, SQLITE_STATIC);
    int status = sqlite3_step(row);
    if (status == SQLITE_ROW) {
        memset(record, 0, sizeof *record);
        snprintf(record->serial, sizeof record->serial, "%s",
                 (const char *)sqlite3_column_text(row, 0));
        snprintf(record->machine, sizeof record->machine, "%s",
                 (const char *)sqlite3_column_text(row, 1));
        snprintf(record->image_id, sizeof record->image_id, "%s",
                 (const char *)sqlite3_column_text(row, 2));
        record->time = (uint64_t)sqlite3_column_int64(row, 3);
    }
    sqlite3_finalize(row);
    if (status != SQLITE_ROW && status != SQLITE_DONE)
        return journal_fail(journal, err, "cannot be read");
    return status == SQLITE_ROW ? 1 : 0;
}
