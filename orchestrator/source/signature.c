/* SPDX-License-Identifier: Apache-2.0 */
#include "source/signature.h"

#include "source/beside.h"
#include "source/minisign.h"
#include "source/openpgp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct signature {
    struct source_tap tap;
    bool has_minisign, has_openpgp;
    struct minisign minisign;
    struct openpgp openpgp;
    char *image_name, *openpgp_name; /* for messages */
    char tag[65];
    char signers[160];
};

static int signature_feed(struct source_tap *tap, const uint8_t *bytes, size_t size,
                          struct error *err)
{
    struct signature *signature = (struct signature *)tap;
    (void)err;
    if (signature->has_minisign)
        minisign_feed(&signature->minisign, bytes, size);
    if (signature->has_openpgp)
        openpgp_feed(&signature->openpgp, bytes, size);
    return 0;
}

static int not_signed(const char *image, const char *looked_for, struct error *err)
{
    error_set(err, ERROR_USAGE, "%.180s is not signed: there is no %.180s",
              strcmp(image, "-") == 0 ? "standard input" : "the image", looked_for);
    return error_remedy(err, "put the signature beside the image; do not use an image that should "
                             "have one without it");
}

static void tag_add(crypto_generichash_state *tag, const void *data, size_t size)
{
    uint64_t length = size;
    crypto_generichash_update(tag, (const uint8_t *)&length, sizeof length);
    crypto_generichash_update(tag, data, size);
}

static int open_minisign(struct signature *signature, const char *image, const char *key,
                         int cancel_fd, crypto_generichash_state *tag, struct error *err)
{
    struct beside file;
    if (minisign_key(&signature->minisign, key, err) < 0)
        return -1;
    int found = beside_read(image, NULL, ".minisig", cancel_fd, &file, err);
    if (found > 0) {
        tag_add(tag, "minisign", 8);
        tag_add(tag, signature->minisign.key, sizeof signature->minisign.key);
        tag_add(tag, file.data, file.size);
        found = minisign_signature(&signature->minisign, file.name, (char *)file.data, err);
    } else if (found == 0)
        found = not_signed(image, file.name[0] != '\0' ? file.name : "signature beside it", err);
    beside_free(&file);
    signature->has_minisign = found == 0;
    return found;
}

static int find_openpgp(const char *image, int cancel_fd, struct beside *file, struct error *err)
{
    int found = beside_read(image, NULL, ".sig", cancel_fd, file, err);
    if (found == 0) {
        beside_free(file);
        found = beside_read(image, NULL, ".asc", cancel_fd, file, err);
    }
    if (found != 0)
        return found;
    return not_signed(image, "file of its name with .sig or .asc beside it", err);
}

static int open_openpgp(struct signature *signature, const char *image, const char *keyring,
                        int cancel_fd, crypto_generichash_state *tag, struct error *err)
{
    struct beside ring, file = {0};
    int found = beside_read_path(keyring, &ring, err);
    if (found == 0) {
        error_set(err, ERROR_USAGE, "there is no keyring %.250s", keyring);
        error_remedy(err, "export one: gpg --export KEY > FILE");
        found = -1;
    }
    if (found > 0)
        found = find_openpgp(image, cancel_fd, &file, err);
    if (found > 0) {
        tag_add(tag, "openpgp", 7);
        tag_add(tag, ring.data, ring.size);
        tag_add(tag, file.data, file.size);
        signature->openpgp_name = strdup(file.name);
        found = openpgp_open(&signature->openpgp, keyring, ring.data, ring.size, file.data,
                             file.size, err);
    }
    beside_free(&ring);
    beside_free(&file);
    signature->has_openpgp = found == 0;
    return found;
}

struct signature *signature_open(const char *image, const char *minisign_key, const char *keyring,
                                 int cancel_fd, struct error *err)
{
    uint8_t sum[32];
    crypto_generichash_state tag;
    struct signature *signature = calloc(1, sizeof *signature);
    if (signature == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    openpgp_init(&signature->openpgp);
    signature->tap.feed = signature_feed;
    crypto_generichash_init(&tag, NULL, 0, sizeof sum);
    if ((minisign_key != NULL &&
         open_minisign(signature, image, minisign_key, cancel_fd, &tag, err) < 0) ||
        (keyring != NULL && open_openpgp(signature, image, keyring, cancel_fd, &tag, err) < 0)) {
        signature_close(signature);
        return NULL;
    }
    crypto_generichash_final(&tag, sum, sizeof sum);
    sodium_bin2hex(signature->tag, sizeof signature->tag, sum, sizeof sum);
    return signature;
}

int signature_begin(struct signature *signature, struct source *source, struct error *err)
{
    free(signature->image_name);
    signature->image_name = strdup(source->name);
    if (signature->image_name == NULL ||
        (signature->has_openpgp && signature->openpgp_name == NULL))
        return error_set(err, ERROR_IO, "out of memory");
    source->tap = &signature->tap;
    if (signature->has_minisign)
        minisign_begin(&signature->minisign);
    return signature->has_openpgp ? openpgp_begin(&signature->openpgp, err) : 0;
}

int signature_finish(struct signature *signature, struct error *err)
{
    if (signature->has_minisign &&
        minisign_finish(&signature->minisign, signature->image_name, err) < 0)
        return -1;
    if (signature->has_openpgp && openpgp_finish(&signature->openpgp, signature->image_name,
                                                 signature->openpgp_name, err) < 0)
        return -1;
    snprintf(signature->signers, sizeof signature->signers, "%s%s%s%s%s",
             signature->has_minisign ? "minisign key " : "", signature->minisign.key_name,
             signature->has_minisign && signature->has_openpgp ? ", " : "",
             signature->has_openpgp ? "OpenPGP key " : "", signature->openpgp.signer);
    return 0;
}

const char *signature_tag(const struct signature *signature)
{
    return signature->tag;
}

const char *signature_signers(const struct signature *signature)
{
    return signature->signers;
}

void signature_close(struct signature *signature)
{
    if (signature == NULL)
        return;
    openpgp_close(&signature->openpgp);
    free(signature->image_name);
    free(signature->openpgp_name);
    free(signature);
}
