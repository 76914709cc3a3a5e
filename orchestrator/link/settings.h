/* SPDX-License-Identifier: Apache-2.0 */
/* What ssh's configuration files say about a host, as `ssh -G` prints it: OpenSSH reads its own
 * files best (Match, Include, patterns, IdentitiesOnly, several known_hosts files). */
#ifndef LINK_SETTINGS_H
#define LINK_SETTINGS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define SETTINGS_FILES 16

/* All strings are owned; NULL or 0 where the configuration says nothing. */
struct settings {
    char *original; /* the name as the inventory has it */
    char *host;     /* HostName */
    char *user;
    unsigned port;
    char *host_key_alias;
    char *proxy_command; /* as configured, not expanded */
    char *proxy_jump;
    char *identity_agent;
    bool identities_only;
    char *identities[SETTINGS_FILES]; /* expanded; in the order to try */
    size_t identity_count;
    bool identity_explicit;            /* from the inventory: only this key, from agent or file */
    char *known_hosts[SETTINGS_FILES]; /* the user's files first; new keys go to the first one */
    size_t known_hosts_count;
};

/* Sets what holds without any configuration file (default identities and known_hosts files, the
 * local user, port 22). Returns 0 or -1 when memory is short. */
int settings_init(struct settings *settings, const char *host, const char *user, unsigned port);

/* Takes over what `ssh -G` printed. Unknown lines are ignored. Returns 0 or -1 (memory). */
int settings_parse(struct settings *settings, const char *text);

/* The inventory's own words, which win; NULL leaves things as they are. */
int settings_override(struct settings *settings, const char *identity, const char *known_hosts);

/* Expands %h %n %p %r %u %d %% and a leading "~/". Returns a new string, or NULL: memory, or an
 * unknown token. */
char *settings_expand(const struct settings *settings, const char *text);

/* Whether its ProxyCommand leads to whatever port is asked for: it has %p. */
bool settings_command_takes_port(const struct settings *settings);

/* The argument vector (NULL-terminated, one allocation for free()) of the program that carries the
 * connection, or NULL with err->cls ERROR_NONE: a direct connection. ssh_config: the file given
 * explicitly, or NULL. */
char **settings_proxy(const struct settings *settings, const char *ssh_config, struct error *err);

void settings_free(struct settings *settings);

#endif
