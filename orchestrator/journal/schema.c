/* SPDX-License-Identifier: Apache-2.0 */
/* The tables, and how a database of an earlier version gets what was added since. */
#include "journal/devices.h"
#include "journal/journal_internal.h"

#include <stdio.h>

/* What makes version n + 1 of version n. Those that were once released stay as they are. */
static const char *const steps[JOURNAL_VERSION] = {
    /* 1 */
    "CREATE TABLE runs (id TEXT PRIMARY KEY, inventory TEXT, image TEXT, image_id TEXT,"
    " started INTEGER, ended INTEGER DEFAULT 0, exit_code INTEGER, accept_once INTEGER,"
    " force INTEGER, mode INTEGER);"
    "CREATE TABLE targets (run TEXT, name TEXT, step TEXT, state TEXT, outcome TEXT, error TEXT,"
    " damage TEXT, secret BLOB, directory TEXT, port INTEGER, uid INTEGER, deploys INTEGER,"
    " is_root INTEGER, write_sent INTEGER, via_lifeline INTEGER, boot_id TEXT, machine TEXT, disk "
    "TEXT, host_key TEXT, mode INTEGER,"
    " updated INTEGER, PRIMARY KEY (run, name));"
    "CREATE TABLE transitions (number INTEGER PRIMARY KEY, run TEXT, target TEXT, time INTEGER,"
    " step TEXT, state TEXT, outcome TEXT, error TEXT);"
    "CREATE INDEX transitions_of ON transitions (run, target);",
    /* 2: soak */
    "ALTER TABLE targets ADD COLUMN boot_id_after TEXT DEFAULT '';"
    "ALTER TABLE targets ADD COLUMN host_key_after TEXT DEFAULT '';"
    "ALTER TABLE targets ADD COLUMN soak_until INTEGER DEFAULT 0;",
    /* 3: what --resume asks of the image */
    "ALTER TABLE runs ADD COLUMN image_cut INTEGER DEFAULT 0;"
    "ALTER TABLE runs ADD COLUMN sha256 TEXT DEFAULT '';"
    "ALTER TABLE runs ADD COLUMN minisign TEXT DEFAULT '';"
    "ALTER TABLE runs ADD COLUMN keyring TEXT DEFAULT '';",
    /* 4: what was told */
    "CREATE TABLE events (number INTEGER PRIMARY KEY, run TEXT, time INTEGER, target TEXT,"
    " event TEXT, data TEXT);"
    "CREATE INDEX events_of ON events (run);",
};

int schema_upgrade(sqlite3 *db, int found)
{
    char set[64];
    for (int version = found; version < JOURNAL_VERSION; version++) {
        if (sqlite3_exec(db, steps[version], NULL, NULL, NULL) != SQLITE_OK)
            return -1;
    }
    snprintf(set, sizeof set, "PRAGMA user_version=%d", JOURNAL_VERSION);
    if (found < JOURNAL_VERSION && sqlite3_exec(db, set, NULL, NULL, NULL) != SQLITE_OK)
        return -1;
    return devices_prepare(db);
}
