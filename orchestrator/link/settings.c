/* SPDX-License-Identifier: Apache-2.0 */
#include "link/settings.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>

static const char *const default_identities[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa",
                                                 "~/.ssh/id_rsa"};
static const char *const default_known_hosts[] = {"~/.ssh/known_hosts", "~/.ssh/known_hosts2",
                                                  "/etc/ssh/ssh_known_hosts",
                                                  "/etc/ssh/ssh_known_hosts2"};

static int set_string(char **slot, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL)
        return -1;
    free(*slot);
    *slot = copy;
    return 0;
}

static void clear_list(char **list, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        free(list[i]);
    *count = 0;
}

/* Entries beyond the list's room, and those with tokens we do not know, are left out. */
static int add_file(const struct settings *settings, char **list, size_t *count, const char *name)
{
    if (*count == SETTINGS_FILES)
        return 0;
    char *path = settings_expand(settings, name);
    if (path != NULL)
        list[(*count)++] = path;
    return 0;
}

static void local_user(char *name, size_t size)
{
    struct passwd entry, *found = NULL;
    char space[4096];
    if (getpwuid_r(getuid(), &entry, space, sizeof space, &found) == 0 && found != NULL)
        snprintf(name, size, "%s", found->pw_name);
    else
        snprintf(name, size, "root");
}

int settings_init(struct settings *settings, const char *host, const char *user, unsigned port)
{
    char name[256];
    memset(settings, 0, sizeof *settings);
    local_user(name, sizeof name);
    settings->port = port != 0 ? port : 22;
    if (set_string(&settings->original, host) != 0 || set_string(&settings->host, host) != 0 ||
        set_string(&settings->user, user != NULL ? user : name) != 0)
        return -1;
    for (size_t i = 0; i < sizeof default_identities / sizeof *default_identities; i++)
        add_file(settings, settings->identities, &settings->identity_count, default_identities[i]);
    for (size_t i = 0; i < sizeof default_known_hosts / sizeof *default_known_hosts; i++)
        add_file(settings, settings->known_hosts, &settings->known_hosts_count,
                 default_known_hosts[i]);
    return 0;
}

static bool is_none(const char *value)
{
    return strcasecmp(value, "none") == 0;
}

static int add_known_hosts(struct settings *settings, char *value)
{
    char *save = NULL;
    for (char *file = strtok_r(value, " ", &save); file != NULL; file = strtok_r(NULL, " ", &save))
        if (!is_none(file))
            add_file(settings, settings->known_hosts, &settings->known_hosts_count, file);
    return 0;
}

static int parse_line(struct settings *settings, const char *key, char *value)
{
    if (strcmp(key, "hostname") == 0)
        return set_string(&settings->host, value);
    if (strcmp(key, "user") == 0)
        return set_string(&settings->user, value);
    if (strcmp(key, "port") == 0)
        settings->port = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(key, "hostkeyalias") == 0)
        return set_string(&settings->host_key_alias, value);
    else if (strcmp(key, "proxycommand") == 0 && !is_none(value))
        return set_string(&settings->proxy_command, value);
    else if (strcmp(key, "proxyjump") == 0 && !is_none(value))
        return set_string(&settings->proxy_jump, value);
    else if (strcmp(key, "identityagent") == 0)
        return set_string(&settings->identity_agent, value);
    else if (strcmp(key, "identitiesonly") == 0)
        settings->identities_only = strcmp(value, "yes") == 0;
    return 0;
}

/* Lines whose values hold tokens that depend on the others (%h, %p) come in a second pass. */
static int parse_file_line(struct settings *settings, const char *key, char *value)
{
    if (strcmp(key, "identityfile") == 0)
        return add_file(settings, settings->identities, &settings->identity_count, value);
    if (strcmp(key, "userknownhostsfile") == 0 || strcmp(key, "globalknownhostsfile") == 0)
        return add_known_hosts(settings, value);
    return 0;
}

static int parse_pass(struct settings *settings, const char *text, const char *only,
                      int (*use)(struct settings *, const char *, char *))
{
    char *copy = strdup(text);
    if (copy == NULL)
        return -1;
    int rc = 0;
    char *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line != NULL && rc == 0;
         line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, ' ');
        if (value == NULL)
            continue;
        *value++ = '\0';
        if (only == NULL || strcmp(only, line) == 0)
            rc = use(settings, line, value);
    }
    free(copy);
    return rc;
}

int settings_parse(struct settings *settings, const char *text)
{
    if (parse_pass(settings, text, NULL, parse_line) != 0)
        return -1;
    clear_list(settings->identities, &settings->identity_count);
    clear_list(settings->known_hosts, &settings->known_hosts_count);
    if (parse_pass(settings, text, "identityfile", parse_file_line) != 0 ||
        parse_pass(settings, text, "userknownhostsfile", parse_file_line) != 0)
        return -1;
    return parse_pass(settings, text, "globalknownhostsfile", parse_file_line);
}

int settings_override(struct settings *settings, const char *identity, const char *known_hosts)
{
    if (identity != NULL) {
        clear_list(settings->identities, &settings->identity_count);
        add_file(settings, settings->identities, &settings->identity_count, identity);
        settings->identity_explicit = true;
        if (settings->identity_count == 0)
            return -1;
    }
    if (known_hosts != NULL) {
        clear_list(settings->known_hosts, &settings->known_hosts_count);
        add_file(settings, settings->known_hosts, &settings->known_hosts_count, known_hosts);
        if (settings->known_hosts_count == 0)
            return -1;
    }
    return 0;
}

/* The value of a %-token, or NULL. scratch holds what is no string yet. */
static const char *token_value(const struct settings *settings, char token, char *scratch,
                               size_t size)
{
    switch (token) {
    case '%':
        return "%";
    case 'h':
        return settings->host;
    case 'n':
        return settings->original;
    case 'r':
        return settings->user;
    case 'k':
        return settings->host_key_alias != NULL ? settings->host_key_alias : settings->original;
    case 'p':
        snprintf(scratch, size, "%u", settings->port);
        return scratch;
    case 'i':
        snprintf(scratch, size, "%u", (unsigned)getuid());
        return scratch;
    case 'u':
        local_user(scratch, size);
        return scratch;
    case 'd':
        return uv_os_homedir(scratch, &size) == 0 ? scratch : NULL;
    default:
        return NULL;
    }
}

char *settings_expand(const struct settings *settings, const char *text)
{
    char scratch[1024];
    char out[4096];
    size_t used = 0;
    if (strncmp(text, "~/", 2) == 0) {
        size_t size = sizeof out;
        if (uv_os_homedir(out, &size) != 0)
            return NULL;
        used = size;
        text++;
    }
    for (; *text != '\0'; text++) {
        const char *piece = scratch;
        if (*text == '%') {
            piece = token_value(settings, *++text, scratch, sizeof scratch);
            if (piece == NULL)
                return NULL;
        } else {
            scratch[0] = *text;
            scratch[1] = '\0';
        }
        size_t length = strlen(piece);
        if (used + length >= sizeof out)
            return NULL;
        memcpy(out + used, piece, length);
        used += length;
    }
    out[used] = '\0';
    return strdup(out);
}

/* Copies argv and its strings into one allocation. */
static char **pack_arguments(const char *const *arguments)
{
    size_t count = 0, bytes = 0;
    for (; arguments[count] != NULL; count++)
        bytes += strlen(arguments[count]) + 1;
    char **packed = malloc((count + 1) * sizeof *packed + bytes);
    if (packed == NULL)
        return NULL;
    char *text = (char *)(packed + count + 1);
    for (size_t i = 0; i < count; i++) {
        packed[i] = text;
        text = stpcpy(text, arguments[i]) + 1;
    }
    packed[count] = NULL;
    return packed;
}

/* Splits "[user@]host[:port]": the port goes to its own argument. An address in brackets keeps its
 * colons; "ssh://…" is left to ssh. */
static const char *split_jump_port(char *jump)
{
    if (strncmp(jump, "ssh://", 6) == 0)
        return NULL;
    char *from = strrchr(jump, ']');
    char *colon = strchr(from != NULL ? from : jump, ':');
    if (colon == NULL || strchr(colon + 1, ':') != NULL)
        return NULL;
    *colon = '\0';
    return colon + 1;
}

/* "u@[10.0.0.1]" → "u@10.0.0.1": `ssh -G` puts numeric jump hosts into brackets, which are no part
 * of a name where a destination is given alone. */
static void strip_brackets(char *jump)
{
    char *open = strchr(jump, '['), *end = strrchr(jump, ']');
    if (strncmp(jump, "ssh://", 6) == 0 || open == NULL || end == NULL || end < open)
        return;
    memmove(end, end + 1, strlen(end + 1) + 1);
    memmove(open, open + 1, strlen(open + 1) + 1);
}

/* "ssh -J a,b host" goes through a, then b: b carries the connection and is itself reached by a. */
static char **jump_arguments(const struct settings *settings, const char *ssh_config)
{
    char jumps[1024], target[512];
    if (snprintf(jumps, sizeof jumps, "%s", settings->proxy_jump) >= (int)sizeof jumps)
        return NULL;
    snprintf(target, sizeof target, "[%s]:%u", settings->host, settings->port);
    char *last = strrchr(jumps, ',');
    const char *before = NULL;
    if (last != NULL) {
        *last++ = '\0';
        before = jumps;
    } else {
        last = jumps;
    }
    const char *port = split_jump_port(last);
    strip_brackets(last);
    const char *arguments[20];
    size_t n = 0;
    arguments[n++] = "ssh";
    if (ssh_config != NULL) {
        arguments[n++] = "-F";
        arguments[n++] = ssh_config;
    }
    arguments[n++] = "-oBatchMode=yes";
    arguments[n++] = "-oClearAllForwardings=yes";
    if (before != NULL) {
        arguments[n++] = "-J";
        arguments[n++] = before;
    }
    if (port != NULL) {
        arguments[n++] = "-p";
        arguments[n++] = port;
    }
    arguments[n++] = "-W";
    arguments[n++] = target;
    arguments[n++] = "--";
    arguments[n++] = last;
    arguments[n] = NULL;
    return pack_arguments(arguments);
}

static char **command_arguments(const struct settings *settings)
{
    char *expanded = settings_expand(settings, settings->proxy_command);
    if (expanded == NULL)
        return NULL;
    char *command = malloc(strlen(expanded) + sizeof "exec ");
    char **packed = NULL;
    if (command != NULL) {
        sprintf(command, "%s%s", strncmp(expanded, "exec ", 5) == 0 ? "" : "exec ", expanded);
        packed = pack_arguments((const char *const[]){"/bin/sh", "-c", command, NULL});
    }
    free(command);
    free(expanded);
    return packed;
}

bool settings_command_takes_port(const struct settings *settings)
{
    const char *token = strchr(settings->proxy_command, '%');
    for (; token != NULL && token[1] != '\0'; token = strchr(token + 2, '%'))
        if (token[1] == 'p')
            return true;
    return false;
}

char **settings_proxy(const struct settings *settings, const char *ssh_config, struct error *err)
{
    *err = (struct error){.cls = ERROR_NONE};
    char **arguments = NULL;
    if (settings->proxy_command == NULL && settings->proxy_jump == NULL)
        return NULL;
    if (settings->proxy_command != NULL)
        arguments = command_arguments(settings);
    else
        arguments = jump_arguments(settings, ssh_config);
    if (arguments == NULL)
        error_set(err, ERROR_USAGE, "the ssh configuration's %s '%s' for %s cannot be used",
                  settings->proxy_command != NULL ? "ProxyCommand" : "ProxyJump",
                  settings->proxy_command != NULL ? settings->proxy_command : settings->proxy_jump,
                  settings->original);
    return arguments;
}

void settings_free(struct settings *settings)
{
    free(settings->original);
    free(settings->host);
    free(settings->user);
    free(settings->host_key_alias);
    free(settings->proxy_command);
    free(settings->proxy_jump);
    free(settings->identity_agent);
    clear_list(settings->identities, &settings->identity_count);
    clear_list(settings->known_hosts, &settings->known_hosts_count);
    memset(settings, 0, sizeof *settings);
}
