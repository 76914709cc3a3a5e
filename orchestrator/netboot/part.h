/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an image, as a board's boot loader fetches them: a range of the image cut into equal
 * pieces that fit the board's RAM. Nothing is copied to disk; what a transfer holds in memory is
 * bounded. */
#ifndef NETBOOT_PART_H
#define NETBOOT_PART_H

#include "netboot/byte_source.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define PART_SIZE_DEFAULT (750ull << 20) /* fits a board with 1 GiB */
#define PARTS_MAX         2048u          /* the script that fetches them has to fit, too */

struct part_layout {
    uint64_t start, end; /* bytes of the image that are cut up; end 0: the image's */
    uint64_t size;       /* of each part but the last; 0: PART_SIZE_DEFAULT */
};

struct parts;

/* For all targets that get the same image in the same way. NULL with err (ERROR_USAGE: a layout
 * that does not fit the image). */
struct parts *parts_open(uv_loop_t *loop, struct store *store, const struct part_layout *layout,
                         struct error *err);

/* How many there are, at least one; and the size of one in bytes. */
unsigned parts_count(const struct parts *parts);
uint64_t parts_size(const struct parts *parts, unsigned part);

/* Where a part begins in the image, in bytes. */
uint64_t parts_offset(const struct parts *parts, unsigned part);

/* Everything the parts hold. */
uint64_t parts_total(const struct parts *parts);

/* A reader for one transfer; gzip: as a gzip file with one member (RFC 1952), whose size is not
 * known beforehand. NULL when memory is short or there is no such part. */
struct byte_source *part_open(struct parts *parts, unsigned part, bool gzip);

/* Once a reader has handed out the last byte: the crc32 of the part (unpacked). False before. */
bool part_crc(const struct byte_source *source, uint32_t *crc);

/* Another reference, given back by parts_close. Returns parts. */
struct parts *parts_ref(struct parts *parts);

/* Gives a reference back. Once the last one is, and the last reader closed, the parts are freed and
 * the store may be closed (not before). NULL is allowed. */
void parts_close(struct parts *parts);

#endif
