/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the bytes of a source into the bytes of the disk image, whatever it is compressed with. The
 * format is recognised by content. Everything here blocks and belongs on the builder's thread. */
#ifndef DECODER_DECODER_H
#define DECODER_DECODER_H

#include "base/error.h"
#include "source/source.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct decoder;

/* Looks at the first bytes of source and starts the right decoder; source must outlive it. Returns
 * NULL with err. */
struct decoder *decoder_open(struct source *source, struct error *err);

/* "xz", "gzip", "zstd", "bzip2", "zip" or "raw". */
const char *decoder_format(const struct decoder *decoder);

/* Fills out with the next size decoded bytes; fewer only at the end, 0: the end was reached before,
 * the source has been read and checked to its last byte. -1 with err: truncated, corrupt, followed
 * by something else (ERROR_USAGE), or the source's own error. */
ssize_t decoder_read(struct decoder *decoder, uint8_t *out, size_t size, struct error *err);

/* NULL is allowed. */
void decoder_close(struct decoder *decoder);

#endif
