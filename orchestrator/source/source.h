/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of an image come from: a file, standard input, or an http(s) address (http.h).
 * Everything here blocks and belongs on the builder's thread. */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "base/error.h"

#include <limits.h>
#include <openssl/ossl_typ.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What makes a file on disk the same file with the same content as last time. The change time is
 * part of it because, unlike the modification time, nothing can set it back. Of a file on a server
 * it is the address with the server's validator; the times are 0. */
struct source_identity {
    bool known;  /* false for pipes, devices and the like: nothing may be concluded from it */
    bool remote; /* reading it only to hash it costs as much as decoding it */
    char path[PATH_MAX];
    uint64_t size, inode;
    int64_t modified, changed; /* ns since 1970 */
};

struct source;

struct source_ops {
    /* At most size bytes; 0: the end; -1 with err. */
    ssize_t (*read)(struct source *source, uint8_t *out, size_t size, struct error *err);
    /* After the end: 0, or -1 with err when the content changed while it was being read. */
    int (*check)(struct source *source, struct error *err);
    void (*close)(struct source *source);
};

/* Sees what is read from a source, on its way to the decoder. */
struct source_tap {
    /* 0 or -1 with err, which ends the reading. */
    int (*feed)(struct source_tap *tap, const uint8_t *bytes, size_t size, struct error *err);
};

/* An implementation embeds this as its first member. */
struct source {
    const struct source_ops *ops;
    char *name;      /* for messages: the path, or "standard input" */
    uint64_t size;   /* bytes, 0: not known */
    uint64_t offset; /* bytes read so far */
    struct source_identity identity;
    EVP_MD_CTX *digest; /* sha256 of what was read so far; libcrypto's uses the processor's own */
    struct source_tap *tap; /* the caller's, set before the first read; NULL: none */
};

/* Opens a path, an http(s) address, or standard input for "-". cancel_fd: a descriptor that becomes
 * readable when waiting for a slow pipe or server shall end (ERROR_CANCELLED); -1: none. Returns
 * NULL with err. */
struct source *source_open(const char *image, int cancel_fd, struct error *err);

/* For implementations: begins the digest. 0, or -1 (out of memory). source_close ends it. */
int source_begin_digest(struct source *source);

/* The next bytes, at most size, added to the digest; 0: the end; -1 with err. */
ssize_t source_read(struct source *source, uint8_t *out, size_t size, struct error *err);

/* Is what was read still what is there? 0, or -1 with err (ERROR_USAGE). */
int source_check(struct source *source, struct error *err);

/* sha256 of everything read so far, as 64 lower-case hex digits. Ends the reading. */
void source_digest(struct source *source, char hex[65]);

/* NULL is allowed. */
void source_close(struct source *source);

#endif
