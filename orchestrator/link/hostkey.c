/* SPDX-License-Identifier: Apache-2.0 */
#include "link/hostkey.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FINGERPRINT_SIZE 64

/* What known_hosts has on a name. */
struct finding {
    bool match;   /* this very key */
    bool revoked; /* this very key, marked @revoked */
    bool changed; /* another key of the same type */
    bool other;   /* only keys of other types */
    const char *file;
    unsigned line;                      /* of the disagreeing entry */
    char fingerprint[FINGERPRINT_SIZE]; /* of the key there */
};

int hostkey_fingerprint(ssh_key key, char *out, size_t out_size)
{
    unsigned char *hash = NULL;
    size_t size = 0;
    if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &size) != 0)
        return -1;
    char *text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, size);
    ssh_clean_pubkey_hash(&hash);
    if (text == NULL)
        return -1;
    snprintf(out, out_size, "%s", text);
    ssh_string_free_char(text);
    return 0;
}

/* The name as known_hosts writes it: lower case, "[name]:port" off port 22. An alias has no port.
 */
static void known_name(const struct settings *settings, bool with_port, char *out, size_t size)
{
    if (settings->host_key_alias != NULL)
        snprintf(out, size, "%s", settings->host_key_alias);
    else if (with_port && settings->port != 22)
        snprintf(out, size, "[%s]:%u", settings->host, settings->port);
    else
        snprintf(out, size, "%s", settings->host);
    for (char *p = out; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
}

/* Takes a line apart: the marker ("@revoked ") goes, white space becomes single blanks. */
static char *normalise_line(char *line, bool *revoked, bool *authority)
{
    for (char *p = line; *p != '\0'; p++)
        if (*p == '\t' || *p == '\r' || *p == '\n')
            *p = ' ';
    line += strspn(line, " ");
    *revoked = strncmp(line, "@revoked ", 9) == 0;
    *authority = strncmp(line, "@cert-authority ", 16) == 0;
    if (*revoked)
        line += 9 + strspn(line + 9, " ");
    return line;
}

typedef void (*entry_visitor)(const struct ssh_knownhosts_entry *entry, bool revoked,
                              const char *file, unsigned line, void *arg);

/* Shows every entry for name in one file. Lines that cannot be read are left out, as OpenSSH does.
 */
static void visit_file(const char *file, const char *name, entry_visitor visit, void *arg)
{
    FILE *stream = fopen(file, "re");
    if (stream == NULL)
        return;
    char *line = NULL;
    size_t size = 0;
    for (unsigned number = 1; getline(&line, &size, stream) >= 0; number++) {
        bool revoked, authority;
        char *text = normalise_line(line, &revoked, &authority);
        struct ssh_knownhosts_entry *entry = NULL;
        if (*text == '\0' || *text == '#' || authority)
            continue;
        if (ssh_known_hosts_parse_line(name, text, &entry) == SSH_OK) {
            visit(entry, revoked, file, number, arg);
            ssh_knownhosts_entry_free(entry);
        }
    }
    free(line);
    fclose(stream);
}

static void visit_all(const struct settings *settings, const char *name, entry_visitor visit,
                      void *arg)
{
    for (size_t i = 0; i < settings->known_hosts_count; i++)
        visit_file(settings->known_hosts[i], name, visit, arg);
}

static const struct {
    enum ssh_keytypes_e type;
    const char *algorithms;
} key_types[] = {
    {SSH_KEYTYPE_ED25519, "ssh-ed25519"},
    {SSH_KEYTYPE_ECDSA_P521, "ecdsa-sha2-nistp521"},
    {SSH_KEYTYPE_ECDSA_P384, "ecdsa-sha2-nistp384"},
    {SSH_KEYTYPE_ECDSA_P256, "ecdsa-sha2-nistp256"},
    {SSH_KEYTYPE_RSA, "rsa-sha2-512,rsa-sha2-256,ssh-rsa"},
};
#define KEY_TYPES (sizeof key_types / sizeof *key_types)

static void note_type(const struct ssh_knownhosts_entry *entry, bool revoked, const char *file,
                      unsigned line, void *arg)
{
    (void)file;
    (void)line;
    bool *known = arg;
    for (size_t i = 0; i < KEY_TYPES && !revoked; i++)
        if (ssh_key_type(entry->publickey) == key_types[i].type)
            known[i] = true;
}

char *hostkey_algorithms(const struct settings *settings)
{
    char name[300];
    bool known[KEY_TYPES] = {false};
    known_name(settings, true, name, sizeof name);
    visit_all(settings, name, note_type, known);
    size_t types = 0;
    for (size_t i = 0; i < KEY_TYPES; i++)
        types += known[i];
    if (types == 0 && settings->port != 22) {
        known_name(settings, false, name, sizeof name);
        visit_all(settings, name, note_type, known);
    }
    char list[256] = "";
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < KEY_TYPES; i++)
            if (known[i] == (pass == 0)) {
                strcat(list, list[0] != '\0' ? "," : "");
                strcat(list, key_types[i].algorithms);
            }
    return strdup(list);
}

struct search {
    ssh_key key;
    struct finding *finding;
};

static void compare_entry(const struct ssh_knownhosts_entry *entry, bool revoked, const char *file,
                          unsigned line, void *arg)
{
    const struct search *search = arg;
    struct finding *finding = search->finding;
    if (ssh_key_cmp(search->key, entry->publickey, SSH_KEY_CMP_PUBLIC) == 0) {
        finding->match |= !revoked;
        finding->revoked |= revoked;
        if (revoked) {
            finding->file = file;
            finding->line = line;
        }
        return;
    }
    if (revoked || finding->changed)
        return;
    bool same_type = ssh_key_type(entry->publickey) == ssh_key_type(search->key);
    finding->changed = same_type;
    finding->other |= !same_type;
    finding->file = file;
    finding->line = line;
    hostkey_fingerprint(entry->publickey, finding->fingerprint, sizeof finding->fingerprint);
}

static void look_up(const struct settings *settings, ssh_key key, struct finding *finding)
{
    char name[300];
    struct search search = {.key = key, .finding = finding};
    memset(finding, 0, sizeof *finding);
    known_name(settings, true, name, sizeof name);
    visit_all(settings, name, compare_entry, &search);
    if (finding->match || finding->changed || finding->other || finding->revoked ||
        settings->port == 22)
        return;
    /* As ssh does: a key known for the name without a port is trusted on any port, one that differs
     * there proves nothing. */
    known_name(settings, false, name, sizeof name);
    visit_all(settings, name, compare_entry, &search);
    if (!finding->match && !finding->revoked)
        memset(finding, 0, sizeof *finding);
}

static int make_parent(const char *file)
{
    char *copy = strdup(file);
    if (copy == NULL)
        return -1;
    int rc = mkdir(dirname(copy), 0700);
    free(copy);
    return rc;
}

/* One write of one line, so that entries of several processes do not mix. */
static int append_line(const char *file, const char *line)
{
    int fd = open(file, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT && make_parent(file) == 0)
        fd = open(file, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    char last = '\n', text[8192];
    off_t end = lseek(fd, 0, SEEK_END);
    if (end > 0 && pread(fd, &last, 1, end - 1) != 1)
        last = '\n';
    int size = snprintf(text, sizeof text, "%s%s", last == '\n' ? "" : "\n", line);
    int rc = size < (int)sizeof text && write(fd, text, (size_t)size) == size ? 0 : -1;
    int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

static int remember(const struct settings *settings, ssh_key key, uv_mutex_t *lock,
                    struct error *err)
{
    char name[300], line[8192];
    char *base64 = NULL;
    if (settings->known_hosts_count == 0)
        return error_set(err, ERROR_HOSTKEY, "there is no known_hosts file to remember %s in",
                         settings->original);
    if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
        return error_set(err, ERROR_HOSTKEY, "%s: its key cannot be written", settings->original);
    known_name(settings, true, name, sizeof name);
    snprintf(line, sizeof line, "%s %s %s\n", name, ssh_key_type_to_char(ssh_key_type(key)),
             base64);
    ssh_string_free_char(base64);

    uv_mutex_lock(lock);
    struct finding finding; /* two links to the same device may both have found it unknown */
    look_up(settings, key, &finding);
    int rc = finding.match ? 0 : append_line(settings->known_hosts[0], line);
    int saved = errno;
    uv_mutex_unlock(lock);
    if (rc != 0) {
        error_set(err, ERROR_HOSTKEY, "cannot remember the key of %s in %s: %s", settings->original,
                  settings->known_hosts[0], strerror(saved));
        return error_remedy(err, "make %s writable, or name another known_hosts file",
                            settings->known_hosts[0]);
    }
    return 0;
}

static int refuse_changed(const struct settings *settings, const struct finding *finding,
                          const char *type, const char *fingerprint, struct error *err)
{
    char name[300];
    known_name(settings, true, name, sizeof name);
    if (finding->revoked) {
        error_set(err, ERROR_HOSTKEY, "%s showed the %s key %s, which %s line %u has revoked", name,
                  type, fingerprint, finding->file, finding->line);
        return error_remedy(err, "do not trust this device before you know why");
    }
    error_set(err, ERROR_HOSTKEY,
              "the host key of %s has changed: it showed %s %s, but %s line %u has %s", name, type,
              fingerprint, finding->file, finding->line, finding->fingerprint);
    return error_remedy(err,
                        "if the device was set up anew: ssh-keygen -R '%s' -f %s; if not, somebody "
                        "may be in between",
                        name, finding->file);
}

static int refuse_unknown(const struct settings *settings, const struct finding *finding,
                          const char *type, const char *fingerprint, struct error *err)
{
    char name[300];
    known_name(settings, true, name, sizeof name);
    error_set(err, ERROR_HOSTKEY, "the host key of %s is not known: it showed %s %s%s", name, type,
              fingerprint, finding->other ? " (known_hosts has keys of other types only)" : "");
    return error_remedy(err,
                        "compare it with the device's; then ssh-keyscan -p %u %s >> %s, or "
                        "host_key: %s, or host_key: accept-new",
                        settings->port, settings->host,
                        settings->known_hosts_count > 0 ? settings->known_hosts[0] : "known_hosts",
                        fingerprint);
}

int hostkey_check(const struct settings *settings, enum hostkey_policy policy,
                  const char *wanted_fingerprint, ssh_key key, uv_mutex_t *lock, bool *known,
                  struct error *err)
{
    char fingerprint[FINGERPRINT_SIZE] = "";
    struct finding finding;
    const char *type = ssh_key_type_to_char(ssh_key_type(key));
    *known = false;
    if (hostkey_fingerprint(key, fingerprint, sizeof fingerprint) != 0)
        return error_set(err, ERROR_HOSTKEY, "%s: its key has no fingerprint", settings->original);
    look_up(settings, key, &finding);
    *known = finding.match && !finding.revoked;
    switch (policy) {
    case HOSTKEY_ACCEPT_ONCE:
        return 0;
    case HOSTKEY_FINGERPRINT:
        if (wanted_fingerprint != NULL && strcmp(wanted_fingerprint, fingerprint) == 0)
            return 0;
        error_set(err, ERROR_HOSTKEY, "%s showed the %s key %s, but %s is expected",
                  settings->original, type, fingerprint,
                  wanted_fingerprint != NULL ? wanted_fingerprint : "no key");
        return error_remedy(err, "check host_key; the fingerprint must be that of its %s key",
                            type);
    case HOSTKEY_STRICT:
    case HOSTKEY_ACCEPT_NEW:
        break;
    }
    if (finding.revoked || (finding.changed && !finding.match))
        return refuse_changed(settings, &finding, type, fingerprint, err);
    if (finding.match)
        return 0;
    /* Keys of other types are known but the server did not use them: not a new host. */
    if (policy == HOSTKEY_STRICT || finding.other)
        return refuse_unknown(settings, &finding, type, fingerprint, err);
    return remember(settings, key, lock, err);
}
