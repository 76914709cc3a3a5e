/* SPDX-License-Identifier: Apache-2.0 */
#include "store_help.h"

#include <dirent.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char scratch[64];

void need_tools(const char *tool, ...)
{
    va_list tools;
    va_start(tools, tool);
    for (; tool != NULL; tool = va_arg(tools, const char *)) {
        char command[128];
        snprintf(command, sizeof command, "command -v %s >/dev/null", tool);
        if (system(command) != 0) {
            fprintf(stderr, "skipped: %s is not installed\n", tool);
            exit(77);
        }
    }
    va_end(tools);
}

void scratch_enter(void)
{
    strcpy(scratch, "/tmp/fleetflash-test.XXXXXX");
    assert_non_null(mkdtemp(scratch));
    assert_int_equal(chdir(scratch), 0);
}

void scratch_leave(void)
{
    assert_int_equal(chdir("/"), 0);
    shell("rm -rf %s", scratch);
}

void shell(const char *format, ...)
{
    char command[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    int status = system(command);
    if (status != 0)
        fail_msg("exit status %d: %s", status, command);
}

void noise_fill(uint8_t *out, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        out[i] = (uint8_t)(seed >> 56);
    }
}

static void put32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

void image_make(const char *path, size_t size)
{
    uint8_t *image = calloc(1, size);
    assert_non_null(image);
    size_t pos = 4096;
    for (unsigned run = 0; pos < size; run++) {
        size_t length = (size_t)(run % 7 + 1) * 50000;
        if (length > size - pos)
            length = size - pos;
        noise_fill(image + pos, run % 3 == 2 ? 0 : length, run + 1);
        for (size_t i = 0; run % 3 == 0 && i < length; i++)
            image[pos + i] = "etaoin shrdlu\n,."[image[pos + i] % 16];
        pos += length;
    }
    put32(image + 440, 0x1234abcd);
    image[446 + 4] = 0x83;
    put32(image + 446 + 8, 8);
    put32(image + 446 + 12, (uint32_t)(size / 512 - 8));
    image[510] = 0x55;
    image[511] = 0xaa;
    file_write(path, image, size);
    free(image);
}

uint8_t *file_read(const char *path, size_t *size)
{
    *size = file_size(path);
    uint8_t *data = malloc(*size + 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(data);
    assert_non_null(file);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

void file_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void file_flip(const char *path, size_t offset)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)offset, SEEK_SET);
    int byte = fgetc(file);
    assert_int_not_equal(byte, EOF);
    fseek(file, (long)offset, SEEK_SET);
    fputc(byte ^ 0xff, file);
    assert_int_equal(fclose(file), 0);
}

size_t file_size(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return (size_t)status.st_size;
}

static unsigned look_for(const char *dir, const char *ending, char *path, size_t path_size)
{
    unsigned count = 0;
    DIR *opened = opendir(dir);
    if (opened == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(opened)) != NULL;) {
        size_t size = strlen(entry->d_name), tail = strlen(ending);
        if (size < tail || strcmp(entry->d_name + size - tail, ending) != 0)
            continue;
        snprintf(path, path_size, "%s/%s", dir, entry->d_name);
        count++;
    }
    closedir(opened);
    return count;
}

unsigned files_ending(const char *dir, const char *ending)
{
    char path[512];
    return look_for(dir, ending, path, sizeof path);
}

const char *only_file_ending(const char *dir, const char *ending)
{
    static char path[512];
    assert_int_equal(look_for(dir, ending, path, sizeof path), 1);
    return path;
}

static void prepare_done(struct store *store, const struct error *err, void *arg)
{
    struct prepared *prepared = arg;
    prepared->calls++;
    prepared->store = store;
    if (err != NULL)
        prepared->err = *err;
    assert_true((store != NULL) == (err == NULL));
}

void prepare_start(uv_loop_t *loop, const struct store_options *options, struct prepared *prepared)
{
    memset(prepared, 0, sizeof *prepared);
    prepared->job = store_prepare(loop, options, NULL, prepare_done, prepared);
    assert_non_null(prepared->job);
}

void prepare_wait(uv_loop_t *loop, const struct store_options *options, struct prepared *prepared)
{
    prepare_start(loop, options, prepared);
    while (prepared->calls == 0)
        uv_run(loop, UV_RUN_ONCE);
    assert_int_equal(prepared->calls, 1);
}

struct store *store_make(uv_loop_t *loop, size_t size)
{
    struct store_options options = {.image = "raw", .cache_dir = "cache"};
    struct prepared prepared;
    scratch_enter();
    image_make("raw", size);
    uv_loop_init(loop);
    prepare_wait(loop, &options, &prepared);
    return prepared.store;
}

void store_assert_equals(const struct store *store, const char *path)
{
    size_t size;
    uint8_t *image = file_read(path, &size);
    const struct store_info *info = store_info(store);
    uint8_t *block = malloc(info->block_size);
    uint32_t zeros = 0;
    uint64_t wire = 0;
    assert_int_equal(info->image_size, size);
    assert_int_equal(info->block_count, (size + info->block_size - 1) / info->block_size);
    for (uint32_t i = 0; i < info->block_count; i++) {
        size_t at = (size_t)i * info->block_size;
        size_t expected = size - at < info->block_size ? size - at : info->block_size;
        uint8_t hash[PROTOCOL_HASH_SIZE];
        struct error err = {0};
        assert_int_equal(store_read_block(store, i, block, &err), expected);
        assert_memory_equal(block, image + at, expected);
        crypto_generichash(hash, sizeof hash, image + at, expected, NULL, 0);
        assert_memory_equal(hash, store_entry(store, i)->hash, sizeof hash);
        assert_int_equal(sodium_is_zero(block, expected), store_entry(store, i)->wire_size == 0);
        zeros += store_entry(store, i)->wire_size == 0;
        wire += store_entry(store, i)->wire_size;
    }
    assert_int_equal(zeros, info->zero_blocks);
    assert_int_equal(wire, info->wire_bytes);
    free(block);
    free(image);
}

void store_finish(uv_loop_t *loop, struct store *store)
{
    store_close(store);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}
