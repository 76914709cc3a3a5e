/* SPDX-License-Identifier: Apache-2.0 */
/* What a command says when it cannot go on, and its exit code. */
#ifndef COMPLAIN_H
#define COMPLAIN_H

#include "base/error.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_BUSY = 4 };

/* Says it on stderr; EXIT_BUSY for ERROR_BUSY, else EXIT_USAGE. */
int complain(const struct error *err);

#endif
