/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DIRECTORY_H
#define BASE_DIRECTORY_H

#include "base/error.h"

/* Makes a directory and those above it, private to the user (0700); existing ones are left as they
 * are. 0, or -1 and ERROR_IO naming the part that could not be made. */
int directory_make(const char *path, struct error *err);

#endif
