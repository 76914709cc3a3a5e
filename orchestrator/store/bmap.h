/* SPDX-License-Identifier: Apache-2.0 */
/* Block maps beside images (bmaptool, versions 1.2 to 2.0): which blocks of an image mean
 * something, and the checksums of those. */
#ifndef STORE_BMAP_H
#define STORE_BMAP_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BMAP_DIGEST_MAX 64u
#define BMAP_KEY_DIGITS 16u

/* A run of mapped blocks. */
struct bmap_range {
    uint64_t first, last; /* blocks, both included */
    bool has_digest;
    uint8_t digest[BMAP_DIGEST_MAX];
};

struct bmap {
    char *name; /* for messages */
    unsigned major, minor;
    uint64_t image_size, block_size, block_count, mapped_count;
    char digest_name[16]; /* "sha256"; "": the map has no checksums */
    size_t digest_size;
    size_t range_count, range_capacity;
    struct bmap_range *ranges;     /* ascending */
    bool all_checked;              /* every range has a checksum: the map is to be believed */
    char key[BMAP_KEY_DIGITS + 1]; /* of the map's content */
    /* How far the image has been compared with it. */
    uint64_t position;
    size_t current; /* range */
    void *digest;   /* of what was seen of the current one: EVP_MD_CTX */
};

/* Looks for the map beside an image: IMAGE.bmap, or that of its name without .xz and the like.
 * *bmap is NULL when there is none. 0, or -1 with err (ERROR_USAGE: damaged, or of a version that
 * is not known). */
int bmap_find(const char *image, int cancel_fd, struct bmap **bmap, struct error *err);

/* Takes a map's text apart and checks it against its own checksum. NULL with err. */
struct bmap *bmap_parse(const char *name, const uint8_t *data, size_t size, struct error *err);

/* Compares the next decoded bytes of the image. 0, or -1 with err: a range has another checksum. */
int bmap_feed(struct bmap *bmap, const uint8_t *bytes, size_t size, struct error *err);

/* The image has ended: is it as long as the map says? 0 or -1 with err. */
int bmap_finish(const struct bmap *bmap, struct error *err);

/* True when none of these bytes of the image is mapped, by a map that is to be believed. */
bool bmap_is_unmapped(const struct bmap *bmap, uint64_t offset, uint64_t size);

/* NULL is allowed. */
void bmap_free(struct bmap *bmap);

#endif
