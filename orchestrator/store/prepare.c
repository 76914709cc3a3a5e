/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prepare.h"

#include "source/checksum.h"
#include "source/signature.h"
#include "store/bmap.h"
#include "store/cache.h"
#include "store/view.h"

#include <errno.h>
#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How often to look again after another run finished or gave up building the same image. */
#define TRIES 5u

struct prepare {
    const struct store_options *options;
    struct build_progress *progress;
    int cancel_fd;
    struct checksum expected;
    struct bmap *bmap;           /* NULL: none is there */
    struct signature *signature; /* NULL: none is wanted */
    struct cache cache;
    struct cache_partial partial;
    struct source *source;
    struct store *store;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Fills info from the spool's header and the image itself. */
static int info_fill(struct prepare *prepare, struct error *err)
{
    struct store *store = prepare->store;
    const struct spool_head *head = &store->spool.head;
    struct store_info *info = &store->info;
    info->image_size = head->image_size;
    info->block_size = head->block_size;
    info->block_count = head->block_count;
    info->zero_blocks = head->zero_blocks;
    info->wire_bytes = head->wire_bytes;
    for (uint32_t i = 0; i < info->block_count; i++)
        info->unmapped_blocks +=
            sodium_is_zero(store->spool.entries[i].hash, PROTOCOL_HASH_SIZE) != 0;
    info->zero_blocks -= info->unmapped_blocks;
    memcpy(info->image_id, head->image_id, sizeof info->image_id);
    strcpy(info->facts.format, head->format);
    sodium_bin2hex(info->facts.sha256, sizeof info->facts.sha256, head->source_sha256,
                   sizeof head->source_sha256);
    info->facts.file_size = head->source_size;
    struct store_view *view = view_open(store, head->image_size, head->block_size);
    if (view == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    int result = image_facts_collect(view_reader(view), prepare->source->name, &info->facts, err);
    view_close(view);
    return result;
}

/* From now on, what is read from the source is verified. */
static int verify_begin(struct prepare *prepare, struct error *err)
{
    if (prepare->signature == NULL)
        return 0;
    return signature_begin(prepare->signature, prepare->source, err);
}

/* The source was read whole and has this content: is it what was expected? Notes what was found. */
static int verify_finish(struct prepare *prepare, const char *sha256, struct error *err)
{
    if (checksum_compare(&prepare->expected, prepare->source->name, sha256, err) < 0)
        return -1;
    if (prepare->signature == NULL)
        return 0;
    if (signature_finish(prepare->signature, err) < 0)
        return -1;
    const char *signers = signature_signers(prepare->signature);
    strcpy(prepare->store->info.signers, signers);
    if (!prepare->options->no_cache)
        cache_note_verified(&prepare->cache, sha256, signature_tag(prepare->signature), signers);
    return 0;
}

/* Was this content verified in an earlier run, with the same keys and signatures? */
static bool verified_before(struct prepare *prepare, const char *sha256)
{
    struct store_info *info = &prepare->store->info;
    return prepare->signature == NULL ||
           cache_is_verified(&prepare->cache, sha256, signature_tag(prepare->signature),
                             info->signers, sizeof info->signers);
}

/* Reads the whole source for its sha256 (and its signatures), without decoding. */
static int source_hash(struct prepare *prepare, char sha256[65], struct error *err)
{
    if (verify_begin(prepare, err) < 0)
        return -1;
    size_t size = 256u << 10;
    uint8_t *bytes = malloc(size);
    ssize_t got = bytes != NULL ? 1 : error_set(err, ERROR_IO, "out of memory");
    while (got > 0) {
        if (atomic_load(&prepare->progress->cancelled))
            got = error_set(err, ERROR_CANCELLED, "preparing the image was cancelled");
        else
            got = source_read(prepare->source, bytes, size, err);
        atomic_store(&prepare->progress->done, prepare->source->offset);
    }
    free(bytes);
    if (got < 0 || source_check(prepare->source, err) < 0)
        return -1;
    source_digest(prepare->source, sha256);
    return verify_finish(prepare, sha256, err);
}

static int source_reopen(struct prepare *prepare, struct error *err)
{
    source_close(prepare->source);
    prepare->source = source_open(prepare->options->image, prepare->cancel_fd, err);
    return prepare->source != NULL ? 0 : -1;
}

/* What content has the file, as far as that can be told without decoding? 1 known, 0 not, -1 err.
 */
static int content_known(struct prepare *prepare, char sha256[65], struct error *err)
{
    const struct source_identity *identity = &prepare->source->identity;
    if (!identity->known)
        return 0;
    if (cache_recall(&prepare->cache, identity, sha256) && verified_before(prepare, sha256))
        return 1;
    if (identity->remote || !cache_has_size(&prepare->cache, identity->size))
        return 0;
    if (source_hash(prepare, sha256, err) < 0)
        return -1;
    cache_remember(&prepare->cache, identity, sha256);
    return source_reopen(prepare, err) < 0 ? -1 : 1;
}

/* The name of what the store is made from. */
static void content_name(const struct prepare *prepare, const char *sha256,
                         char content[CACHE_CONTENT_MAX])
{
    const char *map = prepare->bmap != NULL ? prepare->bmap->key : "";
    snprintf(content, CACHE_CONTENT_MAX, "%.64s%s%s", sha256, *map != '\0' ? "+" : "", map);
}

/* Opens and checks the spool file of a content. 1 done, 0 there is none (any more), -1 err. */
static int cached_open(struct prepare *prepare, const char *sha256, struct error *err)
{
    struct error damage = {0};
    struct store *store = prepare->store;
    char content[CACHE_CONTENT_MAX];
    uint64_t size = prepare->source->size;
    content_name(prepare, sha256, content);
    int fd = cache_find(&prepare->cache, content, size);
    if (fd < 0)
        return 0;
    if (spool_load(&store->spool, fd, &damage) < 0) {
        close(fd);
        cache_remove(&prepare->cache, content, size);
        return 0;
    }
    atomic_store(&prepare->progress->done, 0);
    atomic_store(&prepare->progress->total, store->spool.head.wire_bytes);
    char recorded[65];
    sodium_bin2hex(recorded, sizeof recorded, store->spool.head.source_sha256, 32);
    if (strcmp(recorded, sha256) == 0 && spool_verify(&store->spool, &prepare->progress->cancelled,
                                                      &prepare->progress->done, &damage) == 0) {
        store->info.from_cache = true;
        return info_fill(prepare, err) < 0 ? -1 : 1;
    }
    spool_close(&store->spool);
    if (damage.cls == ERROR_CANCELLED) {
        *err = damage;
        return -1;
    }
    cache_remove(&prepare->cache, content, size);
    atomic_store(&prepare->progress->total, prepare->source->size);
    return 0;
}

/* Looks into the cache, and takes the right to build when it has nothing. 1 the store is open; 0
 * build; -1 err. */
static int cached_or_begin(struct prepare *prepare, struct error *err)
{
    for (unsigned i = 0; i < TRIES; i++) {
        char sha256[65];
        int known = content_known(prepare, sha256, err);
        if (known < 0)
            return -1;
        if (known > 0) {
            if (checksum_compare(&prepare->expected, prepare->source->name, sha256, err) < 0)
                return -1;
            int opened = cached_open(prepare, sha256, err);
            if (opened != 0)
                return opened;
        }
        int begun = cache_begin(&prepare->cache, &prepare->source->identity, &prepare->partial,
                                &prepare->progress->cancelled, err);
        if (begun != 0)
            return begun < 0 ? -1 : 0;
    }
    error_set(err, ERROR_BUSY, "other runs keep preparing %s and do not finish",
              prepare->source->name);
    return error_remedy(err, "start again when they are done");
}

/* Decodes into the partial file and checks everything that can be checked. */
static int build_contents(struct prepare *prepare, char sha256[65], struct error *err)
{
    struct source *source = prepare->source;
    struct spool *spool = &prepare->store->spool;
    if (verify_begin(prepare, err) < 0)
        return -1;
    struct decoder *decoder = decoder_open(source, err);
    if (decoder == NULL)
        return -1;
    spool_init(spool, prepare->partial.fd, STORE_BLOCK_SIZE);
    snprintf(spool->head.format, sizeof spool->head.format, "%s", decoder_format(decoder));
    int result = build_blocks(decoder, source, prepare->bmap, spool, &prepare->cache,
                              prepare->progress, err);
    decoder_close(decoder);
    if (result < 0 || source_check(source, err) < 0)
        return -1;
    source_digest(source, sha256);
    if (verify_finish(prepare, sha256, err) < 0)
        return -1;
    spool->head.source_size = source->offset;
    sodium_hex2bin(spool->head.source_sha256, 32, sha256, 64, NULL, NULL, NULL);
    return 0;
}

static int build_store(struct prepare *prepare, struct error *err)
{
    char sha256[65];
    struct spool *spool = &prepare->store->spool;
    double begin = seconds_now();
    if (build_contents(prepare, sha256, err) < 0)
        return -1;
    if (spool_seal(spool) < 0)
        return cache_write_failed(&prepare->cache, errno, spool->head.data_end, err);
    if (info_fill(prepare, err) < 0)
        return -1;
    uint64_t size = spool->head.source_size;
    char content[CACHE_CONTENT_MAX];
    content_name(prepare, sha256, content);
    int fd = cache_commit(&prepare->cache, &prepare->partial, content, size, err);
    if (fd < 0)
        return -1;
    spool->fd = fd;
    prepare->store->info.decode_seconds = seconds_now() - begin;
    if (!prepare->options->no_cache) {
        cache_remember(&prepare->cache, &prepare->source->identity, sha256);
        cache_evict(&prepare->cache, prepare->cache.limit);
    }
    return 0;
}

static int prepare_run(struct prepare *prepare, struct error *err)
{
    const struct store_options *options = prepare->options;
    if (sodium_init() < 0)
        return error_set(err, ERROR_IO, "libsodium does not start");
    prepare->source = source_open(options->image, prepare->cancel_fd, err);
    if (prepare->source == NULL ||
        cache_open(&prepare->cache, options->cache_dir, options->cache_limit, err) < 0)
        return -1;
    if (checksum_find(options->image, options->sha256, prepare->cancel_fd, &prepare->expected,
                      err) < 0)
        return -1;
    if (options->minisign != NULL || options->keyring != NULL) {
        prepare->signature = signature_open(options->image, options->minisign, options->keyring,
                                            prepare->cancel_fd, err);
        if (prepare->signature == NULL)
            return -1;
    } else if (bmap_find(options->image, prepare->cancel_fd, &prepare->bmap, err) < 0)
        return -1; /* nobody signed a map: it has no say about a signed image */
    atomic_store(&prepare->progress->total, prepare->source->size);
    if (options->no_cache) {
        if (cache_begin_unnamed(&prepare->cache, &prepare->partial, err) < 0)
            return -1;
    } else {
        int ready = cached_or_begin(prepare, err);
        if (ready != 0)
            return ready < 0 ? -1 : 0;
    }
    return build_store(prepare, err);
}

struct store *prepare_store(const struct store_options *options, struct build_progress *progress,
                            int cancel_fd, struct error *err)
{
    struct prepare prepare = {
        .options = options,
        .progress = progress,
        .cancel_fd = cancel_fd,
        .cache.dir_fd = -1,
        .partial.fd = -1,
        .store = calloc(1, sizeof *prepare.store),
    };
    if (prepare.store == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    prepare.store->spool.fd = -1;
    if (prepare_run(&prepare, err) < 0) {
        if (prepare.partial.fd >= 0)
            prepare.store->spool.fd = -1; /* it is the partial's */
        cache_abandon(&prepare.cache, &prepare.partial);
        store_discard(prepare.store);
        prepare.store = NULL;
    }
    bmap_free(prepare.bmap);
    signature_close(prepare.signature);
    cache_close(&prepare.cache);
    source_close(prepare.source);
    malloc_trim(0); /* what decoding took goes back before the links come */
    return prepare.store;
}
