/* SPDX-License-Identifier: Apache-2.0 */
#include "source/minisign.h"

#include "source/beside.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ALGORITHM   2u /* bytes that say how: Ed, or ED for signatures over a hash */
#define COMMENT     "trusted comment: "
#define COMMENT_MAX 8192u

/* base64 of exactly size bytes. libsodium 1.0.18 takes every byte above 127 for a '/'. */
static bool decode(const char *text, uint8_t *out, size_t size)
{
    size_t got;
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c > 127)
            return false;
    return sodium_base642bin(out, size, text, strlen(text), NULL, &got, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           got == size;
}

/* Cuts the next line off; "" at the end. */
static char *next_line(char **text)
{
    char *line = *text;
    size_t size = strcspn(line, "\n");
    *text += size + (line[size] != '\0');
    line[size] = '\0';
    if (size > 0 && line[size - 1] == '\r')
        line[size - 1] = '\0';
    return line;
}

/* As minisign does it: a little-endian number, without leading zeros. */
static void key_id_print(const uint8_t id[8], char out[17])
{
    uint64_t number = 0;
    for (unsigned i = 8; i-- > 0;)
        number = number << 8 | id[i];
    snprintf(out, 17, "%" PRIX64, number);
}

static bool key_decode(struct minisign *minisign, const char *text)
{
    uint8_t raw[ALGORITHM + sizeof minisign->key_id + sizeof minisign->key];
    if (!decode(text, raw, sizeof raw) || memcmp(raw, "Ed", ALGORITHM) != 0)
        return false;
    memcpy(minisign->key_id, raw + ALGORITHM, sizeof minisign->key_id);
    memcpy(minisign->key, raw + ALGORITHM + sizeof minisign->key_id, sizeof minisign->key);
    key_id_print(minisign->key_id, minisign->key_name);
    return true;
}

int minisign_key(struct minisign *minisign, const char *key, struct error *err)
{
    struct beside file;
    if (key_decode(minisign, key))
        return 0;
    int found = beside_read_path(key, &file, err);
    bool good = false;
    if (found > 0) {
        char *text = (char *)file.data;
        const char *line = next_line(&text);
        /* A comment, then the key; or the key alone. */
        good = key_decode(minisign, line) || key_decode(minisign, next_line(&text));
    }
    beside_free(&file);
    if (found < 0 || good)
        return found < 0 ? -1 : 0;
    error_set(err, ERROR_USAGE,
              found > 0 ? "%.200s holds no minisign public key"
                        : "'%.200s' is neither a minisign public key nor a file",
              key);
    return error_remedy(err, "give the .pub file that minisign -G made, or the key in it");
}

static int malformed(const char *name, const char *what, struct error *err)
{
    error_set(err, ERROR_USAGE, "%.200s is no minisign signature: %s", name, what);
    return error_remedy(err, "fetch it again, or sign the image again");
}

/* The trusted comment is signed together with the signature. */
static bool comment_holds(const struct minisign *minisign, const char *comment,
                          const uint8_t global[crypto_sign_BYTES])
{
    uint8_t both[crypto_sign_BYTES + COMMENT_MAX];
    size_t size = strlen(comment);
    if (size > COMMENT_MAX)
        return false;
    memcpy(both, minisign->signature, crypto_sign_BYTES);
    memcpy(both + crypto_sign_BYTES, comment, size);
    return crypto_sign_verify_detached(global, both, crypto_sign_BYTES + size, minisign->key) == 0;
}

int minisign_signature(struct minisign *minisign, const char *name, char *text, struct error *err)
{
    uint8_t raw[ALGORITHM + sizeof minisign->key_id + crypto_sign_BYTES], global[crypto_sign_BYTES];
    next_line(&text); /* a comment that anyone can change */
    const char *line = next_line(&text), *comment = next_line(&text);
    const char *global_line = next_line(&text);
    if (!decode(line, raw, sizeof raw) ||
        (memcmp(raw, "ED", ALGORITHM) != 0 && memcmp(raw, "Ed", ALGORITHM) != 0))
        return malformed(name, "its second line is no signature", err);
    if (memcmp(raw + ALGORITHM, minisign->key_id, sizeof minisign->key_id) != 0) {
        char other[17];
        key_id_print(raw + ALGORITHM, other);
        error_set(err, ERROR_USAGE, "%.200s is by another key: %s instead of %s", name, other,
                  minisign->key_name);
        return error_remedy(err, "give the signer's key; do not trust the image otherwise");
    }
    if (raw[1] == 'd') {
        error_set(err, ERROR_USAGE,
                  "%.200s is an old minisign signature, which needs the whole image in memory",
                  name);
        return error_remedy(err, "sign the image again with minisign -H -S, the default of "
                                 "minisign 0.10 and later");
    }
    memcpy(minisign->signature, raw + sizeof raw - crypto_sign_BYTES, crypto_sign_BYTES);
    if (strncmp(comment, COMMENT, strlen(COMMENT)) != 0 ||
        !decode(global_line, global, sizeof global))
        return malformed(name, "its trusted comment is missing", err);
    if (comment_holds(minisign, comment + strlen(COMMENT), global))
        return 0;
    error_set(err, ERROR_USAGE, "the trusted comment in %.200s was changed after signing", name);
    return error_remedy(err, "do not use the image; fetch image and signature again");
}

void minisign_begin(struct minisign *minisign)
{
    crypto_generichash_init(&minisign->hash, NULL, 0, crypto_generichash_BYTES_MAX);
}

void minisign_feed(struct minisign *minisign, const uint8_t *bytes, size_t size)
{
    crypto_generichash_update(&minisign->hash, bytes, size);
}

int minisign_finish(struct minisign *minisign, const char *image, struct error *err)
{
    uint8_t sum[crypto_generichash_BYTES_MAX];
    crypto_generichash_final(&minisign->hash, sum, sizeof sum);
    if (crypto_sign_verify_detached(minisign->signature, sum, sizeof sum, minisign->key) == 0)
        return 0;
    error_set(err, ERROR_USAGE, "%.200s is not what minisign key %s signed", image,
              minisign->key_name);
    return error_remedy(err, "do not use it; fetch image and signature again");
}
