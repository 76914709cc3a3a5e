/* SPDX-License-Identifier: Apache-2.0 */
/* Reading files of an ext2/3/4 file system inside an image, through libext2fs. Nothing is ever
 * written, a journal is not replayed, and the work is bounded whatever the file system says. */
#ifndef IMAGE_EXTFS_H
#define IMAGE_EXTFS_H

#include "image/facts.h"

#include <stdbool.h>

struct extfs;

/* NULL when it cannot be read. */
struct extfs *extfs_open(const struct image_reader *reader,
                         const struct image_partition *partition);
void extfs_close(struct extfs *fs);

/* An absolute path, symbolic links followed (absolute ones inside the file system). */
bool extfs_exists(struct extfs *fs, const char *path);

/* Is it a regular file with something in it? */
bool extfs_is_filled(struct extfs *fs, const char *path);

/* Reads at most size bytes of a regular file from offset. Returns how many, -1 when it cannot be
 * read. */
int extfs_read(struct extfs *fs, const char *path, uint64_t offset, void *out, size_t size);

#endif
