/* SPDX-License-Identifier: Apache-2.0 */
/* zip archives as images: each way of storing one file, and what is refused. */
#include "store_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_SIZE (3u * 1024 * 1024 + 512 * 5)

static int enter(void **state)
{
    (void)state;
    scratch_enter();
    image_make("raw", IMAGE_SIZE);
    shell("echo read me > README");
    return 0;
}

static int leave(void **state)
{
    (void)state;
    scratch_leave();
    return 0;
}

/* Runs Python with z, a zipfile.ZipFile writing a.zip. */
static void zip_make(const char *how)
{
    shell("rm -f a.zip; python3 - <<'END'\n"
          "import zipfile, io\n"
          "Z = zipfile\n"
          "class Pipe(io.RawIOBase):\n" /* cannot seek: sizes go into data descriptors */
          "    def __init__(self, name): self.file = open(name, 'wb')\n"
          "    def writable(self): return True\n"
          "    def write(self, data): return self.file.write(data)\n"
          "    def flush(self): self.file.flush()\n"
          "%s\n"
          "END",
          how);
}

static void assert_good(void)
{
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = "a.zip", .cache_dir = "cache"};
    shell("rm -rf cache");
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    if (prepared.store == NULL)
        fail_msg("%s", prepared.err.text);
    store_assert_equals(prepared.store, "raw");
    assert_string_equal(store_info(prepared.store)->facts.format, "zip");
    assert_int_equal(store_info(prepared.store)->facts.file_size, file_size("a.zip"));
    FILE *pipe = popen("sha256sum a.zip", "r");
    char sum[65];
    assert_int_equal(fscanf(pipe, "%64s", sum), 1);
    pclose(pipe);
    assert_string_equal(store_info(prepared.store)->facts.sha256, sum);
    store_finish(&loop, prepared.store);
}

static struct error refused(const char *word)
{
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = "a.zip", .cache_dir = "cache"};
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    if (prepared.store != NULL)
        fail_msg("accepted, expected: %s", word);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    assert_int_equal(prepared.err.cls, ERROR_USAGE);
    if (strstr(prepared.err.text, word) == NULL)
        fail_msg("expected '%s' in: %s", word, prepared.err.text);
    assert_true(prepared.err.remedy[0] != '\0');
    assert_int_equal(files_ending("cache", ".spool"), 0);
    return prepared.err;
}

static void every_way_of_storing(void **state)
{
    (void)state;
    zip_make("Z.ZipFile('a.zip', 'w', Z.ZIP_DEFLATED).write('raw', 'image.img')");
    assert_good();
    zip_make("Z.ZipFile('a.zip', 'w', Z.ZIP_STORED).write('raw', 'image.img')");
    assert_good();
    zip_make("with Z.ZipFile(Pipe('a.zip'), 'w', Z.ZIP_DEFLATED) as z: z.write('raw')");
    assert_good();
    zip_make("with Z.ZipFile('a.zip', 'w', Z.ZIP_DEFLATED) as z:\n"
             "    with z.open('big.img', 'w', force_zip64=True) as f: f.write(open('raw', "
             "'rb').read())");
    assert_good();
    zip_make("with Z.ZipFile(Pipe('a.zip'), 'w', Z.ZIP_DEFLATED) as z:\n"
             "    with z.open('big.img', 'w', force_zip64=True) as f: f.write(open('raw', "
             "'rb').read())");
    assert_good();
    zip_make("with Z.ZipFile('a.zip', 'w', Z.ZIP_DEFLATED) as z:\n"
             "    z.writestr('folder/', ''); z.write('raw', 'folder/image.img')\n"
             "    z.comment = b'made for a test'");
    assert_good();
}

static void archives_of_other_content_are_refused(void **state)
{
    (void)state;
    zip_make("with Z.ZipFile('a.zip', 'w', Z.ZIP_DEFLATED) as z:\n"
             "    z.write('raw', 'image.img'); z.write('README'); z.writestr('last', 'x')");
    struct error err = refused("holds more than one file: image.img, README, last");
    assert_non_null(strstr(err.remedy, "take the image out"));
    zip_make("with Z.ZipFile('a.zip', 'w', Z.ZIP_DEFLATED) as z:\n"
             "    z.write('README'); z.write('raw', 'image.img')");
    refused("holds more than one file: README, image.img");
    zip_make("Z.ZipFile('a.zip', 'w').close()");
    refused("holds no file");
    zip_make("with Z.ZipFile('a.zip', 'w') as z: z.writestr('folder/', '')");
    refused("holds no file");
    zip_make("Z.ZipFile('a.zip', 'w', Z.ZIP_DEFLATED).write('README')");
    refused("inside the zip data is a text file");
    zip_make("with Z.ZipFile('a.zip', 'w') as z: z.write('raw', 'image.img')\n"
             "data = bytearray(open('a.zip', 'rb').read()); data[6] |= 1\n"
             "open('a.zip', 'wb').write(data)");
    refused("image.img in the zip archive a.zip is encrypted");
}

static void damage_is_found(void **state)
{
    (void)state;
    for (unsigned stored = 0; stored < 2; stored++) {
        zip_make(stored ? "Z.ZipFile('a.zip', 'w', Z.ZIP_STORED).write('raw', 'image.img')"
                        : "Z.ZipFile('a.zip', 'w', Z.ZIP_DEFLATED).write('raw', 'image.img')");
        shell("cp a.zip good");
        for (size_t at = 100; at < 1000000; at += 300000) {
            shell("cp good a.zip");
            file_flip("a.zip", at);
            refused("damaged");
        }
        for (size_t size = 200; size < 1000000; size += 300000) {
            shell("head -c %zu good > a.zip", size);
            refused("cut short");
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    need_tools("python3", NULL);
    const struct CMUnitTest tests[] = {
        TEST(every_way_of_storing),
        TEST(archives_of_other_content_are_refused),
        TEST(damage_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
