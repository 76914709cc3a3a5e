/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request for a file, whole or from an offset on, and its answer: libcurl held back by a
 * buffer of fixed size. Redirects are followed here, never from https to http. */
#ifndef SOURCE_TRANSFER_H
#define SOURCE_TRANSFER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the headers of the last answer (behind all redirects) say. */
struct transfer_answer {
    long status;         /* 0: none came */
    uint64_t from;       /* 206: the first byte's place */
    uint64_t size;       /* of the whole file, 0: not said */
    char validator[256]; /* a strong one (RFC 9110, 8.8): the ETag, or a Last-Modified that is 60 s
                            older than the answer; "": none */
};

enum transfer_end {
    TRANSFER_RUNS,
    TRANSFER_WHOLE,  /* everything the server announced came */
    TRANSFER_BROKEN, /* worth another try: err says why */
    TRANSFER_DEAD,   /* the same again would give the same */
};

struct transfer;

/* Asks for url from byte from on, on condition that validator (from > 0 only) still fits. name: url
 * as shown in messages. Nothing is sent before transfer_wait. Returns NULL with err. */
struct transfer *transfer_open(const char *url, const char *name, uint64_t from,
                               const char *validator, unsigned connect_seconds, struct error *err);

/* The answer, once transfer_wait has returned. */
const struct transfer_answer *transfer_answer(const struct transfer *transfer);

/* Blocks until there is an answer (before: with answer_only) or a byte, or the end. 0; -1 with err:
 * cancelled (cancel_fd became readable). idle_seconds without a byte are an end: TRANSFER_BROKEN.
 */
int transfer_wait(struct transfer *transfer, bool answer_only, int cancel_fd, unsigned idle_seconds,
                  struct error *err);

/* Takes what has come, at most size bytes; 0: nothing at the moment. */
size_t transfer_take(struct transfer *transfer, uint8_t *out, size_t size);

/* Only meaningful when nothing is left to take. err (may be NULL) gets the reason of BROKEN and
 * DEAD. */
enum transfer_end transfer_end(const struct transfer *transfer, struct error *err);

/* NULL is allowed. */
void transfer_close(struct transfer *transfer);

#endif
