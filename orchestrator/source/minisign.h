/* SPDX-License-Identifier: Apache-2.0 */
/* Detached minisign signatures (https://jedisct1.github.io/minisign/), verified while the image
 * streams by. */
#ifndef SOURCE_MINISIGN_H
#define SOURCE_MINISIGN_H

#include "base/error.h"

#include <sodium.h>
#include <stdint.h>

struct minisign {
    uint8_t key_id[8];
    uint8_t key[crypto_sign_PUBLICKEYBYTES];
    uint8_t signature[crypto_sign_BYTES]; /* over BLAKE2b-512 of the image */
    char key_name[17];                    /* the id as minisign prints it */
    crypto_generichash_state hash;
};

/* Takes the key, a file's name or the base64 key itself. 0 or -1 with err. */
int minisign_key(struct minisign *minisign, const char *key, struct error *err);

/* Takes the signature (size bytes, NUL behind them; taken apart) from the file called name; it must
 * be by the key, and its trusted comment, too. 0 or -1 with err. */
int minisign_signature(struct minisign *minisign, const char *name, char *text, struct error *err);

void minisign_begin(struct minisign *minisign);
void minisign_feed(struct minisign *minisign, const uint8_t *bytes, size_t size);

/* 0, or -1 with err: image (for the message) is not what was signed. */
int minisign_finish(struct minisign *minisign, const char *image, struct error *err);

#endif
