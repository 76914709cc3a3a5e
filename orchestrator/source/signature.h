/* SPDX-License-Identifier: Apache-2.0 */
/* The signatures an image must have (--minisign, --keyring), verified over the very bytes that the
 * decoder gets. */
#ifndef SOURCE_SIGNATURE_H
#define SOURCE_SIGNATURE_H

#include "source/source.h"

struct signature;

/* Reads keys and signatures: IMAGE.minisig for minisign_key (a file or the key itself; NULL: not
 * wanted), IMAGE.sig or IMAGE.asc for keyring (a file; NULL: not wanted). Both given: both must
 * hold. Returns NULL with err (ERROR_USAGE: missing, by another key, …). Call it only when
 * something is wanted. */
struct signature *signature_open(const char *image, const char *minisign_key, const char *keyring,
                                 int cancel_fd, struct error *err);

/* Verifies what is read from source from now (its beginning) on, anew if begun before. 0 or -1 with
 * err. */
int signature_begin(struct signature *signature, struct source *source, struct error *err);

/* After the source's end: 0, or -1 with err when some signature does not hold. */
int signature_finish(struct signature *signature, struct error *err);

/* 64 hex digits that stand for these keys and signatures: together with a file's content they say
 * all that there is to verify. */
const char *signature_tag(const struct signature *signature);

/* Whose they are, once finished: "minisign key …, OpenPGP key …". */
const char *signature_signers(const struct signature *signature);

/* NULL is allowed. */
void signature_close(struct signature *signature);

#endif
