/* SPDX-License-Identifier: Apache-2.0 */
/* Detached OpenPGP signatures, verified by gpgv(1), which is fed with what the decoder gets. */
#ifndef SOURCE_OPENPGP_H
#define SOURCE_OPENPGP_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct openpgp {
    int keyring_fd, signature_fd; /* copies in memory: what was looked at is what is used */
    pid_t pid;                    /* of gpgv, 0: it does not run */
    int feed_fd, status_fd;
    char signer[65]; /* fingerprint of the key, once finished */
};

/* Nothing is open yet. */
void openpgp_init(struct openpgp *openpgp);

/* Takes copies of a keyring and a signature (binary or armoured). 0 or -1 with err. */
int openpgp_open(struct openpgp *openpgp, const char *keyring_name, const void *keyring,
                 size_t keyring_size, const void *signature, size_t signature_size,
                 struct error *err);

/* Starts gpgv, anew if it runs already. 0 or -1 with err. */
int openpgp_begin(struct openpgp *openpgp, struct error *err);

/* Hands on the next bytes. When gpgv has given up already, openpgp_finish says why. */
void openpgp_feed(struct openpgp *openpgp, const uint8_t *bytes, size_t size);

/* 0, or -1 with err: image is not what a key of the keyring signed. name: the signature's. */
int openpgp_finish(struct openpgp *openpgp, const char *image, const char *name, struct error *err);

void openpgp_close(struct openpgp *openpgp);

#endif
