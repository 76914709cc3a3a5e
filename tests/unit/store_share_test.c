/* SPDX-License-Identifier: Apache-2.0 */
/* The cache directory under strain: two runs at once, killed runs, full file systems, its limit,
 * cancelling. */
#include "store/cache.h"
#include "store_help.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_SIZE (4u * 1024 * 1024)

static int enter(void **state)
{
    (void)state;
    scratch_enter();
    image_make("raw", IMAGE_SIZE);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    scratch_leave();
    return 0;
}

static struct prepared prepare(uv_loop_t *loop, const char *image, uint64_t limit)
{
    struct prepared prepared;
    struct store_options options = {.image = image, .cache_dir = "cache", .cache_limit = limit};
    uv_loop_init(loop);
    prepare_wait(loop, &options, &prepared);
    return prepared;
}

/* Prepares in a process of its own; its exit status is 0 when the store is right. */
static pid_t prepare_elsewhere(void)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    uv_loop_t loop;
    struct prepared prepared = prepare(&loop, "raw", 0);
    if (prepared.store == NULL)
        _exit(1);
    store_assert_equals(prepared.store, "raw");
    _exit(0);
}

static void two_runs_at_once(void **state)
{
    (void)state;
    pid_t children[3];
    for (unsigned i = 0; i < 3; i++)
        children[i] = prepare_elsewhere();
    for (unsigned i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(files_ending("cache", ".spool"), 1);
    assert_int_equal(files_ending("cache", ".partial"), 0);
}

/* Another builder, in a thread: file locks belong to open files, not to processes. */
struct second {
    struct cache *cache;
    struct source_identity identity;
    struct cache_partial partial;
    atomic_bool cancelled;
    int result;
    struct error err;
};

static void *second_main(void *arg)
{
    struct second *second = arg;
    second->result = cache_begin(second->cache, &second->identity, &second->partial,
                                 &second->cancelled, &second->err);
    return NULL;
}

/* How many descriptors of this process lead to that file. */
static unsigned descriptors_of(const char *path)
{
    unsigned count = 0;
    struct stat wanted, status;
    assert_int_equal(stat(path, &wanted), 0);
    for (int fd = 0; fd < 256; fd++)
        count += fstat(fd, &status) == 0 && status.st_ino == wanted.st_ino &&
                 status.st_dev == wanted.st_dev;
    return count;
}

static void open_cache(struct cache *cache, struct source_identity *identity)
{
    struct error err;
    memset(identity, 0, sizeof *identity);
    identity->known = true;
    strcpy(identity->path, "/some/image");
    assert_int_equal(cache_open(cache, "cache", 0, &err), 0);
}

static void the_second_builder_waits_for_the_first(void **state)
{
    (void)state;
    struct cache cache;
    struct cache_partial first;
    struct second second = {.cache = &cache};
    struct error err;
    pthread_t thread;
    char sha256[65];
    memset(sha256, 'a', 64);
    sha256[64] = '\0';
    open_cache(&cache, &second.identity);
    assert_int_equal(cache_begin(&cache, &second.identity, &first, &second.cancelled, &err), 1);
    pthread_create(&thread, NULL, second_main, &second);
    while (descriptors_of(only_file_ending("cache", ".partial")) < 2)
        usleep(1000);
    int fd = cache_commit(&cache, &first, sha256, 1, &err);
    assert_true(fd >= 0); /* stays open, so stays locked */
    pthread_join(thread, NULL);
    assert_int_equal(second.result, 0); /* look again */
    assert_int_equal(files_ending("cache", ".partial"), 0);
    assert_int_equal(files_ending("cache", ".spool"), 1);
    close(fd);
    cache_close(&cache);
}

static void waiting_can_be_cancelled(void **state)
{
    (void)state;
    struct cache cache;
    struct cache_partial first;
    struct second second = {.cache = &cache};
    struct error err;
    pthread_t thread;
    open_cache(&cache, &second.identity);
    assert_int_equal(cache_begin(&cache, &second.identity, &first, &second.cancelled, &err), 1);
    pthread_create(&thread, NULL, second_main, &second);
    atomic_store(&second.cancelled, true); /* it cannot get the lock, so this is how it ends */
    pthread_join(thread, NULL);
    assert_int_equal(second.result, -1);
    assert_int_equal(second.err.cls, ERROR_CANCELLED);
    assert_int_equal(files_ending("cache", ".partial"), 1);
    cache_abandon(&cache, &first);
    assert_int_equal(files_ending("cache", ".partial"), 0);
    cache_close(&cache);
}

/* A run that is killed in the middle (it waits for more input) leaves a file that the next one
 * removes. */
static void killed_run_leaves_no_trace(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        uv_loop_t loop;
        dup2(ends[0], STDIN_FILENO);
        prepare(&loop, "-", 0);
        _exit(0);
    }
    size_t size;
    uint8_t *image = file_read("raw", &size);
    assert_int_equal(write(ends[1], image, 700000), 700000);
    free(image);
    while (files_ending("cache", ".partial") == 0)
        usleep(1000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(files_ending("cache", ".partial"), 1);
    uv_loop_t loop;
    struct prepared prepared = prepare(&loop, "raw", 0);
    store_assert_equals(prepared.store, "raw");
    store_finish(&loop, prepared.store);
    assert_int_equal(files_ending("cache", ".partial"), 0);
    close(ends[0]);
    close(ends[1]);
}

/* What a killed run left under the very name that the next one builds under. */
static void leftovers_are_overwritten(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 5; round++) {
        pid_t child = prepare_elsewhere();
        while (files_ending("cache", ".partial") + files_ending("cache", ".spool") == 0)
            usleep(100);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        uv_loop_t loop;
        struct prepared prepared = prepare(&loop, "raw", 0);
        store_assert_equals(prepared.store, "raw");
        store_finish(&loop, prepared.store);
        assert_int_equal(files_ending("cache", ".partial"), 0);
        shell("rm -f cache/*");
    }
}

static void cancelled_while_input_is_awaited(void **state)
{
    (void)state;
    int ends[2], saved = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[0], STDIN_FILENO);
    for (unsigned bytes = 0; bytes <= 300000; bytes += 300000) {
        uv_loop_t loop;
        struct prepared prepared;
        struct store_options options = {.image = "-", .cache_dir = "cache"};
        uint8_t *data = calloc(1, 300000);
        uv_loop_init(&loop);
        memset(&prepared, 0, sizeof prepared);
        pid_t feeder = fork();
        if (feeder == 0) {
            ssize_t put = write(ends[1], data, bytes);
            _exit(put == (ssize_t)bytes ? 0 : 1);
        }
        free(data);
        struct store_job *job = NULL;
        prepare_start(&loop, &options, &prepared);
        job = prepared.job;
        while (bytes > 0 && waitpid(feeder, NULL, WNOHANG) == 0)
            uv_run(&loop, UV_RUN_NOWAIT);
        store_job_cancel(job);
        assert_int_equal(prepared.calls, 0); /* later, not inside */
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(prepared.calls, 1);
        assert_null(prepared.store);
        assert_int_equal(prepared.err.cls, ERROR_CANCELLED);
        assert_int_equal(uv_loop_close(&loop), 0);
        assert_int_equal(files_ending("cache", ".partial"), 0);
        if (bytes == 0)
            waitpid(feeder, NULL, 0);
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

static void cancelled_at_any_moment(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 40; turns++) {
        uv_loop_t loop;
        struct prepared prepared;
        struct store_options options = {.image = "raw", .cache_dir = "cache"};
        uv_loop_init(&loop);
        prepare_start(&loop, &options, &prepared);
        usleep(turns * 500);
        if (prepared.calls == 0)
            store_job_cancel(prepared.job);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(prepared.calls, 1);
        assert_null(prepared.store); /* done never comes before the loop runs */
        assert_int_equal(prepared.err.cls, ERROR_CANCELLED);
        assert_int_equal(uv_loop_close(&loop), 0);
        assert_int_equal(files_ending("cache", ".partial"), 0);
        if (turns % 2 == 0)
            shell("rm -rf cache");
    }
}

static void make_image(const char *name, unsigned seed)
{
    shell("cp raw %s", name);
    file_flip(name, 10000 + seed);
}

static void full_file_system_is_said(void **state)
{
    (void)state;
    if (geteuid() != 0 || mkdir("cache", 0700) != 0 ||
        mount("none", "cache", "tmpfs", 0, "size=1m") != 0) {
        skip(); /* takes root */
    }
    uv_loop_t loop;
    struct prepared prepared = prepare(&loop, "raw", 0);
    unsigned left = files_ending("cache", "");
    umount("cache");
    assert_null(prepared.store);
    assert_int_equal(prepared.err.cls, ERROR_IO);
    assert_non_null(strstr(prepared.err.text, "no space"));
    assert_non_null(strstr(prepared.err.text, "free in cache"));
    assert_non_null(strstr(prepared.err.remedy, "--cache-dir"));
    assert_int_equal(left, 2); /* . and .. */
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void unused_images_make_room(void **state)
{
    (void)state;
    /* raw takes 2 MiB or so in the cache: one fits, two do not. */
    if (geteuid() != 0 || mkdir("cache", 0700) != 0 ||
        mount("none", "cache", "tmpfs", 0, "size=3m") != 0) {
        skip(); /* takes root */
    }
    uv_loop_t first_loop, second_loop;
    make_image("other", 1);
    struct prepared first = prepare(&first_loop, "raw", 0);
    struct prepared second = prepare(&second_loop, "other", 0);
    bool refused = first.store != NULL && second.store == NULL; /* the first is in use */
    assert_int_equal(uv_loop_close(&second_loop), 0);
    store_finish(&first_loop, first.store);
    second = prepare(&second_loop, "other", 0);
    bool made_room = second.store != NULL;
    unsigned kept = files_ending("cache", ".spool");
    if (made_room)
        store_assert_equals(second.store, "other");
    store_finish(&second_loop, second.store);
    umount("cache");
    assert_true(refused);
    assert_true(made_room);
    assert_int_equal(kept, 1);
}

/* The longest unused goes first; one in use never. */
static void the_limit_is_kept(void **state)
{
    (void)state;
    uv_loop_t loops[3], loop;
    struct prepared prepared[3], again;
    uint64_t each = 0; /* what one takes */
    const char *names[] = {"one", "two", "three"};
    for (unsigned i = 0; i < 3; i++) {
        make_image(names[i], i);
        prepared[i] = prepare(&loops[i], names[i], 1); /* a limit that nothing keeps within */
        assert_non_null(prepared[i].store);
        if (i == 0)
            each = file_size(only_file_ending("cache", ".spool"));
    }
    assert_int_equal(files_ending("cache", ".spool"), 3); /* all in use */
    store_finish(&loops[0], prepared[0].store);
    store_finish(&loops[1], prepared[1].store);
    again = prepare(&loop, "one", 0); /* used again: now two is the oldest */
    assert_true(store_info(again.store)->from_cache);
    store_finish(&loop, again.store);
    make_image("four", 4);
    again = prepare(&loop, "four", 3 * each + each / 2);
    assert_false(store_info(again.store)->from_cache);
    store_finish(&loop, again.store);
    store_finish(&loops[2], prepared[2].store);
    again = prepare(&loop, "one", 0);
    assert_true(store_info(again.store)->from_cache);
    store_finish(&loop, again.store);
    again = prepare(&loop, "two", 0);
    assert_false(store_info(again.store)->from_cache);
    store_finish(&loop, again.store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_runs_at_once),          TEST(the_second_builder_waits_for_the_first),
        TEST(waiting_can_be_cancelled),  TEST(killed_run_leaves_no_trace),
        TEST(leftovers_are_overwritten), TEST(cancelled_while_input_is_awaited),
        TEST(cancelled_at_any_moment),   TEST(full_file_system_is_said),
        TEST(unused_images_make_room),   TEST(the_limit_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
