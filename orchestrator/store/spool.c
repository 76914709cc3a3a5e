/* SPDX-License-Identifier: Apache-2.0 */
#include "store/spool.h"

#include <endian.h>
#include <errno.h>
#include <lzma.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zstd.h>

#define SPOOL_MAGIC   "FFspool\n"
#define SPOOL_VERSION 1u
#define HEADER_SIZE   4096u /* the blocks begin behind it */
#define ENTRY_SIZE    56u
#define TRAILER_SIZE  32u /* BLAKE2b-256 over header and index */

/* A cursor over little-endian fields; the same walk writes and reads them. */
struct field_walk {
    uint8_t *bytes;
    size_t pos;
    bool writing;
};

static void walk_u32(struct field_walk *walk, uint32_t *value)
{
    uint32_t little = htole32(*value);
    if (walk->writing)
        memcpy(walk->bytes + walk->pos, &little, 4);
    memcpy(&little, walk->bytes + walk->pos, 4);
    *value = le32toh(little);
    walk->pos += 4;
}

static void walk_u64(struct field_walk *walk, uint64_t *value)
{
    uint64_t little = htole64(*value);
    if (walk->writing)
        memcpy(walk->bytes + walk->pos, &little, 8);
    memcpy(&little, walk->bytes + walk->pos, 8);
    *value = le64toh(little);
    walk->pos += 8;
}

static void walk_bytes(struct field_walk *walk, void *value, size_t size)
{
    if (walk->writing)
        memcpy(walk->bytes + walk->pos, value, size);
    memcpy(value, walk->bytes + walk->pos, size);
    walk->pos += size;
}

static void header_walk(struct field_walk *walk, uint32_t *version, struct spool_head *head)
{
    walk_u32(walk, version);
    walk_u32(walk, &head->block_size);
    walk_u32(walk, &head->block_count);
    walk_u32(walk, &head->zero_blocks);
    walk_u64(walk, &head->image_size);
    walk_u64(walk, &head->wire_bytes);
    walk_u64(walk, &head->data_end);
    walk_u64(walk, &head->source_size);
    walk_bytes(walk, head->source_sha256, sizeof head->source_sha256);
    walk_bytes(walk, head->format, sizeof head->format);
    walk_bytes(walk, head->image_id, sizeof head->image_id);
}

static void entry_walk(struct field_walk *walk, struct manifest_entry *entry,
                       struct spool_place *place)
{
    uint32_t encoding = place->encoding;
    walk_bytes(walk, entry->hash, sizeof entry->hash);
    walk_u64(walk, &place->offset);
    walk_u64(walk, &place->check);
    walk_u32(walk, &entry->wire_size);
    walk_u32(walk, &encoding);
    place->encoding = (uint8_t)(encoding > ENCODING_ZSTD ? UINT8_MAX : encoding);
}

/* Reads or writes all of it; at the end of the file errno is EIO. */
static int read_full(int fd, uint8_t *out, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t got = pread(fd, out, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? EIO : errno;
            return -1;
        }
        out += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

int spool_write(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t put = pwrite(fd, data, size, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? ENOSPC : errno;
            return -1;
        }
        data += put;
        offset += (uint64_t)put;
        size -= (size_t)put;
    }
    return 0;
}

void spool_init(struct spool *spool, int fd, uint32_t block_size)
{
    memset(spool, 0, sizeof *spool);
    spool->fd = fd;
    spool->head.block_size = block_size;
    spool->head.data_end = HEADER_SIZE;
}

static int tables_resize(struct spool *spool, uint32_t capacity)
{
    struct manifest_entry *entries = reallocarray(spool->entries, capacity, sizeof *entries);
    if (entries != NULL)
        spool->entries = entries;
    struct spool_place *places = reallocarray(spool->places, capacity, sizeof *places);
    if (places != NULL)
        spool->places = places;
    if (entries == NULL || places == NULL)
        return -1;
    spool->capacity = capacity;
    return 0;
}

int spool_reserve(struct spool *spool, uint32_t index, struct error *err)
{
    if (index < spool->capacity)
        return 0;
    if (tables_resize(spool, index + index / 2 + 1024) < 0)
        return error_set(err, ERROR_IO, "out of memory for an image of %u blocks", index);
    return 0;
}

static void image_id_compute(struct spool *spool)
{
    struct spool_head *head = &spool->head;
    crypto_generichash_state state;
    uint64_t size = htole64(head->image_size);
    uint32_t block_size = htole32(head->block_size);
    crypto_generichash_init(&state, NULL, 0, PROTOCOL_HASH_SIZE);
    crypto_generichash_update(&state, (const uint8_t *)&size, sizeof size);
    crypto_generichash_update(&state, (const uint8_t *)&block_size, sizeof block_size);
    for (uint32_t i = 0; i < head->block_count; i++)
        crypto_generichash_update(&state, spool->entries[i].hash, PROTOCOL_HASH_SIZE);
    crypto_generichash_final(&state, head->image_id, PROTOCOL_HASH_SIZE);
}

static void header_encode(struct spool *spool, uint8_t header[HEADER_SIZE])
{
    uint32_t version = SPOOL_VERSION;
    struct field_walk walk = {.bytes = header, .pos = 8, .writing = true};
    memset(header, 0, HEADER_SIZE);
    memcpy(header, SPOOL_MAGIC, 8);
    header_walk(&walk, &version, &spool->head);
}

static void trailer_compute(const uint8_t *header, const uint8_t *index, size_t index_size,
                            uint8_t out[TRAILER_SIZE])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, TRAILER_SIZE);
    crypto_generichash_update(&state, header, HEADER_SIZE);
    crypto_generichash_update(&state, index, index_size);
    crypto_generichash_final(&state, out, TRAILER_SIZE);
}

/* Adds up what the tables say. */
static void head_fill(struct spool *spool)
{
    struct spool_head *head = &spool->head;
    head->block_count = (uint32_t)((head->image_size + head->block_size - 1) / head->block_size);
    head->zero_blocks = 0;
    head->wire_bytes = 0;
    for (uint32_t i = 0; i < head->block_count; i++) {
        head->wire_bytes += spool->entries[i].wire_size;
        head->zero_blocks += spool->entries[i].wire_size == 0;
    }
    image_id_compute(spool);
}

int spool_seal(struct spool *spool)
{
    uint8_t header[HEADER_SIZE];
    head_fill(spool);
    header_encode(spool, header);
    size_t index_size = (size_t)spool->head.block_count * ENTRY_SIZE;
    struct field_walk walk = {.bytes = malloc(index_size + TRAILER_SIZE), .writing = true};
    if (walk.bytes == NULL) {
        errno = ENOMEM;
        return -1;
    }
    for (uint32_t i = 0; i < spool->head.block_count; i++)
        entry_walk(&walk, &spool->entries[i], &spool->places[i]);
    trailer_compute(header, walk.bytes, index_size, walk.bytes + index_size);
    int result =
        spool_write(spool->fd, walk.bytes, index_size + TRAILER_SIZE, spool->head.data_end);
    if (result == 0)
        result = spool_write(spool->fd, header, HEADER_SIZE, 0);
    if (result == 0)
        result = fdatasync(spool->fd);
    free(walk.bytes);
    return result;
}

/* Do the numbers of the header fit each other and the file? */
static bool head_plausible(const struct spool_head *head, uint64_t file_size)
{
    if (head->block_size < 4096 || head->block_size > PROTOCOL_BLOCK_MAX ||
        (head->block_size & (head->block_size - 1)) != 0)
        return false;
    if (head->image_size == 0 || head->image_size > SPOOL_IMAGE_MAX ||
        head->block_count != (head->image_size + head->block_size - 1) / head->block_size)
        return false;
    if (head->data_end < HEADER_SIZE || head->data_end > file_size || head->format[15] != '\0')
        return false;
    return file_size - head->data_end == (uint64_t)head->block_count * ENTRY_SIZE + TRAILER_SIZE;
}

static bool place_plausible(const struct spool *spool, uint32_t index)
{
    const struct spool_place *place = &spool->places[index];
    uint32_t wire_size = spool->entries[index].wire_size;
    uint32_t size = spool_block_size(spool, index);
    if (wire_size == 0)
        return true;
    if (place->encoding == ENCODING_RAW ? wire_size != size
                                        : place->encoding != ENCODING_ZSTD || wire_size > size)
        return false;
    return place->offset >= HEADER_SIZE && place->offset <= spool->head.data_end &&
           wire_size <= spool->head.data_end - place->offset;
}

/* Takes the index apart; false when an entry cannot be. */
static bool index_decode(struct spool *spool, uint8_t *index)
{
    struct field_walk walk = {.bytes = index};
    struct spool_head was = spool->head;
    if (tables_resize(spool, was.block_count) < 0)
        return false;
    for (uint32_t i = 0; i < was.block_count; i++) {
        entry_walk(&walk, &spool->entries[i], &spool->places[i]);
        if (!place_plausible(spool, i))
            return false;
    }
    head_fill(spool);
    return memcmp(was.image_id, spool->head.image_id, sizeof was.image_id) == 0 &&
           was.wire_bytes == spool->head.wire_bytes && was.zero_blocks == spool->head.zero_blocks;
}

int spool_load(struct spool *spool, int fd, struct error *err)
{
    struct stat status;
    uint8_t header[HEADER_SIZE], trailer[TRAILER_SIZE];
    uint32_t version = 0;
    uint8_t *index = NULL;
    struct field_walk walk = {.bytes = header, .pos = 8};
    spool_init(spool, fd, 0);
    if (fstat(fd, &status) < 0 || read_full(fd, header, HEADER_SIZE, 0) < 0)
        goto fail;
    header_walk(&walk, &version, &spool->head);
    if (memcmp(header, SPOOL_MAGIC, 8) != 0 || version != SPOOL_VERSION ||
        !head_plausible(&spool->head, (uint64_t)status.st_size))
        goto fail;
    size_t index_size = (size_t)spool->head.block_count * ENTRY_SIZE;
    index = malloc(index_size + TRAILER_SIZE);
    if (index == NULL || read_full(fd, index, index_size + TRAILER_SIZE, spool->head.data_end) < 0)
        goto fail;
    trailer_compute(header, index, index_size, trailer);
    if (memcmp(trailer, index + index_size, TRAILER_SIZE) != 0 || !index_decode(spool, index))
        goto fail;
    free(index);
    return 0;
fail:
    free(index);
    spool->fd = -1;
    spool_close(spool);
    return error_set(err, ERROR_IO, "the cached image is damaged (header or index)");
}

uint32_t spool_block_size(const struct spool *spool, uint32_t index)
{
    uint64_t begin = (uint64_t)index * spool->head.block_size;
    uint64_t left = spool->head.image_size - begin;
    return left < spool->head.block_size ? (uint32_t)left : spool->head.block_size;
}

static bool wire_is_whole(const struct spool *spool, uint32_t index, const uint8_t *bytes)
{
    return lzma_crc64(bytes, spool->entries[index].wire_size, 0) == spool->places[index].check;
}

bool spool_try_wire(const struct spool *spool, uint32_t index, uint8_t *out)
{
    uint32_t size = spool->entries[index].wire_size;
    struct iovec vector = {.iov_base = out, .iov_len = size};
    off_t offset = (off_t)spool->places[index].offset;
    return size == 0 || (preadv2(spool->fd, &vector, 1, offset, RWF_NOWAIT) == (ssize_t)size &&
                         wire_is_whole(spool, index, out));
}

int spool_read_wire(const struct spool *spool, uint32_t index, uint8_t *out, struct error *err)
{
    const struct spool_place *place = &spool->places[index];
    uint32_t size = spool->entries[index].wire_size;
    if (size == 0)
        return 0;
    if (read_full(spool->fd, out, size, place->offset) < 0)
        return error_set(err, ERROR_IO, "cannot read block %u of the cached image: %s", index,
                         strerror(errno));
    if (wire_is_whole(spool, index, out))
        return 0;
    error_set(err, ERROR_IO, "block %u of the cached image is damaged on disk", index);
    return error_remedy(err,
                        "start again: the cache builds the image anew; check the disk it is on");
}

int spool_read_block(const struct spool *spool, uint32_t index, uint8_t *out, struct error *err)
{
    uint32_t size = spool_block_size(spool, index);
    uint32_t wire_size = spool->entries[index].wire_size;
    if (wire_size == 0) {
        memset(out, 0, size);
        return (int)size;
    }
    if (spool->places[index].encoding == ENCODING_RAW)
        return spool_read_wire(spool, index, out, err) < 0 ? -1 : (int)size;
    uint8_t *wire = malloc(wire_size);
    if (wire == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    int result = spool_read_wire(spool, index, wire, err);
    if (result == 0 && ZSTD_decompress(out, size, wire, wire_size) != size)
        result =
            error_set(err, ERROR_IO, "block %u of the cached image does not decompress", index);
    free(wire);
    return result < 0 ? -1 : (int)size;
}

int spool_verify(const struct spool *spool, const atomic_bool *cancelled, _Atomic uint64_t *done,
                 struct error *err)
{
    uint8_t *wire = malloc(spool->head.block_size);
    int result = wire != NULL ? 0 : error_set(err, ERROR_IO, "out of memory");
    for (uint32_t i = 0; i < spool->head.block_count && result == 0; i++) {
        if (atomic_load(cancelled))
            result = error_set(err, ERROR_CANCELLED, "checking the cached image was cancelled");
        else
            result = spool_read_wire(spool, i, wire, err);
        atomic_fetch_add(done, spool->entries[i].wire_size);
    }
    free(wire);
    return result;
}

void spool_close(struct spool *spool)
{
    free(spool->entries);
    free(spool->places);
    spool->entries = NULL;
    spool->places = NULL;
    if (spool->fd >= 0)
        close(spool->fd);
    spool->fd = -1;
}
