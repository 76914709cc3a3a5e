/* SPDX-License-Identifier: Apache-2.0 */
/* Block maps: made by bmaptool and by hand, what they leave out, and which are refused. */
#include "store/bmap.h"
#include "store_help.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK      4096u
#define IMAGE_SIZE (40u * STORE_BLOCK_SIZE + 5 * 512)

/* An image of which the store's blocks 10 … 19 are a hole, 20 is a hole but for 4 KiB, and 30 is
 * zeros that are written down. */
static int enter(void **state)
{
    (void)state;
    scratch_enter();
    image_make("dense", IMAGE_SIZE);
    shell("python3 - <<'END'\n"
          "S = 131072\n"
          "data = bytearray(open('dense', 'rb').read())\n"
          "data = bytearray(b or 1 for b in data)\n"
          "data[:4096] = open('dense', 'rb').read(4096)\n"
          "data[S * 10:S * 21] = bytes(S * 11)\n"
          "data[S * 20 + 8192:S * 20 + 12288] = b'x' * 4096\n"
          "data[S * 30:S * 31] = bytes(S)\n"
          "out = open('raw', 'wb')\n"
          "for at in range(0, len(data), 4096):\n"
          "    piece = data[at:at + 4096]\n"
          "    if any(piece) or at // S == 30:\n"
          "        out.seek(at); out.write(piece)\n"
          "out.truncate(len(data))\n"
          "END");
    return 0;
}

static int leave(void **state)
{
    (void)state;
    scratch_leave();
    return 0;
}

static void prepare(const char *image, bool no_cache, uv_loop_t *loop, struct prepared *prepared)
{
    struct store_options options = {.image = image, .cache_dir = "cache", .no_cache = no_cache};
    uv_loop_init(loop);
    prepare_wait(loop, &options, prepared);
}

/* Prepares and returns how many blocks are unmapped; every other one must be the image's. */
static struct store_info prepare_good(const char *image)
{
    uv_loop_t loop;
    struct prepared prepared;
    size_t size;
    uint8_t *raw = file_read("raw", &size), *block = malloc(STORE_BLOCK_SIZE);
    prepare(image, false, &loop, &prepared);
    if (prepared.store == NULL)
        fail_msg("%s: %s", image, prepared.err.text);
    struct store_info info = *store_info(prepared.store);
    uint32_t unmapped = 0;
    assert_int_equal(info.image_size, size);
    for (uint32_t i = 0; i < info.block_count; i++) {
        const struct manifest_entry *entry = store_entry(prepared.store, i);
        int got = store_read_block(prepared.store, i, block, NULL);
        assert_memory_equal(block, raw + (size_t)i * STORE_BLOCK_SIZE, got);
        uint8_t hash[PROTOCOL_HASH_SIZE];
        crypto_generichash(hash, sizeof hash, block, (size_t)got, NULL, 0);
        if (sodium_is_zero(entry->hash, sizeof hash)) {
            unmapped++;
            assert_int_equal(entry->wire_size, 0);
            assert_in_range(i, 10, 19);
        } else
            assert_memory_equal(entry->hash, hash, sizeof hash);
    }
    assert_int_equal(unmapped, info.unmapped_blocks);
    store_finish(&loop, prepared.store);
    free(block);
    free(raw);
    return info;
}

static void refused(const char *image, const char *word)
{
    uv_loop_t loop;
    struct prepared prepared;
    prepare(image, false, &loop, &prepared);
    if (prepared.store != NULL)
        fail_msg("accepted, expected: %s", word);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    assert_int_equal(prepared.err.cls, ERROR_USAGE);
    if (strstr(prepared.err.text, word) == NULL)
        fail_msg("expected '%s' in: %s", word, prepared.err.text);
    assert_true(prepared.err.remedy[0] != '\0');
    assert_int_equal(files_ending("cache", ".spool"), 0);
}

/* Writes a map of all of raw's 4 KiB blocks that are not in a hole. kind: "sha1" or "sha256", or ""
 * for none. */
static void map_make(const char *path, const char *version, const char *kind)
{
    shell(
        "python3 - '%s' '%s' '%s' <<'END'\n"
        "import hashlib, sys\n"
        "path, version, kind = sys.argv[1:]\n"
        "data = open('raw', 'rb').read()\n"
        "blocks = [data[i:i + 4096] for i in range(0, len(data), 4096)]\n"
        "mapped = [i for i, b in enumerate(blocks) if any(b) or i // 32 == 30]\n"
        "ranges = []\n"
        "for i in mapped:\n"
        "    if ranges and ranges[-1][1] == i - 1: ranges[-1][1] = i\n"
        "    else: ranges.append([i, i])\n"
        "old = version == '1.3'\n"
        "out = f'<?xml version=\"1.0\" ?>\\n<!-- a comment -->\\n<bmap version=\"{version}\">\\n'\n"
        "out += f'<ImageSize> {len(data)} </ImageSize>\\n<BlockSize> 4096 </BlockSize>\\n'\n"
        "out += f'<BlocksCount> {len(blocks)} </BlocksCount>\\n'\n"
        "out += f'<MappedBlocksCount> {len(mapped)} </MappedBlocksCount>\\n'\n"
        "own = 'BmapFileSHA1' if old else 'BmapFileChecksum'\n"
        "if kind:\n"
        "    if not old: out += f'<ChecksumType> {kind} </ChecksumType>\\n'\n"
        "    digits = hashlib.new(kind).digest_size * 2\n"
        "    out += f'<{own}> {\"0\" * digits} </{own}>\\n'\n"
        "out += '<BlockMap>\\n'\n"
        "for a, b in ranges:\n"
        "    text = str(a) if a == b else f'{a}-{b}'\n"
        "    sum = kind and hashlib.new(kind, b''.join(blocks[a:b + 1])).hexdigest()\n"
        "    name = 'sha1' if old else 'chksum'\n"
        "    out += f'<Range' + (f' {name}=\"{sum}\"' if kind else '') + f'> {text} </Range>\\n'\n"
        "out += '</BlockMap>\\n</bmap>\\n'\n"
        "if kind:\n"
        "    sum = hashlib.new(kind, out.encode()).hexdigest()\n"
        "    out = out.replace('0' * digits, sum, 1)\n"
        "open(path, 'w').write(out)\n"
        "END",
        path, version, kind);
}

/* Changes a map with sed and makes its own checksum right again. */
static void map_edit(const char *path, const char *edit)
{
    shell("python3 - %s <<'END'\n"
          "import hashlib, re, subprocess, sys\n"
          "text = subprocess.check_output(['sed', '%s', sys.argv[1]], text=True)\n"
          "own = re.search('<BmapFileChecksum>\\\\s*(\\\\w+)', text)[1]\n"
          "text = text.replace(own, '0' * 64)\n"
          "text = text.replace('0' * 64, hashlib.sha256(text.encode()).hexdigest(), 1)\n"
          "open(sys.argv[1], 'w').write(text)\n"
          "END",
          path, edit);
}

static void map_of_every_version_leaves_the_hole_out(void **state)
{
    (void)state;
    const char *maps[][3] = {
        {"1.3", "sha1", ""}, {"1.4", "sha256", ""}, {"2.0", "sha256", ""}, {"2.0", "sha512", ""}};
    shell("xz -k raw; cp raw.xz other.xz");
    for (size_t i = 0; i < 4; i++) {
        map_make("raw.bmap", maps[i][0], maps[i][1]);
        shell("rm -rf cache");
        assert_int_equal(prepare_good("raw").unmapped_blocks, 10);
        struct store_info info = prepare_good("raw.xz"); /* raw.bmap is its map, too */
        assert_int_equal(info.unmapped_blocks, 10);
        assert_int_equal(info.zero_blocks, 1);
    }
    assert_int_equal(prepare_good("other.xz").unmapped_blocks, 0);
    shell("mv raw.bmap raw.xz.bmap");
    assert_int_equal(prepare_good("raw.xz").unmapped_blocks, 10);
}

static void map_by_bmaptool(void **state)
{
    (void)state;
    if (system("command -v bmaptool >/dev/null") != 0)
        skip();
    shell("bmaptool -q create raw > raw.bmap");
    /* What the file system calls a hole decides, so this may differ a bit. */
    uint32_t unmapped = prepare_good("raw").unmapped_blocks;
    assert_in_range(unmapped, 9, 10);
}

static void map_without_checksums_leaves_nothing_out(void **state)
{
    (void)state;
    map_make("raw.bmap", "1.2", "");
    assert_int_equal(prepare_good("raw").unmapped_blocks, 0);
}

/* With and without a map are two things in the cache. */
static void cache_knows_the_map(void **state)
{
    (void)state;
    uint8_t id[PROTOCOL_HASH_SIZE];
    struct store_info info = prepare_good("raw");
    memcpy(id, info.image_id, sizeof id);
    map_make("raw.bmap", "2.0", "sha256");
    info = prepare_good("raw");
    assert_false(info.from_cache);
    assert_memory_not_equal(id, info.image_id, sizeof id);
    info = prepare_good("raw");
    assert_true(info.from_cache);
    assert_int_equal(info.unmapped_blocks, 10);
    shell("rm raw.bmap");
    info = prepare_good("raw");
    assert_true(info.from_cache);
    assert_int_equal(info.unmapped_blocks, 0);
    assert_int_equal(files_ending("cache", ".spool"), 2);
}

/* A map that leaves data out is a wrong one; the data is kept. */
static void unmapped_data_is_kept(void **state)
{
    (void)state;
    map_make("raw.bmap", "2.0", "sha256");
    file_flip("raw", 15 * STORE_BLOCK_SIZE + 77);
    assert_int_equal(prepare_good("raw").unmapped_blocks, 9);
}

static void map_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    map_make("good", "2.0", "sha256");
    shell("cp good raw.bmap");
    file_flip("raw", 3 * STORE_BLOCK_SIZE);
    refused("raw", "another sha256 checksum in blocks 0-319");
    file_flip("raw", 3 * STORE_BLOCK_SIZE);
    shell("cp raw keep; truncate -s -512 raw");
    refused("raw", "");
    shell("cp keep raw; truncate -s +4096 raw");
    refused("raw", "is for an image of");
    shell("cp keep raw");
    assert_int_equal(prepare_good("raw").unmapped_blocks, 10);
}

static void damaged_map_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *edit, *word;
    } cases[] = {
        {"s/version=\"2.0\"/version=\"3.0\"/", "version is not known"},
        {"s/bmap/map/", "no block map"},
        {"s/> sha256 </> md5 </", "kind of checksum"},
        {"/<BlockSize>/d", "do not fit each other"},
        {"s/<MappedBlocksCount> /&1/", "do not add up"},
        {"s/<BlocksCount> /&1/", "do not fit each other"},
        {"s/> 0-/> 5000-/", "a range is none"},
        {"s/> 0-319 </> 0-99999 </", ""},
        {"s/> 0-319 </> x </", "a range is none"},
        {"s/chksum=\"../chksum=\"/", "checksum of a range"},
        {"s/chksum=\"../chksum=\"zz/", "checksum of a range"},
        {"s,</bmap>,,", "no element found"},
        {"s/<!-- a comment -->/<!DOCTYPE bmap []>/", "document type"},
    };
    map_make("good", "2.0", "sha256");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shell("cp good raw.bmap");
        map_edit("raw.bmap", cases[i].edit);
        refused("raw", cases[i].word);
    }
    shell("cp good raw.bmap; sed -i 's/> 0-319 </> 0-318 </' raw.bmap");
    refused("raw", "its own checksum does not match");
    shell("sed '/BmapFileChecksum/d' good > raw.bmap");
    refused("raw", "its own checksum is missing");
    shell(": > raw.bmap");
    refused("raw", "cannot be used");
}

/* Nobody signed the map: with a signature demanded it has no say. */
static void signed_image_is_written_whole(void **state)
{
    (void)state;
    if (system("command -v minisign >/dev/null") != 0)
        skip();
    uv_loop_t loop;
    struct prepared prepared;
    struct store_options options = {.image = "raw", .cache_dir = "cache", .minisign = "key.pub"};
    map_make("raw.bmap", "2.0", "sha256");
    shell("minisign -G -W -p key.pub -s key >/dev/null; minisign -S -s key -m raw >/dev/null");
    uv_loop_init(&loop);
    prepare_wait(&loop, &options, &prepared);
    assert_non_null(prepared.store);
    assert_int_equal(store_info(prepared.store)->unmapped_blocks, 0);
    store_finish(&loop, prepared.store);
}

/* In pieces of any size. */
static void image_is_compared_in_pieces(void **state)
{
    (void)state;
    size_t size, map_size;
    map_make("raw.bmap", "2.0", "sha256");
    uint8_t *raw = file_read("raw", &size), *map = file_read("raw.bmap", &map_size);
    for (size_t step = 1000; step < 300000; step = step * 3 + 1) {
        struct error err = {0};
        struct bmap *bmap = bmap_parse("raw.bmap", map, map_size, &err);
        assert_non_null(bmap);
        for (size_t at = 0; at < size; at += step)
            assert_int_equal(bmap_feed(bmap, raw + at, size - at < step ? size - at : step, &err),
                             0);
        assert_int_equal(bmap_finish(bmap, &err), 0);
        assert_true(bmap_is_unmapped(bmap, 10 * STORE_BLOCK_SIZE, 10 * STORE_BLOCK_SIZE + 8192));
        assert_false(bmap_is_unmapped(bmap, 10 * STORE_BLOCK_SIZE, 10 * STORE_BLOCK_SIZE + 8193));
        assert_false(bmap_is_unmapped(bmap, 10 * STORE_BLOCK_SIZE - 1, 2));
        assert_false(bmap_is_unmapped(bmap, size - 1, 1));
        bmap_free(bmap);
    }
    free(raw);
    free(map);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    need_tools("python3", "xz", NULL);
    const struct CMUnitTest tests[] = {
        TEST(map_of_every_version_leaves_the_hole_out),
        TEST(map_by_bmaptool),
        TEST(map_without_checksums_leaves_nothing_out),
        TEST(cache_knows_the_map),
        TEST(unmapped_data_is_kept),
        TEST(map_that_does_not_fit_is_refused),
        TEST(damaged_map_is_refused),
        TEST(signed_image_is_written_whole),
        TEST(image_is_compared_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
