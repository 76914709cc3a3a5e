/* SPDX-License-Identifier: Apache-2.0 */
/* Host keys that are baked into an image. */
#ifndef IMAGE_HOSTKEYS_H
#define IMAGE_HOSTKEYS_H

#include "image/extfs.h"

#include <stdbool.h>
#include <stddef.h>

/* Fills has_host_keys and host_fingerprints from OpenSSH's and dropbear's places. */
void hostkeys_find(struct extfs *fs, struct image_facts *facts);

/* "SHA256:…" of the key in an OpenSSH .pub line. false when it is none. */
bool hostkeys_from_public(const char *line, char fingerprint[64]);

/* The same of dropbear's private key file (rsa, ecdsa, ed25519). */
bool hostkeys_from_dropbear(const uint8_t *file, size_t size, char fingerprint[64]);

#endif
