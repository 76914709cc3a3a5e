/* SPDX-License-Identifier: Apache-2.0 */
/* The server's key against known_hosts and the policy. Runs on a handshake's thread (it reads
 * files).
 *
 * libssh looks at one user file and one global one, gives up on a file with a key type it does not
 * know, and does not say which line disagrees; so the files are read here, line by line, with
 * libssh's own parser for the lines. */
#ifndef LINK_HOSTKEY_H
#define LINK_HOSTKEY_H

#include "base/error.h"
#include "link/link.h"
#include "link/settings.h"

#include <libssh/libssh.h>
#include <stdbool.h>

/* The host key algorithms to ask for, those of keys that known_hosts has first (else a server would
 * show its ecdsa key where the ed25519 one is known). A new string, or NULL: libssh's own order. */
char *hostkey_algorithms(const struct settings *settings);

/* "SHA256:…" into out. Returns 0 or -1. */
int hostkey_fingerprint(ssh_key key, char *out, size_t out_size);

/* Decides whether key may be trusted. lock serialises writers of known_hosts files in this process.
 * known: whether known_hosts had it. Returns 0, or -1 with err set. */
int hostkey_check(const struct settings *settings, enum hostkey_policy policy,
                  const char *wanted_fingerprint, ssh_key key, uv_mutex_t *lock, bool *known,
                  struct error *err);

#endif
