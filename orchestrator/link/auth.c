/* SPDX-License-Identifier: Apache-2.0 */
/* Authentication by key, in this order: the agent, then the key files. No password is ever asked
 * for or sent. */
#include "link/handshake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What has been tried, for the sentence that says why it failed. */
struct tried {
    char keys[260];
    size_t used;
    char locked[160];     /* a key file with a passphrase */
    char unreadable[160]; /* a key file that could not be read, and why */
    unsigned count;
};

static void tried_add(struct tried *tried, const char *what)
{
    int size = snprintf(tried->keys + tried->used, sizeof tried->keys - tried->used, "%s%s",
                        tried->count > 0 ? ", " : "", what);
    tried->count++;
    if (size > 0 && (size_t)size < sizeof tried->keys - tried->used)
        tried->used += (size_t)size;
}

typedef int (*auth_call)(struct handshake *handshake, ssh_key key);

static int call_none(struct handshake *handshake, ssh_key key)
{
    (void)key;
    return ssh_userauth_none(handshake->session, NULL);
}

static int call_agent(struct handshake *handshake, ssh_key key)
{
    (void)key;
    return ssh_userauth_agent(handshake->session, NULL);
}

static int call_publickey(struct handshake *handshake, ssh_key key)
{
    return ssh_userauth_publickey(handshake->session, NULL, key);
}

/* Repeats a call of libssh until it is through. */
static int repeat(struct handshake *handshake, auth_call call, ssh_key key)
{
    int rc;
    do {
        rc = call(handshake, key);
    } while (rc == SSH_AUTH_AGAIN && handshake_wait(handshake));
    return rc == SSH_AUTH_AGAIN ? SSH_AUTH_ERROR : rc;
}

enum key_file { KEY_MISSING, KEY_UNREADABLE, KEY_LOCKED, KEY_USABLE };

/* Does the file hold a key that needs a passphrase? PEM says so in its header; OpenSSH's own format
 * begins with a magic and the cipher's name ("none" for a plain key), here in base64. */
static bool text_is_encrypted(const char *text)
{
    static const char plain[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    const char *openssh = strstr(text, "-----BEGIN OPENSSH PRIVATE KEY-----");
    if (openssh == NULL)
        return strstr(text, "ENCRYPTED") != NULL;
    const char *body = strstr(openssh, "b3BlbnNzaC1r");
    return body != NULL && strncmp(body, plain, sizeof plain - 1) != 0;
}

static enum key_file inspect_key_file(const char *path, struct tried *tried)
{
    char text[512];
    FILE *file = fopen(path, "re");
    if (file == NULL && (errno == ENOENT || errno == ENOTDIR))
        return KEY_MISSING;
    size_t size = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file == NULL || ferror(file)) {
        snprintf(tried->unreadable, sizeof tried->unreadable, "%s: %s", path, strerror(errno));
        if (file != NULL)
            fclose(file);
        return KEY_UNREADABLE;
    }
    fclose(file);
    text[size] = '\0';
    return text_is_encrypted(text) ? KEY_LOCKED : KEY_USABLE;
}

/* The public half of a key file: FILE.pub, or from the file itself (OpenSSH's format has it in
 * clear even with a passphrase). */
static char *public_half(const char *path)
{
    char name[4200];
    ssh_key key = NULL;
    char *base64 = NULL;
    snprintf(name, sizeof name, "%s.pub", path);
    if (ssh_pki_import_pubkey_file(name, &key) != SSH_OK &&
        ssh_pki_import_pubkey_file(path, &key) != SSH_OK)
        return NULL;
    if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
        base64 = NULL;
    ssh_key_free(key);
    return base64;
}

/* With a key named in the inventory (or IdentitiesOnly) the agent may offer just that. */
static void choose_agent_keys(struct handshake *handshake)
{
    struct settings *settings = &handshake->settings;
    struct agent_keys *keys = &handshake->keys;
    if (!settings->identity_explicit && !settings->identities_only)
        return;
    uv_mutex_lock(&keys->lock);
    keys->only_wanted = true;
    for (size_t i = 0; i < settings->identity_count; i++) {
        char *base64 = public_half(settings->identities[i]);
        if (base64 != NULL)
            keys->wanted[keys->wanted_count++] = base64;
    }
    uv_mutex_unlock(&keys->lock);
}

static int run_agent(struct handshake *handshake, struct tried *tried)
{
    if (handshake->agent_fd < 0)
        return SSH_AUTH_DENIED;
    choose_agent_keys(handshake);
    ssh_set_agent_socket(handshake->session, handshake->agent_fd);
    handshake->agent_fd = -1; /* the session closes it */
    int rc = repeat(handshake, call_agent, NULL);
    struct agent_keys *keys = &handshake->keys;
    uv_mutex_lock(&keys->lock);
    for (size_t i = 0; i < keys->offered_count; i++) {
        char what[120];
        snprintf(what, sizeof what, "agent key '%s'", keys->comments[i] ? keys->comments[i] : "");
        tried_add(tried, what);
    }
    uv_mutex_unlock(&keys->lock);
    /* An agent that is gone is no reason to stop: the key files are still there. */
    if (rc == SSH_AUTH_ERROR && ssh_is_connected(handshake->session))
        rc = SSH_AUTH_DENIED;
    return rc;
}

static bool agent_has_offered(struct handshake *handshake, ssh_key key)
{
    char *base64 = NULL;
    bool found = false;
    if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
        return false;
    uv_mutex_lock(&handshake->keys.lock);
    for (size_t i = 0; i < handshake->keys.offered_count; i++)
        found |= strcmp(handshake->keys.offered[i], base64) == 0;
    uv_mutex_unlock(&handshake->keys.lock);
    ssh_string_free_char(base64);
    return found;
}

static int run_key_file(struct handshake *handshake, const char *path, struct tried *tried)
{
    ssh_key key = NULL;
    switch (inspect_key_file(path, tried)) {
    case KEY_MISSING:
        if (handshake->settings.identity_explicit)
            snprintf(tried->unreadable, sizeof tried->unreadable, "%s: %s", path, strerror(ENOENT));
        return SSH_AUTH_DENIED;
    case KEY_UNREADABLE:
        return SSH_AUTH_DENIED;
    case KEY_LOCKED:
        snprintf(tried->locked, sizeof tried->locked, "%s", path);
        return SSH_AUTH_DENIED;
    case KEY_USABLE:
        break;
    }
    if (ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) != SSH_OK) {
        snprintf(tried->unreadable, sizeof tried->unreadable, "%s: not a private key ssh can read",
                 path);
        return SSH_AUTH_DENIED;
    }
    int rc = SSH_AUTH_DENIED;
    if (!agent_has_offered(handshake, key)) {
        tried_add(tried, path);
        rc = repeat(handshake, call_publickey, key);
    }
    ssh_key_free(key);
    return rc;
}

static int run_keys(struct handshake *handshake, struct tried *tried)
{
    int rc = run_agent(handshake, tried);
    for (size_t i = 0; i < handshake->settings.identity_count && rc == SSH_AUTH_DENIED; i++)
        rc = run_key_file(handshake, handshake->settings.identities[i], tried);
    return rc;
}

static void methods_text(int methods, char *out, size_t size)
{
    static const struct {
        int method;
        const char *name;
    } names[] = {{SSH_AUTH_METHOD_PASSWORD, "password"},
                 {SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive"},
                 {SSH_AUTH_METHOD_HOSTBASED, "hostbased"},
                 {SSH_AUTH_METHOD_GSSAPI_MIC, "gssapi"}};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((methods & names[i].method) != 0)
            snprintf(out + strlen(out), size - strlen(out), "%s%s", out[0] != '\0' ? ", " : "",
                     names[i].name);
    if (out[0] == '\0')
        snprintf(out, size, "nothing");
}

static int no_key_allowed(struct handshake *handshake, int methods)
{
    char offered[120];
    methods_text(methods, offered, sizeof offered);
    error_set(&handshake->err, ERROR_AUTH, "%s: its server offers %s only to %s, no public keys",
              handshake->name, offered, handshake->settings.user);
    return error_remedy(&handshake->err, "allow PubkeyAuthentication in the device's sshd_config");
}

static int not_authenticated(struct handshake *handshake, int rc, const struct tried *tried)
{
    const char *name = handshake->name, *user = handshake->settings.user;
    struct error *err = &handshake->err;
    if (rc == SSH_AUTH_PARTIAL) {
        error_set(err, ERROR_AUTH,
                  "%s: the key of %s was taken, but its server wants more than a key", name, user);
        return error_remedy(err, "AuthenticationMethods must be publickey on the device");
    }
    if (rc == SSH_AUTH_ERROR && !ssh_is_connected(handshake->session) && tried->count < 2)
        return error_set(err, ERROR_NETWORK, "%s: the connection ended while %s logged in: %s",
                         name, user, ssh_get_error(handshake->session));
    if (tried->locked[0] != '\0') {
        error_set(err, ERROR_AUTH, "%s: key %s needs a passphrase%s%s", name, tried->locked,
                  tried->count > 0 ? "; refused: " : "", tried->keys);
        return error_remedy(err, "load it into ssh-agent: ssh-add %s", tried->locked);
    }
    if (tried->count > 0) {
        error_set(err, ERROR_AUTH, "%s refused every key for user %s: %s%s", name, user,
                  tried->keys, rc == SSH_AUTH_ERROR ? " (it closed the connection)" : "");
        return error_remedy(err,
                            "put one of them into ~%s/.ssh/authorized_keys on the device (see "
                            "its sshd log), or name another identity",
                            user);
    }
    if (tried->unreadable[0] != '\0') {
        error_set(err, ERROR_AUTH, "%s: no key to log in with: %s", name, tried->unreadable);
        return error_remedy(err, "check identity and the file's permissions");
    }
    error_set(err, ERROR_AUTH, "%s: no key to log in with: %s", name,
              handshake->keys.unreachable ? "the ssh agent does not answer and there is no key file"
                                          : "no agent key and no key file");
    return error_remedy(err, "name a private key as identity, or load one into ssh-agent");
}

int auth_run(struct handshake *handshake)
{
    struct tried tried = {.count = 0};
    atomic_store(&handshake->stage, STAGE_AUTH);
    int rc = repeat(handshake, call_none, NULL);
    if (rc == SSH_AUTH_SUCCESS)
        return 0;
    int methods = ssh_userauth_list(handshake->session, NULL);
    if (rc != SSH_AUTH_ERROR && (methods & SSH_AUTH_METHOD_PUBLICKEY) == 0)
        return no_key_allowed(handshake, methods);
    if (rc != SSH_AUTH_ERROR)
        rc = run_keys(handshake, &tried);
    return rc == SSH_AUTH_SUCCESS ? 0 : not_authenticated(handshake, rc, &tried);
}
