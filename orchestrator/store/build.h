/* SPDX-License-Identifier: Apache-2.0 */
/* From a decoder to a spool file: the calling thread decodes, worker threads hash, compress and
 * write. */
#ifndef STORE_BUILD_H
#define STORE_BUILD_H

#include "base/error.h"
#include "decoder/decoder.h"
#include "store/bmap.h"
#include "store/cache.h"
#include "store/spool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What the loop thread shows while the builder works. */
struct build_progress {
    atomic_bool cancelled;
    _Atomic uint64_t done;    /* bytes of the source, or of the spool file while it is checked */
    _Atomic uint64_t total;   /* 0: not known */
    _Atomic uint64_t decoded; /* bytes of the image */
};

/* Decodes everything there is and stores it in spool (initialised, empty), whose head gets
 * image_size and data_end. Looks at the image's first MiB early, so that something that is no disk
 * image is refused soon. The image must be what bmap (NULL: none) says; blocks of zeros that it
 * does not map become unmapped ones. Unused cached images make room where the file system is full.
 * 0 or -1 with err. */
int build_blocks(struct decoder *decoder, struct source *source, struct bmap *bmap,
                 struct spool *spool, struct cache *cache, struct build_progress *progress,
                 struct error *err);

#endif
