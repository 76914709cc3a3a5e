/* SPDX-License-Identifier: Apache-2.0 */
/* --report FILE.json: what it says, how it gets there, and that docs/report.md lists each name. */
#include "report/report_file.h"
#include "report_fake.h"

#include <errno.h>
#include <jansson.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64], file[96];
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->folder, "/tmp/report-test-XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    snprintf(place->file, sizeof place->file, "%s/run.json", place->folder);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    struct place *place = *state;
    snprintf(command, sizeof command, "rm -r %s", place->folder);
    int result = system(command);
    free(place);
    return result;
}

static struct fake *ended_run(void)
{
    struct fake *fake = fake_new(3);
    fake_image(fake);
    fake_facts(fake, 0);
    fake_flashed(fake, 0);
    fake->targets[0].state = STATE_TRANSFER;
    status_spend(&fake->targets[0], 1500, FAKE_STARTED + 2500);
    fake->targets[0].state = STATE_REACHABILITY;
    strcpy(fake->targets[0].host_fingerprint, "SHA256:abc");
    fake_flashed(fake, 2);
    fake->targets[2].facts = (struct target_facts){.known = true, .disk = "mmc 0"};
    fake_failed(fake, 1, "no answer from \xff\x1b", "power?");
    fake_ended(fake, 75250, 1);
    return fake;
}

static json_t *at(const json_t *record, const char *key)
{
    json_t *value = json_object_get(record, key);
    assert_non_null(value);
    return value;
}

static void test_content(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    struct fake *fake = ended_run();
    assert_int_equal(report_check_writable(place->file, &err), 0);
    assert_int_equal(report_write(&fake->run, place->file, &err), 0);
    json_t *run = json_load_file(place->file, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(run);
    assert_string_equal(json_string_value(at(run, "start")), "2026-11-20T23:01:05.123Z");
    assert_string_equal(json_string_value(at(run, "end")), "2026-11-20T23:02:20.373Z");
    assert_float_equal(json_real_value(at(run, "seconds")), 75.25, 0.0001);
    assert_int_equal(json_integer_value(at(run, "exit_code")), 1);
    assert_int_equal(json_integer_value(at(at(run, "image"), "size")), 2ll << 30);
    assert_int_equal(json_integer_value(at(at(run, "counts"), "failed")), 1);
    const json_t *good = json_array_get(at(run, "targets"), 0);
    assert_string_equal(json_string_value(at(good, "name")), "pi-01");
    assert_string_equal(json_string_value(at(good, "address")), "10.0.0.11:22");
    assert_string_equal(json_string_value(at(good, "outcome")), "flashed");
    assert_string_equal(json_string_value(at(good, "state")), "reachability");
    assert_string_equal(json_string_value(at(good, "mode")), "stage");
    assert_true(json_is_null(at(good, "error")));
    assert_int_equal(json_integer_value(at(good, "bytes_written")), 600 << 20);
    assert_float_equal(json_real_value(at(at(good, "seconds"), "transfer")), 1.5, 0.0001);
    const json_t *span = json_array_get(at(good, "timeline"), 0);
    assert_string_equal(json_string_value(at(span, "state")), "transfer");
    assert_string_equal(json_string_value(at(span, "start")), "2026-11-20T23:01:06.123Z");
    assert_string_equal(json_string_value(at(span, "end")), "2026-11-20T23:01:07.623Z");
    assert_string_equal(json_string_value(at(at(good, "disk"), "model")), "SC32G");
    assert_int_equal(json_integer_value(at(at(good, "disk"), "size")), 31914983424);
    assert_string_equal(json_string_value(at(good, "host_key_before")), "SHA256:abc");
    const json_t *bad = json_array_get(at(run, "targets"), 1);
    assert_string_equal(json_string_value(at(at(bad, "error"), "text")),
                        "no answer from \xef\xbf\xbd\x1b");
    assert_true(json_is_null(at(bad, "disk")));
    const json_t *unseen = at(json_array_get(at(run, "targets"), 2), "disk");
    assert_string_equal(json_string_value(at(unseen, "path")), "mmc 0");
    assert_true(json_is_null(at(unseen, "size")));
    json_decref(run);
    fake_free(fake);
}

static size_t files_in(const char *folder)
{
    char command[128];
    unsigned count = 0;
    snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    FILE *pipe = popen(command, "r");
    assert_int_equal(fscanf(pipe, "%u", &count), 1);
    pclose(pipe);
    return count;
}

/* Spans of one state that follow each other are one; when there are too many, the last one grows.
 */
static void test_spans(void **state)
{
    (void)state;
    struct target_status status = {.state = STATE_PROBE};
    status_spend(&status, 500, 1000);
    status_spend(&status, 500, 1500);
    assert_int_equal(status.span_count, 1);
    status_spend(&status, 100, 9000); /* after a pause */
    assert_int_equal(status.span_count, 2);
    assert_int_equal(status.spans[0].to_ms, 1500);
    assert_int_equal(status.spans[1].from_ms, 8900);
    for (unsigned i = 0; i < 3 * STATUS_SPANS_MAX; i++) {
        status.state = i % 2 == 0 ? STATE_TRANSFER : STATE_PROBE;
        status_spend(&status, 10, 10000 + 10 * i);
    }
    assert_int_equal(status.span_count, STATUS_SPANS_MAX);
    assert_int_equal(status.spans[STATUS_SPANS_MAX - 1].to_ms,
                     10000 + 10 * (3 * STATUS_SPANS_MAX - 1));
    assert_int_equal(status.state_ms[STATE_TRANSFER], 15 * STATUS_SPANS_MAX);
}

/* The old report is replaced as a whole, links are followed, nothing else is left. */
static void test_replaced(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    char link[96];
    struct stat status;
    struct fake *fake = ended_run();
    snprintf(link, sizeof link, "%s/latest.json", place->folder);
    assert_int_equal(symlink("run.json", link), 0);
    assert_int_equal(report_check_writable(link, &err), -1); /* leads nowhere yet */
    FILE *old = fopen(place->file, "w");
    fputs("old", old);
    fclose(old);
    assert_int_equal(report_check_writable(link, &err), 0);
    assert_int_equal(files_in(place->folder), 2);
    assert_int_equal(report_write(&fake->run, link, &err), 0);
    assert_int_equal(files_in(place->folder), 2);
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    json_t *run = json_load_file(place->file, 0, NULL);
    assert_non_null(run);
    json_decref(run);
    fake_free(fake);
}

static void assert_refused(const char *path, const char *why)
{
    struct error err = {0};
    assert_int_equal(report_check_writable(path, &err), -1);
    assert_int_equal(err.cls, ERROR_USAGE);
    if (strstr(err.text, why) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void test_refused_before_the_run(void **state)
{
    struct place *place = *state;
    char path[160];
    assert_refused("run.txt", "not known");
    assert_refused("report", "not known");
    assert_refused("/tmp/x.json/report", "not known");
    assert_refused("/dev/null", "not known");
    snprintf(path, sizeof path, "%s/none/run.json", place->folder);
    assert_refused(path, "No such file");
    snprintf(path, sizeof path, "%s/folder.json", place->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(path, "no regular file");
    snprintf(path, sizeof path, "%s/pipe.json", place->folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(path, "no regular file");
    assert_refused("/proc/run.json", "cannot be written");
    assert_int_equal(files_in(place->folder), 2);
}

static void test_write_fails(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    char path[160];
    struct fake *fake = ended_run();
    snprintf(path, sizeof path, "%s/none/run.json", place->folder);
    assert_int_equal(report_write(&fake->run, path, &err), -1);
    assert_int_equal(err.cls, ERROR_IO);
    assert_non_null(strstr(err.text, path));
    fake_free(fake);
}

/* --- the documentation
 * ---------------------------------------------------------------------------- */

/* "image.sha256", "targets[].disk.size" for every name below value. */
static void collect(json_t *names, const char *prefix, json_t *value)
{
    char name[200];
    const char *key;
    json_t *member;
    if (json_is_array(value)) {
        size_t i;
        snprintf(name, sizeof name, "%s[]", prefix);
        json_array_foreach(value, i, member) collect(names, name, member);
    }
    json_object_foreach(value, key, member)
    {
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
        json_object_set_new(names, name, json_true());
        collect(names, name, member);
    }
}

static json_t *documented_names(void)
{
    json_t *names = json_object();
    FILE *file = fopen(SOURCE_DIR "/docs/report.md", "r");
    assert_non_null(file);
    char line[1000], name[200];
    while (fgets(line, sizeof line, file) != NULL && strncmp(line, "## JUnit", 8) != 0) {
        if (sscanf(line, "| `%199[^`]` |", name) == 1)
            json_object_set_new(names, name, json_true());
    }
    fclose(file);
    return names;
}

static void assert_all_in(json_t *names, const json_t *others, const char *where)
{
    const char *name;
    json_t *value;
    json_object_foreach(names, name, value)
    {
        if (json_object_get(others, name) == NULL)
            fail_msg("%s is not %s", name, where);
    }
}

static void test_documentation(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    struct fake *fake = ended_run();
    assert_int_equal(report_write(&fake->run, place->file, &err), 0);
    json_t *run = json_load_file(place->file, 0, NULL);
    json_t *written = json_object();
    json_t *documented = documented_names();
    collect(written, "", run);
    assert_true(json_object_size(written) > 50);
    assert_all_in(written, documented, "documented");
    assert_all_in(documented, written, "written");
    json_decref(run);
    json_decref(written);
    json_decref(documented);
    fake_free(fake);
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_content, set_up, tear_down),
        cmocka_unit_test(test_spans),
        cmocka_unit_test_setup_teardown(test_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_before_the_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_documentation, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
