/* SPDX-License-Identifier: Apache-2.0 */
#include "image/hostkeys.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define KEY_FILE_MAX 4096u

/* As ssh-keygen -l prints it: SHA-256 of the public key blob, base64 without padding. */
static void fingerprint_format(const uint8_t *blob, size_t size, char fingerprint[64])
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, blob, size);
    strcpy(fingerprint, "SHA256:");
    sodium_bin2base64(fingerprint + 7, 64 - 7, digest, sizeof digest,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

bool hostkeys_from_public(const char *line, char fingerprint[64])
{
    uint8_t blob[KEY_FILE_MAX];
    size_t size = 0;
    const char *base64 = strchr(line, ' ');
    if (base64 == NULL)
        return false;
    base64++;
    size_t length = strcspn(base64, " \r\n");
    if (sodium_base642bin(blob, sizeof blob, base64, length, NULL, &size, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        size < 16)
        return false;
    fingerprint_format(blob, size, fingerprint);
    return true;
}

/* Where an ssh string (u32 length, bytes) that begins at pos ends; 0: it does not fit. */
static size_t string_end(const uint8_t *file, size_t size, size_t pos)
{
    uint32_t length;
    if (pos == 0 && size < 4)
        return 0;
    if (size < 4 || pos > size - 4)
        return 0;
    memcpy(&length, file + pos, 4);
    length = ntohl(length);
    return length > size - pos - 4 ? 0 : pos + 4 + length;
}

static bool type_is(const uint8_t *file, size_t type_end, const char *type)
{
    return type_end >= 4 + strlen(type) && memcmp(file + 4, type, strlen(type)) == 0;
}

/* rsa: type, e, n, then the secret numbers; ecdsa: type, curve, point, secret. The first three are
 * the public blob. ed25519: type, and seed and public key in one string. */
bool hostkeys_from_dropbear(const uint8_t *file, size_t size, char fingerprint[64])
{
    size_t type_end = string_end(file, size, 0);
    if (type_end == 0)
        return false;
    size_t second = string_end(file, size, type_end);
    if (second == 0)
        return false;
    if (type_is(file, type_end, "ssh-ed25519")) {
        uint8_t blob[128];
        if (second - type_end != 4 + 64 || type_end > 32)
            return false;
        memcpy(blob, file, type_end);
        memcpy(blob + type_end, "\0\0\0\x20", 4);
        memcpy(blob + type_end + 4, file + type_end + 4 + 32, 32);
        fingerprint_format(blob, type_end + 4 + 32, fingerprint);
        return true;
    }
    size_t third = string_end(file, size, second);
    if (third == 0 || !(type_is(file, type_end, "ssh-rsa") || type_is(file, type_end, "ecdsa-")))
        return false;
    fingerprint_format(file, third, fingerprint);
    return true;
}

static void add_fingerprint(struct image_facts *facts, const char *fingerprint)
{
    size_t slots = sizeof facts->host_fingerprints / sizeof facts->host_fingerprints[0];
    for (size_t i = 0; i < slots; i++) {
        if (strcmp(facts->host_fingerprints[i], fingerprint) == 0)
            return;
        if (facts->host_fingerprints[i][0] == '\0') {
            strcpy(facts->host_fingerprints[i], fingerprint);
            return;
        }
    }
}

static void find_openssh(struct extfs *fs, struct image_facts *facts)
{
    static const char *const types[] = {"ed25519", "ecdsa", "rsa", "dsa"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char path[64], line[KEY_FILE_MAX], fingerprint[64];
        snprintf(path, sizeof path, "/etc/ssh/ssh_host_%s_key", types[i]);
        if (!extfs_is_filled(fs, path))
            continue;
        facts->has_host_keys = true;
        strcat(path, ".pub");
        int size = extfs_read(fs, path, 0, line, sizeof line - 1);
        if (size <= 0)
            continue;
        line[size] = '\0';
        if (hostkeys_from_public(line, fingerprint))
            add_fingerprint(facts, fingerprint);
    }
}

static void find_dropbear(struct extfs *fs, struct image_facts *facts)
{
    static const char *const types[] = {"ed25519", "ecdsa", "rsa", "dss"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char path[64], fingerprint[64];
        uint8_t file[KEY_FILE_MAX];
        snprintf(path, sizeof path, "/etc/dropbear/dropbear_%s_host_key", types[i]);
        int size = extfs_read(fs, path, 0, file, sizeof file);
        if (size <= 0)
            continue;
        facts->has_host_keys = true;
        if (hostkeys_from_dropbear(file, (size_t)size, fingerprint))
            add_fingerprint(facts, fingerprint);
        sodium_memzero(file, sizeof file);
    }
}

void hostkeys_find(struct extfs *fs, struct image_facts *facts)
{
    find_openssh(fs, facts);
    find_dropbear(fs, facts);
}
