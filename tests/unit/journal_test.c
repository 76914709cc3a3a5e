/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal has said is on the disk survives the death of its process. */
#include "journal/journal.h"

#include "journal/devices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    char dir[64], file[128];
    uv_loop_t loop;
};

static void place_open(struct place *place)
{
    strcpy(place->dir, "/tmp/journal-test-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    snprintf(place->file, sizeof place->file, "%s/journal.sqlite", place->dir);
    uv_loop_init(&place->loop);
}

static void place_close(struct place *place)
{
    uv_run(&place->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&place->loop), 0);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", place->dir);
    assert_int_equal(system(command), 0);
}

static struct journal *journal_there(struct place *place)
{
    struct error err = {0};
    struct journal *journal = journal_open(&place->loop, place->dir, &err);
    if (journal == NULL)
        fail_msg("%s", err.text);
    return journal;
}

static void begin(struct journal *journal, const char *id, uint64_t started)
{
    struct journal_run run = {.inventory = "/i.yaml",
                              .image = "/x.img",
                              .image_cut = true,
                              .sha256 = "00ff",
                              .minisign = "/key.pub",
                              .keyring = "/ring.gpg",
                              .mode = JOURNAL_MODE_LOCAL,
                              .started = started};
    strcpy(run.id, id);
    struct error err = {0};
    assert_int_equal(journal_begin_run(journal, &run, NULL, 0, &err), 0);
}

static struct journal_target target_at(const char *name, const char *step, const char *outcome)
{
    struct journal_target target = {.has_key = true, .port = 4711, .is_root = true, .mode = 2};
    strcpy(target.name, name);
    strcpy(target.step, step);
    strcpy(target.state, "commit");
    strcpy(target.outcome, outcome);
    strcpy(target.directory, "/dev/shm/x");
    memset(target.key, 0x5a, sizeof target.key);
    return target;
}

static void written_callback(const struct error *err, void *arg)
{
    assert_null(err);
    (*(unsigned *)arg)++;
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    struct journal *journal = journal_there(&place);
    begin(journal, "run-1", 10);
    unsigned written = 0;
    struct journal_target first = target_at("a", "fence", "");
    struct journal_target later = target_at("a", "write", "");
    struct journal_target ended = target_at("b", "done", "flashed");
    journal_put(journal, "run-1", &first, written_callback, &written);
    journal_put(journal, "run-1", &later, written_callback, &written);
    journal_forget(journal_put(journal, "run-1", &ended, written_callback, &written));
    journal_note_image(journal, "run-1", "abcd");
    uv_run(&place.loop, UV_RUN_DEFAULT);
    assert_int_equal(written, 2);
    journal_close(journal);
    uv_run(&place.loop, UV_RUN_DEFAULT);

    journal = journal_there(&place);
    struct journal_run run;
    struct error err = {0};
    assert_int_equal(journal_find_run(journal, NULL, false, &run, &err), 1);
    assert_string_equal(run.id, "run-1");
    assert_string_equal(run.image_id, "abcd");
    assert_true(run.image_cut);
    assert_string_equal(run.sha256, "00ff");
    assert_string_equal(run.minisign, "/key.pub");
    assert_string_equal(run.keyring, "/ring.gpg");
    assert_int_equal(run.mode, JOURNAL_MODE_LOCAL);
    struct journal_target *targets = NULL;
    size_t count = 0;
    assert_int_equal(journal_load_targets(journal, "run-1", &targets, &count, &err), 0);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        bool is_a = strcmp(targets[i].name, "a") == 0;
        assert_string_equal(targets[i].step, is_a ? "write" : "done");
        assert_int_equal(targets[i].has_key, is_a); /* the secret goes with the outcome */
        assert_int_equal(targets[i].port, 4711);
        if (is_a)
            assert_memory_equal(targets[i].key, later.key, sizeof later.key);
    }
    free(targets);
    journal_close(journal);
    place_close(&place);
}

static void the_latest_run_with_something_left_is_found(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    struct journal *journal = journal_there(&place);
    static const struct {
        const char *run, *outcome, *damage;
    } rows[] = {{"1-left", "", "untouched"},
                {"2-failed", "failed", "lost"},
                {"3-waits", "failed", "incomplete"},
                {"4-good", "flashed", "untouched"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(journal, rows[i].run, i + 1);
        struct journal_target target = target_at("a", "done", rows[i].outcome);
        strcpy(target.damage, rows[i].damage);
        journal_put(journal, rows[i].run, &target, NULL, NULL);
    }
    uv_run(&place.loop, UV_RUN_DEFAULT);
    struct journal_run run;
    struct error err = {0};
    assert_int_equal(journal_find_run(journal, NULL, false, &run, &err), 1);
    assert_string_equal(run.id, "3-waits");
    assert_int_equal(journal_find_run(journal, NULL, true, &run, &err), 1);
    assert_string_equal(run.id, "3-waits");
    assert_int_equal(journal_find_run(journal, "1-left", false, &run, &err), 1);
    assert_int_equal(journal_find_run(journal, "none", false, &run, &err), 0);
    struct journal_target *targets = NULL;
    size_t count = 0;
    assert_int_equal(journal_load_targets(journal, "3-waits", &targets, &count, &err), 0);
    assert_true(targets[0].has_key); /* its agent still waits */
    free(targets);
    journal_close(journal);
    place_close(&place);
}

static void kill_callback(const struct error *err, void *arg)
{
    (void)arg;
    if (err == NULL)
        kill(getpid(), SIGKILL);
}

/* The callback is the promise: a process killed in it has left the record behind. */
static void what_was_promised_survives_sigkill(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    pid_t child = fork();
    if (child == 0) {
        struct journal *journal = journal_there(&place);
        begin(journal, "run-1", 1);
        struct journal_target target = target_at("a", "write", "");
        journal_put(journal, "run-1", &target, kill_callback, NULL);
        uv_run(&place.loop, UV_RUN_DEFAULT);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct journal *journal = journal_there(&place);
    struct journal_target *targets = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_int_equal(journal_load_targets(journal, "run-1", &targets, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(targets[0].step, "write");
    free(targets);
    journal_close(journal);
    place_close(&place);
}

static void a_damaged_or_foreign_journal_is_refused(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    struct error err = {0};
    FILE *file = fopen(place.file, "wb");
    fputs("this is no database, and it is long enough to be looked at as one.....................",
          file);
    fclose(file);
    assert_null(journal_open(&place.loop, place.dir, &err));
    assert_int_equal(err.cls, ERROR_IO);
    assert_non_null(strstr(err.text, place.file));
    assert_non_null(strstr(err.text, "is damaged"));
    assert_non_null(strstr(err.remedy, "move it away"));
    assert_null(journal_open(&place.loop, "/proc/none", &err));
    assert_int_equal(err.cls, ERROR_IO);
    place_close(&place);
}

/* Nobody of a run is forgotten, however early it is killed. */
static void a_run_begins_with_all_its_targets(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    struct journal *journal = journal_there(&place);
    struct journal_run run = {.id = "run-1", .inventory = "/i.yaml", .image = "/x", .started = 1};
    struct journal_target targets[3] = {{.name = "a", .step = "idle", .state = "probe"},
                                        {.name = "b", .step = "idle", .state = "probe"},
                                        {.name = "c", .step = "idle", .state = "probe"}};
    struct error err = {0};
    assert_int_equal(journal_begin_run(journal, &run, targets, 3, &err), 0);
    assert_int_equal(journal_begin_run(journal, &run, targets, 1, &err), -1); /* is there already */
    assert_non_null(strstr(err.text, "UNIQUE"));
    struct journal_target *loaded = NULL;
    size_t count = 0;
    assert_int_equal(journal_load_targets(journal, "run-1", &loaded, &count, &err), 0);
    assert_int_equal(count, 3);
    assert_string_equal(loaded[2].name, "c");
    assert_string_equal(loaded[2].step, "idle");
    free(loaded);
    journal_close(journal);
    place_close(&place);
}

/* One page of a journal that was sound is not what was written. */
static void a_journal_with_a_damaged_page_is_refused(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    struct journal *journal = journal_there(&place);
    begin(journal, "run-1", 1000);
    journal_close(journal);
    uv_run(&place.loop, UV_RUN_DEFAULT);
    char page[4096];
    memset(page, 0xaa, sizeof page);
    FILE *file = fopen(place.file, "r+b");
    assert_int_equal(fseek(file, 2 * (long)sizeof page, SEEK_SET), 0);
    assert_int_equal(fwrite(page, sizeof page, 1, file), 1);
    fclose(file);
    struct error err = {0};
    assert_null(journal_open(&place.loop, place.dir, &err));
    assert_non_null(strstr(err.text, "is damaged"));
    place_close(&place);
}

/* The tables as version 1 had them, and a run that was killed in the middle of a write. */
static const char version_1[] =
    "CREATE TABLE runs (id TEXT PRIMARY KEY, inventory TEXT, image TEXT, image_id TEXT,"
    " started INTEGER, ended INTEGER DEFAULT 0, exit_code INTEGER, accept_once INTEGER,"
    " force INTEGER, mode INTEGER);"
    "CREATE TABLE targets (run TEXT, name TEXT, step TEXT, state TEXT, outcome TEXT, error TEXT,"
    " damage TEXT, secret BLOB, directory TEXT, port INTEGER, uid INTEGER, deploys INTEGER,"
    " is_root INTEGER, write_sent INTEGER, via_lifeline INTEGER, boot_id TEXT, machine TEXT,"
    " disk TEXT, host_key TEXT, mode INTEGER, updated INTEGER, PRIMARY KEY (run, name));"
    "CREATE TABLE transitions (number INTEGER PRIMARY KEY, run TEXT, target TEXT, time INTEGER,"
    " step TEXT, state TEXT, outcome TEXT, error TEXT);"
    "CREATE INDEX transitions_of ON transitions (run, target);"
    "INSERT INTO runs (id, inventory, image, started) VALUES ('old', '/i.yaml', '/x.img', 1);"
    "INSERT INTO targets VALUES ('old', 'a', 'write', 'commit', '', '', '', NULL, '/dev/shm/x', "
    "4711,"
    " 0, 1, 1, 1, 0, 'b00', 'armv7l', '/dev/mmcblk0', 'SHA256:x', 2, 3);"
    "PRAGMA user_version=1;";

static void an_older_journal_is_brought_up_to_date(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(place.file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, version_1, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);

    struct journal *journal = journal_there(&place);
    struct journal_run run;
    struct journal_target *targets = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_int_equal(journal_find_run(journal, NULL, false, &run, &err), 1);
    assert_string_equal(run.id, "old");
    assert_int_equal(journal_load_targets(journal, "old", &targets, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(targets[0].step, "write");
    assert_true(targets[0].write_sent);
    assert_int_equal(targets[0].soak_until, 0);
    targets[0].soak_until = 99;
    strcpy(targets[0].step, JOURNAL_SOAK);
    strcpy(targets[0].outcome, "flashed");
    strcpy(targets[0].boot_id_after, "b11");
    strcpy(targets[0].after_fingerprint, "SHA256:y");
    journal_put(journal, "old", &targets[0], NULL, NULL);
    free(targets);
    journal_close(journal);
    uv_run(&place.loop, UV_RUN_DEFAULT);

    journal = journal_there(&place); /* once more: nothing is left to bring up */
    assert_int_equal(journal_find_run(journal, NULL, false, &run, &err), 1); /* its soak is left */
    assert_int_equal(journal_load_targets(journal, "old", &targets, &count, &err), 0);
    assert_int_equal(targets[0].soak_until, 99);
    assert_string_equal(targets[0].boot_id_after, "b11");
    assert_string_equal(targets[0].after_fingerprint, "SHA256:y");
    free(targets);
    journal_close(journal);
    uv_run(&place.loop, UV_RUN_DEFAULT);
    place_close(&place);
}

static void a_newer_journal_is_refused_and_left_as_it_is(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    char set[64];
    sqlite3 *db = NULL;
    struct error err = {0};
    snprintf(set, sizeof set, "PRAGMA user_version=%d", JOURNAL_VERSION + 1);
    assert_int_equal(sqlite3_open(place.file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, set, NULL, NULL, NULL), SQLITE_OK);
    assert_null(journal_open(&place.loop, place.dir, &err));
    assert_int_equal(err.cls, ERROR_IO);
    assert_non_null(strstr(err.text, "version"));
    sqlite3_stmt *tables = NULL;
    sqlite3_prepare_v2(db, "SELECT 1 FROM sqlite_master", -1, &tables, NULL);
    assert_int_equal(sqlite3_step(tables), SQLITE_DONE);
    sqlite3_finalize(tables);
    sqlite3_close(db);
    place_close(&place);
}

static void nobody_else_may_read_it(void **state)
{
    (void)state;
    struct place place;
    place_open(&place);
    struct journal *journal = journal_there(&place);
    struct stat st;
    assert_int_equal(stat(place.file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    journal_close(journal);
    place_close(&place);
}

/* Writes one record of "a" at 10.0.0.1 and returns what is known of the device afterwards. */
static int found_after(struct place *place, const char *step, const char *outcome, bool verified,
                       struct device_record *record)
{
    struct journal *journal = journal_there(place);
    struct journal_target target = target_at("a", step, outcome);
    strcpy(target.address, "10.0.0.1:22");
    strcpy(target.serial, "0xe1");
    strcpy(target.machine, "armv7l");
    strcpy(target.image_id, verified ? "c0ffee" : "");
    target.verified = verified;
    target.write_sent = strcmp(step, "write") == 0;
    journal_put(journal, "run-1", &target, NULL, NULL);
    journal_close(journal); /* waits for the write */
    uv_run(&place->loop, UV_RUN_DEFAULT);
    struct error err = {0};
    journal = journal_there(place);
    assert_int_equal(devices_find(journal, "a", "10.0.0.2:22", record, &err), 0);
    assert_int_equal(devices_find(journal, "b", "10.0.0.1:22", record, &err), 0);
    int found = devices_find(journal, "a", "10.0.0.1:22", record, &err);
    journal_close(journal);
    return found;
}

static void what_a_device_was_flashed_with_is_known_until_it_is_written_to(void **state)
{
    (void)state;
    struct place place;
    struct device_record record;
    place_open(&place);
    assert_int_equal(found_after(&place, "done", "flashed", false, &record), 0);
    assert_int_equal(found_after(&place, "prove", "", true, &record), 0);
    assert_int_equal(found_after(&place, "done", "flashed", true, &record), 1);
    assert_string_equal(record.image_id, "c0ffee");
    assert_string_equal(record.serial, "0xe1");
    assert_string_equal(record.machine, "armv7l");
    assert_true(record.time > 0);
    assert_int_equal(found_after(&place, "done", "unchanged", false, &record), 1);
    assert_int_equal(found_after(&place, "done", "failed", true, &record), 1);
    assert_int_equal(found_after(&place, "write", "", false, &record), 0);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(the_latest_run_with_something_left_is_found),
        cmocka_unit_test(what_was_promised_survives_sigkill),
        cmocka_unit_test(a_damaged_or_foreign_journal_is_refused),
        cmocka_unit_test(a_run_begins_with_all_its_targets),
        cmocka_unit_test(a_journal_with_a_damaged_page_is_refused),
        cmocka_unit_test(what_a_device_was_flashed_with_is_known_until_it_is_written_to),
        cmocka_unit_test(an_older_journal_is_brought_up_to_date),
        cmocka_unit_test(a_newer_journal_is_refused_and_left_as_it_is),
        cmocka_unit_test(nobody_else_may_read_it),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
