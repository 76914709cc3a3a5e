/* SPDX-License-Identifier: Apache-2.0 */
/* The sha256 an image file should have: from the command line, from a file beside it. */
#ifndef SOURCE_CHECKSUM_H
#define SOURCE_CHECKSUM_H

#include "base/error.h"

#include <limits.h>

struct checksum {
    char hex[65];          /* lower case; "": nothing is expected */
    char origin[PATH_MAX]; /* "--sha256", or the file that says so */
};

/* Finds what is expected of image: option when it is not NULL; else IMAGE.sha256 (coreutils or BSD
 * lines, or a bare sum); else the line for it in SHA256SUMS beside it. Both are fetched for an
 * image with an http(s) address. Returns 0, or -1 with err when the option is no sha256 or
 * IMAGE.sha256 holds none, or when something else than its absence keeps it from being read. "-"
 * has no files beside it. */
int checksum_find(const char *image, const char *option, int cancel_fd, struct checksum *checksum,
                  struct error *err);

/* 0 when hex is what is expected (or nothing is), else -1 with err (ERROR_USAGE). */
int checksum_compare(const struct checksum *checksum, const char *name, const char *hex,
                     struct error *err);

#endif
