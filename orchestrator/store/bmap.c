/* SPDX-License-Identifier: Apache-2.0 */
#include "store/bmap.h"

#include "source/beside.h"
#include "source/url.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The image's name without the ending of its compression, NULL: it has none such. Caller frees. */
static char *name_uncompressed(const char *image)
{
    static const char *const endings[] = {".xz", ".gz", ".zst", ".bz2", ".zip"};
    char *name = beside_base_name(image), *stripped = NULL;
    size_t size = name != NULL ? strlen(name) : 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings && stripped == NULL; i++) {
        size_t tail = strlen(endings[i]);
        if (size <= tail || strcmp(name + size - tail, endings[i]) != 0)
            continue;
        if (url_is_http(image))
            stripped = url_without(image, tail);
        else
            stripped = strndup(image, strlen(image) - tail);
    }
    free(name);
    return stripped;
}

int bmap_find(const char *image, int cancel_fd, struct bmap **bmap, struct error *err)
{
    struct beside file;
    *bmap = NULL;
    int found = beside_read(image, NULL, ".bmap", cancel_fd, &file, err);
    char *stripped = found == 0 ? name_uncompressed(image) : NULL;
    if (stripped != NULL) {
        beside_free(&file);
        found = beside_read(stripped, NULL, ".bmap", cancel_fd, &file, err);
        free(stripped);
    }
    if (found > 0) {
        *bmap = bmap_parse(file.name, file.data, file.size, err);
        found = *bmap != NULL ? 0 : -1;
    }
    beside_free(&file);
    return found;
}

/* Where in the image a range begins and ends. */
static uint64_t range_begin(const struct bmap *bmap, const struct bmap_range *range)
{
    return range->first * bmap->block_size;
}

static uint64_t range_end(const struct bmap *bmap, const struct bmap_range *range)
{
    uint64_t end = (range->last + 1) * bmap->block_size;
    return end < bmap->image_size ? end : bmap->image_size;
}

static int digest_start(struct bmap *bmap, struct error *err)
{
    const EVP_MD *kind = EVP_get_digestbyname(bmap->digest_name);
    if (bmap->digest == NULL)
        bmap->digest = EVP_MD_CTX_new();
    if (bmap->digest != NULL && kind != NULL && EVP_DigestInit_ex(bmap->digest, kind, NULL) == 1)
        return 0;
    return error_set(err, ERROR_IO, "cannot compute %s checksums", bmap->digest_name);
}

static int range_compare(struct bmap *bmap, const struct bmap_range *range, struct error *err)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_DigestFinal_ex(bmap->digest, sum, &size);
    if (size == bmap->digest_size && memcmp(sum, range->digest, size) == 0)
        return 0;
    error_set(
        err, ERROR_USAGE,
        "the image has another %s checksum in blocks %llu-%llu than its block map %.180s says",
        bmap->digest_name, (unsigned long long)range->first, (unsigned long long)range->last,
        bmap->name);
    return error_remedy(err, "one of them is damaged or of another version: fetch both again, or "
                             "remove the map");
}

/* Takes bytes of the current range, of which size are left. */
static int range_feed(struct bmap *bmap, const struct bmap_range *range, const uint8_t *bytes,
                      size_t size, struct error *err)
{
    if (!range->has_digest)
        return 0;
    if (bmap->position == range_begin(bmap, range) && digest_start(bmap, err) < 0)
        return -1;
    if (EVP_DigestUpdate(bmap->digest, bytes, size) != 1)
        return error_set(err, ERROR_IO, "cannot compute %s checksums", bmap->digest_name);
    if (bmap->position + size < range_end(bmap, range))
        return 0;
    return range_compare(bmap, range, err);
}

int bmap_feed(struct bmap *bmap, const uint8_t *bytes, size_t size, struct error *err)
{
    while (size > 0 && bmap->current < bmap->range_count) {
        const struct bmap_range *range = &bmap->ranges[bmap->current];
        uint64_t begin = range_begin(bmap, range), end = range_end(bmap, range);
        uint64_t until = bmap->position < begin ? begin : end;
        size_t take = until - bmap->position < size ? (size_t)(until - bmap->position) : size;
        if (bmap->position >= begin && range_feed(bmap, range, bytes, take, err) < 0)
            return -1;
        bmap->position += take;
        bytes += take;
        size -= take;
        bmap->current += bmap->position == end;
    }
    bmap->position += size;
    return 0;
}

int bmap_finish(const struct bmap *bmap, struct error *err)
{
    if (bmap->position == bmap->image_size)
        return 0;
    error_set(err, ERROR_USAGE,
              "the block map %.200s is for an image of %llu bytes, this one has %llu", bmap->name,
              (unsigned long long)bmap->image_size, (unsigned long long)bmap->position);
    return error_remedy(err, "fetch the map that belongs to the image, or remove it");
}

bool bmap_is_unmapped(const struct bmap *bmap, uint64_t offset, uint64_t size)
{
    size_t low = 0, high = bmap->range_count;
    while (low < high) { /* the first range that ends behind offset */
        size_t middle = low + (high - low) / 2;
        if (range_end(bmap, &bmap->ranges[middle]) > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return bmap->all_checked &&
           (low == bmap->range_count || range_begin(bmap, &bmap->ranges[low]) >= offset + size);
}

void bmap_free(struct bmap *bmap)
{
    if (bmap == NULL)
        return;
    EVP_MD_CTX_free(bmap->digest);
    free(bmap->ranges);
    free(bmap->name);
    free(bmap);
}
