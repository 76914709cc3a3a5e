/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_driver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

static uint32_t block_size(const struct image *image, uint32_t i)
{
    uint64_t left = image->size - (uint64_t)i * DRIVER_BLOCK;
    return left < DRIVER_BLOCK ? (uint32_t)left : DRIVER_BLOCK;
}

static void noise(uint8_t *out, size_t size, unsigned seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[i] = (uint8_t)x;
    }
}

static void identify(struct image *image)
{
    crypto_generichash_state state;
    uint64_t size = htole64(image->size);
    uint32_t block = htole32(DRIVER_BLOCK);
    image->manifest = (struct manifest){
        .image_size = image->size, .block_size = DRIVER_BLOCK, .block_count = image->count};
    crypto_generichash_init(&state, NULL, 0, PROTOCOL_HASH_SIZE);
    crypto_generichash_update(&state, (const uint8_t *)&size, sizeof size);
    crypto_generichash_update(&state, (const uint8_t *)&block, sizeof block);
    for (uint32_t i = 0; i < image->count; i++)
        crypto_generichash_update(&state, image->entries[i].hash, PROTOCOL_HASH_SIZE);
    crypto_generichash_final(&state, image->manifest.image_id, PROTOCOL_HASH_SIZE);
}

void image_seal(struct image *image)
{
    for (uint32_t i = 0; i < image->count; i++) {
        const uint8_t *data = image->data + (size_t)i * DRIVER_BLOCK;
        uint32_t n = block_size(image, i);
        struct manifest_entry *entry = &image->entries[i];
        crypto_generichash(entry->hash, PROTOCOL_HASH_SIZE, data, n, NULL, 0);
        free(image->wire[i]);
        image->wire[i] = NULL;
        entry->wire_size = 0;
        if (sodium_is_zero(data, n))
            continue;
        image->wire[i] = malloc(ZSTD_compressBound(n));
        size_t packed = ZSTD_compress(image->wire[i], ZSTD_compressBound(n), data, n, 1);
        image->encoding[i] = packed < n ? ENCODING_ZSTD : ENCODING_RAW;
        if (packed >= n)
            memcpy(image->wire[i], data, n);
        entry->wire_size = (uint32_t)(packed < n ? packed : n);
    }
    identify(image);
}

void image_unmap(struct image *image, uint32_t index)
{
    memset(&image->entries[index], 0, sizeof image->entries[index]);
    free(image->wire[index]);
    image->wire[index] = NULL;
    identify(image);
}

struct image *image_new(uint64_t size, unsigned seed)
{
    struct image *image = calloc(1, sizeof *image);
    image->size = size;
    image->count = (uint32_t)((size + DRIVER_BLOCK - 1) / DRIVER_BLOCK);
    image->data = calloc(1, (size_t)image->count * DRIVER_BLOCK);
    image->entries = calloc(image->count, sizeof *image->entries);
    image->wire = calloc(image->count, sizeof *image->wire);
    image->encoding = calloc(image->count, 1);
    for (uint32_t i = 0; i < image->count; i++) {
        uint8_t *data = image->data + (size_t)i * DRIVER_BLOCK;
        if (i % 3 == 0)
            noise(data, block_size(image, i), seed * 1000 + i);
        else if (i % 3 == 1)
            memset(data, (int)(1 + (seed + i) % 255), block_size(image, i));
    }
    image_seal(image);
    return image;
}

void image_free(struct image *image)
{
    for (uint32_t i = 0; i < image->count; i++)
        free(image->wire[i]);
    free(image->wire);
    free(image->encoding);
    free(image->entries);
    free(image->data);
    free(image);
}

/* --- bytes -------------------------------------------------------------------------------- */

static void write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EPIPE)
            return; /* the agent hung up: the reader will see it */
        assert_true(n > 0);
        data += n;
        size -= (size_t)n;
    }
}

void driver_send(struct driver *driver, const uint8_t *data, size_t size)
{
    if (driver->line == NULL) {
        write_all(driver->out, data, size);
        return;
    }
    static uint8_t sealed[LIFELINE_SEALED_MAX];
    while (size > 0) {
        size_t n = size < LIFELINE_PLAIN_MAX ? size : LIFELINE_PLAIN_MAX;
        write_all(driver->out, sealed, lifeline_seal(driver->line, data, n, sealed));
        data += n;
        size -= n;
    }
}

static void wait_pinging(struct driver *driver)
{
    struct pollfd in = {.fd = driver->in, .events = POLLIN};
    while (driver->pings && poll(&in, 1, 200) == 0)
        driver_request(driver, FRAME_PING);
}

/* More plain bytes; false at the end of the stream. */
static bool receive(struct driver *driver)
{
    wait_pinging(driver);
    uint8_t *room = driver->buffer + driver->size;
    if (driver->line == NULL) {
        ssize_t n = read(driver->in, room, PROTOCOL_PAYLOAD_MAX + 64 - driver->size);
        if (n <= 0)
            return false;
        driver->size += (size_t)n;
        return true;
    }
    for (;;) {
        size_t plain;
        int64_t taken =
            lifeline_open(driver->line, driver->sealed, driver->sealed_size, room, &plain);
        assert_true(taken >= 0);
        memmove(driver->sealed, driver->sealed + taken, driver->sealed_size - (size_t)taken);
        driver->sealed_size -= (size_t)taken;
        driver->size += plain;
        if (plain > 0)
            return true;
        if (taken > 0)
            continue;
        ssize_t n = read(driver->in, driver->sealed + driver->sealed_size,
                         2 * LIFELINE_RECORD_MAX - driver->sealed_size);
        if (n <= 0)
            return false;
        driver->sealed_size += (size_t)n;
    }
}

void driver_init(struct driver *driver, struct image *image, int in, int out)
{
    static const uint8_t secret[PROTOCOL_KEY_SIZE];
    memset(driver, 0, sizeof *driver);
    driver->image = image;
    driver->in = in;
    driver->out = out;
    driver->corrupt_block = driver->kept_block = -1;
    driver->buffer = malloc(PROTOCOL_PAYLOAD_MAX + 64 + LIFELINE_PLAIN_MAX);
    driver->sealed = malloc(2 * LIFELINE_RECORD_MAX);
    driver->want_count = calloc(image->count, sizeof *driver->want_count);
    lifeline_token(secret, driver->token);
}

void driver_encrypt(struct driver *driver, const uint8_t secret[PROTOCOL_KEY_SIZE])
{
    uint8_t hello[LIFELINE_HELLO_SIZE];
    size_t got = 0, plain;
    driver->line = malloc(sizeof *driver->line);
    lifeline_start(driver->line, LIFELINE_CONTROLLER, secret);
    lifeline_put_hello(driver->line, hello);
    write_all(driver->out, hello, sizeof hello);
    while (got < sizeof hello) {
        ssize_t n = read(driver->in, hello + got, sizeof hello - got);
        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_int_equal(lifeline_open(driver->line, hello, sizeof hello, driver->buffer, &plain),
                     sizeof hello);
}

void driver_start(struct driver *driver, struct image *image, const char *disk,
                  const char *const *extra)
{
    int to[2], from[2];
    /* On a busy machine a test may be silent for long; those about silence say their own. */
    const char *argv[32] = {getenv("AGENT_RUNNER"),
                            getenv("AGENT_PROGRAM"),
                            "serve",
                            "--disk",
                            disk,
                            "--silence",
                            "600000"};
    unsigned n = 7, first = argv[0] == NULL;
    bool on_socket = false;
    for (; extra != NULL && *extra != NULL; extra++) {
        on_socket |= strcmp(*extra, "--socket") == 0;
        argv[n++] = *extra;
    }
    if (!on_socket)
        argv[n++] = "--stdio";
    assert_non_null(argv[1]);
    assert_int_equal(pipe2(to, O_CLOEXEC) | pipe2(from, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        execv(argv[first], (char *const *)(argv + first));
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    driver_init(driver, image, from[0], to[1]);
    driver->pid = pid;
}

int driver_stop(struct driver *driver)
{
    int status = 0;
    close(driver->in);
    if (driver->out != driver->in)
        close(driver->out);
    if (driver->pid > 0)
        assert_int_equal(waitpid(driver->pid, &status, 0), driver->pid);
    free(driver->buffer);
    free(driver->sealed);
    free(driver->want_count);
    free(driver->line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- frames ------------------------------------------------------------------------------- */

void driver_request(struct driver *driver, enum frame_type type)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    driver_send(driver, out, protocol_encode_empty(type, out, sizeof out));
}

void driver_hello(struct driver *driver, uint32_t version)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    struct hello hello = {.version = version, .run_id = "serve"};
    memcpy(hello.token, driver->token, sizeof hello.token);
    driver_send(driver, out, protocol_encode_hello(&hello, out, sizeof out));
}

void driver_begin(struct driver *driver, enum flash_mode mode, uint32_t flags)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    driver_send(driver, out, protocol_encode_begin(mode, flags, out, sizeof out));
}

void driver_manifest(struct driver *driver)
{
    uint8_t small[PROTOCOL_SMALL_MAX];
    driver_send(driver, small,
                protocol_encode_manifest(&driver->image->manifest, small, sizeof small));
    for (uint32_t first = 0; first < driver->image->count; first += 1000) {
        uint32_t n = driver->image->count - first < 1000 ? driver->image->count - first : 1000;
        size_t size = protocol_hashes_size(n);
        uint8_t *out = malloc(size);
        assert_int_equal(
            protocol_encode_hashes(first, driver->image->entries + first, n, out, size), size);
        driver_send(driver, out, size);
        free(out);
    }
}

static void send_block(struct driver *driver, uint32_t i)
{
    uint8_t prefix[PROTOCOL_BLOCK_PREFIX];
    struct image *image = driver->image;
    struct block_header header = {.index = i, .encoding = image->encoding[i]};
    assert_true(i < image->count);
    assert_non_null(image->wire[i]); /* blocks of zeros are never asked for */
    driver->wants++;
    driver->want_count[i]++;
    if ((driver->stop_after != 0 && driver->sent >= driver->stop_after) ||
        driver->kept_block == (int64_t)i)
        return;
    driver->sent++;
    uint8_t *data = malloc(image->entries[i].wire_size);
    memcpy(data, image->wire[i], image->entries[i].wire_size);
    if (driver->corrupt_block == (int64_t)i && driver->corrupt_times > 0) {
        driver->corrupt_times--;
        data[image->entries[i].wire_size / 2] ^= 1;
    }
    protocol_encode_block_prefix(&header, image->entries[i].wire_size, prefix);
    driver_send(driver, prefix, sizeof prefix);
    driver_send(driver, data, image->entries[i].wire_size);
    free(data);
}

static void take(struct driver *driver, const struct frame *frame)
{
    uint32_t count;
    enum log_level level;
    char text[PROTOCOL_TEXT_MAX + 1];
    switch (frame->type) {
    case FRAME_WANT:
        assert_int_equal(protocol_decode_want(frame, &count), 0);
        for (uint32_t i = 0; i < count; i++) {
            struct want_range range;
            protocol_want_range(frame, i, &range);
            for (uint32_t k = 0; k < range.count; k++)
                send_block(driver, range.first + k);
        }
        break;
    case FRAME_PHASE:
        assert_int_equal(protocol_decode_phase(frame, &driver->phase), 0);
        break;
    case FRAME_MODE:
        assert_int_equal(protocol_decode_mode(frame, &driver->mode), 0);
        break;
    case FRAME_STAGED:
    case FRAME_WRITTEN:
        assert_int_equal(protocol_decode_tally(frame, &driver->tally), 0);
        break;
    case FRAME_FAIL:
        assert_int_equal(protocol_decode_fail(frame, &driver->fail), 0);
        break;
    case FRAME_HELLO_REPLY:
        assert_int_equal(protocol_decode_hello_reply(frame, &driver->hello), 0);
        break;
    case FRAME_LOG:
        assert_int_equal(protocol_decode_log(frame, &level, text, sizeof text), 0);
        strncat(driver->logs, text, sizeof driver->logs - strlen(driver->logs) - 2);
        strcat(driver->logs, "\n");
        break;
    default:
        break;
    }
}

bool driver_until(struct driver *driver, enum frame_type type)
{
    for (;;) {
        struct frame frame;
        int64_t n = protocol_parse(driver->buffer, driver->size, &frame);
        assert_true(n >= 0);
        if (n == 0) {
            if (!receive(driver))
                return false;
            continue;
        }
        enum frame_type got = frame.type;
        take(driver, &frame);
        memmove(driver->buffer, driver->buffer + n, driver->size - (size_t)n);
        driver->size -= (size_t)n;
        if (got == type)
            return true;
        if (got == FRAME_FAIL)
            return false;
    }
}

void driver_introduce(struct driver *driver)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    driver_hello(driver, PROTOCOL_VERSION);
    assert_true(driver_until(driver, FRAME_HELLO_REPLY));
    driver_send(driver, out, protocol_encode_probe("auto", out, sizeof out));
    assert_true(driver_until(driver, FRAME_FACTS));
    driver_manifest(driver);
}

bool driver_flash(struct driver *driver, enum flash_mode mode, uint32_t flags)
{
    driver_begin(driver, mode, flags);
    if (!driver_until(driver, FRAME_MODE))
        return false;
    if (driver->mode.mode == MODE_UNCHANGED)
        return true;
    if (driver->mode.mode == MODE_STAGE && !driver_until(driver, FRAME_STAGED))
        return false;
    driver_request(driver, FRAME_FENCE);
    if (!driver_until(driver, FRAME_FENCED))
        return false;
    driver_request(driver, FRAME_WRITE);
    if (!driver_until(driver, FRAME_WRITTEN))
        return false;
    driver_request(driver, FRAME_REBOOT);
    while (driver_until(driver, FRAME_LOG)) /* to the end of the stream */
        ;
    return true;
}

/* --- disks -------------------------------------------------------------------------------- */

void disk_file_make(const char *path, uint64_t size, const uint8_t *what, uint64_t what_size,
                    unsigned seed)
{
    uint8_t *data = malloc(size);
    noise(data, size, seed);
    if (what != NULL)
        memcpy(data, what, what_size < size ? what_size : size);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    write_all(fd, data, size);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    free(data);
}

bool disk_file_holds(const char *path, const struct image *image)
{
    uint8_t *data = malloc(image->size);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool same = fd >= 0 && pread(fd, data, image->size, 0) == (ssize_t)image->size &&
                memcmp(data, image->data, image->size) == 0;
    if (fd >= 0)
        close(fd);
    free(data);
    return same;
}

/* --- programs ----------------------------------------------------------------------------- */

int agent_tests_begin(char *disk, size_t disk_size)
{
    const char *program = getenv("AGENT_PROGRAM"), *runner = getenv("AGENT_RUNNER");
    if (program == NULL || access(program, X_OK) != 0 || sodium_init() < 0) {
        fprintf(stderr, "no agent program to test\n");
        return 77;
    }
    if (runner != NULL && access(runner, X_OK) != 0) {
        fprintf(stderr, "no %s to run it with\n", runner);
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(disk, disk_size, "/tmp/agent-disk-%d", (int)getpid());
    return 0;
}

int agent_tests_end(const char *disk, int failed)
{
    unlink(disk);
    return failed;
}
