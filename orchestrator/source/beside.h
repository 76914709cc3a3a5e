/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that lie beside an image, on disk or on its server: sums, signatures, block maps. */
#ifndef SOURCE_BESIDE_H
#define SOURCE_BESIDE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define BESIDE_MAX (64u << 20) /* bytes; a block map of a shredded image has several MiB */

struct beside {
    char *name;    /* for messages */
    uint8_t *data; /* NUL behind its end */
    size_t size;
};

/* Reads the file that is called as image with ending appended or, when file is not NULL, file in
 * image's folder. Returns 1; 0 when there is none (name is filled then, too; "-" has none, and its
 * name is ""); -1 with err. Free it in all cases. */
int beside_read(const char *image, const char *file, const char *ending, int cancel_fd,
                struct beside *beside, struct error *err);

/* Reads the file of that name. 1, 0, -1 as above. */
int beside_read_path(const char *path, struct beside *beside, struct error *err);

/* A zeroed one is allowed. */
void beside_free(struct beside *beside);

/* The image's name without folders, for looking it up in lists; the caller frees. */
char *beside_base_name(const char *image);

#endif
