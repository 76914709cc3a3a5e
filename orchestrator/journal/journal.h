/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed controller must know to go on: runs, targets and every transition, in SQLite in the
 * state directory, written before the transition takes effect.
 *
 * Writes go through a thread of the journal's own (a commit waits for the disk); those that wait
 * there are committed together. The database is private to the user: it holds the secrets of agents
 * that are still at work, each wiped when its target ends. */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "base/error.h"
#include "protocol/protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define JOURNAL_VERSION 4 /* of the schema (PRAGMA user_version), docs/journal.md */

/* The step of a target that has its outcome, and whose wave has a soak that has not ended. */
#define JOURNAL_SOAK "soak"

#define JOURNAL_MODE_LOCAL 16u

struct journal;
struct journal_write;

struct journal_run {
    char id[PROTOCOL_RUN_ID_MAX + 1];
    char inventory[4096]; /* absolute path */
    char image[4096];     /* absolute path, or address */
    bool image_cut;       /* the address had a user, a password or a query, which are not kept */
    char image_id[2 * PROTOCOL_HASH_SIZE + 1]; /* hex; "" until the image was checked */
    uint64_t started, ended;                   /* Unix time in ms; ended 0: not orderly ended */
    int exit_code;
    bool accept_once, force;
    uint8_t mode; /* enum flash_mode of the command line, or JOURNAL_MODE_LOCAL */
    /* What was asked of the image; "": nothing. A key may stand in place of its file. */
    char sha256[65], minisign[4096], keyring[4096];
};

/* One target as the journal knows it; also what one transition writes. */
struct journal_target {
    char name[256];
    char step[24];    /* internal step, for resuming */
    char state[16];   /* stable state */
    char outcome[16]; /* "" while under way */
    char error[400];
    char damage[16];
    bool has_key; /* an agent was started: the rest is valid */
    uint8_t key[PROTOCOL_KEY_SIZE];
    char directory[192];
    unsigned port, uid, deploys;
    bool is_root;
    bool write_sent;   /* the destructive part may have begun */
    bool via_lifeline; /* ssh was given up */
    char boot_id[40];  /* before the flash */
    char machine[32];
    char disk[64];
    char host_fingerprint[80];
    uint8_t mode; /* enum flash_mode that was decided */
    /* step JOURNAL_SOAK: done but for the soak of its wave. What must still be so at its end. */
    char boot_id_after[40], after_fingerprint[80];
    uint64_t soak_until; /* Unix time in ms, 0: the soak has not begun */
    /* For the table of devices (journal/devices.h); not read back. */
    char address[300], serial[64];
    char image_id[2 * PROTOCOL_HASH_SIZE + 1];
    bool verified; /* the disk was read back, or compared, whole */
};

/* Opens or makes STATE_DIR/journal.sqlite. NULL and ERROR_IO for a damaged or unwritable one. */
struct journal *journal_open(uv_loop_t *loop, const char *state_dir, struct error *err);

/* Waits until all is written, closes, frees. The loop must run once more. NULL is allowed. */
void journal_close(struct journal *journal);

/* Before the loop runs: the run's row and those of all its targets are on the disk when this
 * returns, or none of them. 0 or -1. */
int journal_begin_run(struct journal *journal, const struct journal_run *run,
                      const struct journal_target *targets, size_t count, struct error *err);
/* Later, without waiting. */
void journal_note_image(struct journal *journal, const char *run, const char *image_id);
void journal_end_run(struct journal *journal, const char *run, uint64_t ended, int exit_code);

/* Keeps an event as --json tells it (docs/events.md). target "" : the run's; text: the JSON object,
 * copied. Nobody waits for it: it is written with the next step of any target, or within a second.
 * Dropped when the disk is too slow for them. */
void journal_note_event(struct journal *journal, const char *run, const char *target,
                        const char *event, const char *text);

/* Writes a target's row and a line of its history. The callback (may be NULL) comes on the loop
 * thread once it is on the disk, or with an error. Returns NULL when memory is short. */
typedef void (*journal_callback)(const struct error *err, void *arg);
struct journal_write *journal_put(struct journal *journal, const char *run,
                                  const struct journal_target *target, journal_callback callback,
                                  void *arg);
/* The callback will not come; the write does. */
void journal_forget(struct journal_write *write);

/* While its disk is being taken away from under it (local mode) nothing is written: what is put is
 * dropped, its callback does not come (journal_put returns NULL), and closing leaves the file
 * alone. */
void journal_set_quiet(struct journal *journal, bool quiet);

/* Reading, before the loop runs. id NULL: the latest run that has something left (resume) or, with
 * failed, that has failed targets. 1: found, 0: there is none, -1: error. targets is allocated for
 * the caller. */
int journal_find_run(struct journal *journal, const char *id, bool failed, struct journal_run *run,
                     struct error *err);
int journal_load_targets(struct journal *journal, const char *run, struct journal_target **targets,
                         size_t *count, struct error *err);

#endif
