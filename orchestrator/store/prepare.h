/* SPDX-License-Identifier: Apache-2.0 */
/* All of what store_prepare does, as one blocking call for the builder's thread. */
#ifndef STORE_PREPARE_H
#define STORE_PREPARE_H

#include "store/build.h"
#include "store/handle.h"

/* Finds the image in the cache or builds it. cancel_fd becomes readable when progress->cancelled is
 * set. Returns a store that is not attached to a loop yet, or NULL with err. */
struct store *prepare_store(const struct store_options *options, struct build_progress *progress,
                            int cancel_fd, struct error *err);

#endif
