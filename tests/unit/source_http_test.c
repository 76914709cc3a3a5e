/* SPDX-License-Identifier: Apache-2.0 */
/* Images on http(s) servers: what is fetched, gone on with, taken from the cache, and refused. */
#include "source/http.h"
#include "source/url.h"
#include "store_help.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_SIZE (3u * 1024 * 1024)

struct server {
    pid_t pid;
    int port, stop;
};
static struct server plain, tls;
static const struct http_patience hasty = {
    .connect_seconds = 5, .idle_seconds = 1, .tries = 3, .backoff_ms = 1};

/* The server ends when its standard input does. */
static struct server server_start(const char *certificate, const char *key)
{
    struct server server = {0};
    int in[2], out[2];
    char port[16] = "";
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    server.pid = fork();
    if (server.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execlp("python3", "python3", SOURCE_DIR "/tests/unit/http_server.py", "requests",
               certificate, key, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server.stop = in[1];
    for (size_t size = 0; size < sizeof port - 1 && strchr(port, '\n') == NULL; size++)
        assert_int_equal(read(out[0], port + size, 1), 1);
    close(out[0]);
    server.port = atoi(port);
    assert_true(server.port > 0);
    return server;
}

static void server_stop(struct server *server)
{
    close(server->stop);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static int enter(void **state)
{
    (void)state;
    scratch_enter();
    image_make("raw", IMAGE_SIZE);
    shell("xz -k raw; : > requests");
    plain = server_start(NULL, NULL);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    server_stop(&plain);
    if (tls.pid != 0)
        server_stop(&tls);
    unsetenv("SSL_CERT_FILE");
    unsetenv("http_proxy");
    scratch_leave();
    return 0;
}

static const char *address(const char *modes_and_name)
{
    static char url[256];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", plain.port, modes_and_name);
    return url;
}

/* How many requests the log has that match. */
static int requests(const char *pattern)
{
    char command[256];
    int count = -1;
    snprintf(command, sizeof command, "grep -cE '%s' requests", pattern);
    FILE *pipe = popen(command, "r");
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    return count;
}

static struct store_info prepare_good(const char *url)
{
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = url, .cache_dir = "cache"};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    if (prepared.store == NULL)
        fail_msg("%s: %s", url, prepared.err.text);
    store_assert_equals(prepared.store, "raw");
    struct store_info info = *store_info(prepared.store);
    store_finish(&loop, prepared.store);
    return info;
}

static struct error prepare_bad(const char *url, enum error_class cls, const char *word)
{
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = url, .cache_dir = "cache"};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    assert_null(prepared.store);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (prepared.err.cls != cls || strstr(prepared.err.text, word) == NULL)
        fail_msg("%s: expected '%s' in (%d) %s", url, word, prepared.err.cls, prepared.err.text);
    assert_true(prepared.err.remedy[0] != '\0');
    return prepared.err;
}

/* Reads all of it, impatiently; returns what came before the error, if any. */
static size_t read_hasty(const char *url, uint8_t *out, struct error *err)
{
    size_t size = 0;
    memset(err, 0, sizeof *err);
    struct source *source = http_source_open(url, -1, &hasty, NULL, err);
    for (ssize_t got = 1; source != NULL && got > 0; size += got > 0 ? (size_t)got : 0)
        got = source_read(source, out + size, IMAGE_SIZE - size + 1, err);
    source_close(source);
    return size;
}

static void fails_hasty(const char *modes, enum error_class cls, const char *word)
{
    struct error err;
    uint8_t *out = malloc(IMAGE_SIZE + 1);
    read_hasty(address(modes), out, &err);
    free(out);
    if (err.cls != cls || strstr(err.text, word) == NULL)
        fail_msg("%s: expected '%s' in (%d) %s", modes, word, err.cls, err.text);
    assert_true(err.remedy[0] != '\0');
}

static void comes_whole_in(const char *modes)
{
    struct error err;
    size_t size;
    uint8_t *raw = file_read("raw", &size), *out = malloc(IMAGE_SIZE + 1);
    size_t got = read_hasty(address(modes), out, &err);
    if (err.cls != ERROR_NONE)
        fail_msg("%s: %s", modes, err.text);
    assert_int_equal(got, size);
    assert_memory_equal(out, raw, size);
    free(raw);
    free(out);
}

static void image_is_fetched_and_then_cached(void **state)
{
    (void)state;
    struct store_info info = prepare_good(address("ok/raw.xz"));
    assert_false(info.from_cache);
    assert_string_equal(info.facts.format, "xz");
    assert_int_equal(info.facts.file_size, file_size("raw.xz"));
    assert_true(prepare_good(address("ok/raw.xz")).from_cache);
    /* A Last-Modified of old does as well. */
    assert_false(prepare_good(address("dated/raw.xz")).from_cache);
    assert_true(prepare_good(address("dated/raw.xz")).from_cache);
    /* Without either nothing can be concluded, … */
    assert_false(prepare_good(address("noetag/raw.xz")).from_cache);
    assert_false(prepare_good(address("noetag/raw.xz")).from_cache);
    /* … nor from a date that is none, or is every file's. */
    assert_false(prepare_good(address("undated/raw.xz")).from_cache);
    assert_false(prepare_good(address("undated/raw.xz")).from_cache);
    assert_false(prepare_good(address("ageless/raw.xz")).from_cache);
    assert_false(prepare_good(address("ageless/raw.xz")).from_cache);
}

static void changed_file_is_fetched_again(void **state)
{
    (void)state;
    prepare_good(address("ok/raw"));
    file_flip("raw", 900000);
    assert_false(prepare_good(address("ok/raw")).from_cache);
}

static void broken_connection_is_gone_on_with(void **state)
{
    (void)state;
    comes_whole_in("cut/raw");
    assert_int_equal(requests("bytes=600000- 206"), 1);
    assert_int_equal(requests("bytes=3000000- 206"), 1);
    assert_int_equal(requests("/cut/raw - 200"), 1);
    comes_whole_in("cut+dated/raw");
}

static void what_cannot_be_gone_on_with_is_said(void **state)
{
    (void)state;
    fails_hasty("cut+norange/raw", ERROR_NETWORK, "cannot go on from there");
    fails_hasty("cut+noetag/raw", ERROR_NETWORK, "no ETag");
    fails_hasty("cut+changing/raw", ERROR_USAGE, "changed on the server");
    fails_hasty("cut+down/raw", ERROR_NETWORK, "status 503 (at byte 600000, after 4 tries)");
}

static void busy_server_is_asked_again(void **state)
{
    (void)state;
    comes_whole_in("busy/raw");
    assert_int_equal(requests("/busy/raw - 503"), 2);
}

static void silence_ends(void **state)
{
    (void)state;
    fails_hasty("silent/raw", ERROR_TIMEOUT, "sent nothing for 1 s");
    /* Asked again from where it stopped, a hanging server still gets on. */
    comes_whole_in("hang/raw");
}

static void cancelled_while_waiting(void **state)
{
    (void)state;
    struct error err = {0};
    int cancel = eventfd(0, EFD_CLOEXEC);
    const struct http_patience patient = {30, 30, 3, 30000};
    assert_int_equal(eventfd_write(cancel, 1), 0);
    assert_null(http_source_open(address("silent/raw"), cancel, &patient, NULL, &err));
    assert_int_equal(err.cls, ERROR_CANCELLED);
    assert_null(http_source_open(address("down/raw.sha256"), cancel, &patient, NULL, &err));
    assert_int_equal(err.cls, ERROR_CANCELLED);
    close(cancel);
}

static void refusals_are_sentences(void **state)
{
    (void)state;
    char url[128];
    struct error err = prepare_bad(address("ok/missing.img"), ERROR_USAGE, "(status 404)");
    assert_non_null(strstr(err.text, "/ok/missing.img"));
    prepare_bad(address("forbidden/raw"), ERROR_USAGE, "does not give out");
    prepare_bad(address("loop/raw"), ERROR_USAGE, "more than 10 times");
    snprintf(url, sizeof url, "http://127.0.0.1:%d/raw", 1);
    prepare_bad(url, ERROR_NETWORK, "Connection refused");
    prepare_bad("http://no.such.host.invalid/raw", ERROR_NETWORK, "cannot find the host");
    err = prepare_bad("ftp://127.0.0.1/raw", ERROR_USAGE, "cannot open");
    assert_non_null(strstr(err.remedy, "only http://"));
    assert_int_equal(files_ending("cache", ".partial"), 0);
}

static void sums_are_fetched(void **state)
{
    (void)state;
    shell("sha256sum raw.xz > raw.xz.sha256");
    prepare_good(address("ok/raw.xz"));
    assert_int_equal(requests("/ok/raw.xz.sha256 - 200"), 1);
    shell("sha256sum raw | sed 's/raw/raw.xz/' > raw.xz.sha256");
    prepare_bad(address("ok/raw.xz"), ERROR_USAGE, "wrong sha256"); /* found in the cache, too */
    shell("mv raw.xz.sha256 SHA256SUMS");
    prepare_bad(address("ok/raw.xz"), ERROR_USAGE, "SHA256SUMS");
}

/* What is shown has no secret in it, and it is known whether there was one. */
static void a_secret_in_an_address_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *url, *shown;
        bool secret;
    } rows[] = {
        {"http://h/a.img", "http://h/a.img", false},
        {"https://u:pw@h:8443/a.img", "https://h:8443/a.img", true},
        {"https://u@h/a.img", "https://h/a.img", true},
        {"https://h/a.img?token=x", "https://h/a.img", true},
        {"https://h/a.img#part", "https://h/a.img", false},
        {"http://u:p w@h", "the given address", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *shown = url_display(rows[i].url);
        assert_string_equal(shown, rows[i].shown);
        assert_int_equal(url_has_secrets(rows[i].url), rows[i].secret);
        free(shown);
    }
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    char url[128];
    snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%d/ok/missing?token=hidden",
             plain.port);
    struct error err = prepare_bad(url, ERROR_USAGE, "/ok/missing");
    assert_null(strstr(err.text, "secret"));
    assert_null(strstr(err.text, "hidden"));
    char *beside = url_beside(url, NULL, ".sha256"), *sums = url_beside(url, "SUMS", "");
    assert_non_null(strstr(beside, "/ok/missing.sha256?token=hidden"));
    assert_non_null(strstr(sums, "/ok/SUMS?token=hidden"));
    free(beside);
    free(sums);
}

static void proxy_of_the_environment_is_used(void **state)
{
    (void)state;
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", plain.port);
    setenv("http_proxy", proxy, 1);
    prepare_good("http://images.invalid/ok/raw");
    assert_int_equal(requests("GET http://images.invalid/ok/raw - 200"), 1);
}

static void certificates_are_checked(void **state)
{
    (void)state;
    char url[128];
    shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "
          "ca.key -out ca.pem -subj /CN=test-ca 2>/dev/null");
    shell("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out "
          "tls.csr -subj /CN=localhost 2>/dev/null");
    shell("echo subjectAltName=DNS:localhost > san; openssl x509 -req -in tls.csr -CA ca.pem "
          "-CAkey ca.key -CAcreateserial -days 2 -extfile san -out tls.pem 2>/dev/null");
    tls = server_start("tls.pem", "tls.key");
    snprintf(url, sizeof url, "https://localhost:%d/ok/raw", tls.port);
    struct error err = prepare_bad(url, ERROR_USAGE, "is not to be trusted");
    assert_non_null(strstr(err.remedy, "SSL_CERT_FILE"));
    setenv("SSL_CERT_FILE", "ca.pem", 1);
    prepare_good(url);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/ok/raw", tls.port);
    prepare_bad(url, ERROR_USAGE, "is not to be trusted"); /* another name */
    setenv("SSL_CERT_FILE", "nowhere.pem", 1);
    prepare_bad(url, ERROR_USAGE, "is not to be trusted");
    /* From http to https is fine, the other way is not. */
    setenv("SSL_CERT_FILE", "ca.pem", 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/tos:%d/raw", plain.port, tls.port);
    prepare_good(url);
    snprintf(url, sizeof url, "https://localhost:%d/to:%d/raw", tls.port, plain.port);
    err = prepare_bad(url, ERROR_USAGE, "leads from https to http");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    need_tools("python3", "openssl", "xz", NULL);
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("HTTPS_PROXY");
    unsetenv("CURL_CA_BUNDLE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_in_an_address_is_known),
        TEST(image_is_fetched_and_then_cached),
        TEST(changed_file_is_fetched_again),
        TEST(broken_connection_is_gone_on_with),
        TEST(what_cannot_be_gone_on_with_is_said),
        TEST(busy_server_is_asked_again),
        TEST(silence_ends),
        TEST(cancelled_while_waiting),
        TEST(refusals_are_sentences),
        TEST(sums_are_fetched),
        TEST(secrets_are_not_shown),
        TEST(proxy_of_the_environment_is_used),
        TEST(certificates_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
