/* SPDX-License-Identifier: Apache-2.0 */
/* What each device was last flashed with: one row for a target of an inventory, in the journal's
 * database, for `if_used: keep`. */
#ifndef JOURNAL_DEVICES_H
#define JOURNAL_DEVICES_H

#include "journal/journal.h"

#include <sqlite3.h>

struct device_record {
    char image_id[2 * PROTOCOL_HASH_SIZE + 1]; /* hex, of the store */
    char serial[64];                           /* of the disk, "" where it tells none */
    char machine[32];                          /* as uname(2) has it */
    uint64_t time;                             /* Unix time in ms */
};

/* Makes the table where it is missing: inside the transaction of journal_open. 0 or -1. */
int devices_prepare(sqlite3 *db);

/* With every record of a target, in its transaction: one whose disk is about to be written is
 * forgotten, one whose disk was read back or compared whole is remembered. 0 or -1. */
int devices_note(sqlite3 *db, const struct journal_target *target);

/* What is known of the target of that name and address. 1: found, 0: nothing is, -1: error. Reads
 * one row on the calling thread, before the loop runs. */
int devices_find(struct journal *journal, const char *name, const char *address,
                 struct device_record *record, struct error *err);

#endif
