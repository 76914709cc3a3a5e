/* SPDX-License-Identifier: Apache-2.0 */
/* Is this the beginning of a disk image at all? */
#ifndef IMAGE_JUDGE_H
#define IMAGE_JUDGE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* How many of the image's first bytes image_judge wants to see. */
#define JUDGE_HEAD (1024u * 1024u)

/* Looks at the first size decoded bytes (all of them when the image is smaller than JUDGE_HEAD): a
 * partition table, a boot sector or a known file system must be there. 0, or -1 with err
 * (ERROR_USAGE) that says what it looks like instead. name: the image's, format: its compression,
 * both for the message. */
int image_judge(const uint8_t *head, size_t size, const char *name, const char *format,
                struct error *err);

/* Is that a size a disk image can have? 0, or -1 with err. */
int image_judge_size(uint64_t size, const char *name, const char *format, struct error *err);

#endif
