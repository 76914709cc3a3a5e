/* SPDX-License-Identifier: Apache-2.0 */
#include "link/handshake.h"

#include "link/hostkey.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#if defined(__arm__) || defined(__aarch64__)
#include <sys/auxv.h>
#endif
#include <sys/stat.h>
#include <unistd.h>

/* GCM where the processor has AES instructions, ChaCha20 where it has not; the counter modes are
 * for old servers. libssh leaves out what it does not know. */
#define GCM    "aes128-gcm@openssh.com,aes256-gcm@openssh.com"
#define CHACHA "chacha20-poly1305@openssh.com"
#define CTR    "aes128-ctr,aes192-ctr,aes256-ctr"

static bool cpu_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes");
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & (1ul << 3)) != 0; /* HWCAP_AES */
#elif defined(__arm__)
    return (getauxval(AT_HWCAP2) & 1ul) != 0; /* HWCAP2_AES */
#else
    return false;
#endif
}

struct handshake *handshake_new(void)
{
    struct handshake *handshake = calloc(1, sizeof *handshake);
    if (handshake == NULL)
        return NULL;
    handshake->fd = handshake->watch_fd = handshake->agent_fd = -1;
    if (agent_keys_init(&handshake->keys) != 0) {
        free(handshake);
        return NULL;
    }
    return handshake;
}

/* Everything libssh would look up by itself is taken from it: the configuration was read by ssh,
 * known_hosts is read by us, the connection is made. */
static int set_options(struct handshake *handshake)
{
    ssh_session session = handshake->session;
    bool process_config = false;
    const char *ciphers = cpu_has_aes() ? GCM "," CHACHA "," CTR : CHACHA "," GCM "," CTR;
    char *algorithms = hostkey_algorithms(&handshake->settings);
    int rc = 0;
    rc |= ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &process_config);
    rc |= ssh_options_set(session, SSH_OPTIONS_HOST, "device");
    rc |= ssh_options_set(session, SSH_OPTIONS_USER, handshake->settings.user);
    rc |= ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, "/dev/null");
    rc |= ssh_options_set(session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
    rc |= ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, ciphers);
    rc |= ssh_options_set(session, SSH_OPTIONS_CIPHERS_S_C, ciphers);
    rc |= ssh_options_set(session, SSH_OPTIONS_COMPRESSION, "no");
    rc |= ssh_options_set(session, SSH_OPTIONS_FD, &handshake->fd);
    if (rc == 0 && algorithms != NULL)
        rc = ssh_options_set(session, SSH_OPTIONS_HOSTKEYS, algorithms);
    free(algorithms);
    if (rc != 0)
        return error_set(&handshake->err, ERROR_IO, "%s: libssh does not take its options: %s",
                         handshake->name, ssh_get_error(session));
    return 0;
}

/* libssh says why in words only. */
static int kex_failed(struct handshake *handshake)
{
    const char *why = ssh_get_error(handshake->session);
    if (strstr(why, "no match for method") != NULL) {
        error_set(&handshake->err, ERROR_PROTOCOL,
                  "%s: its ssh server shares no algorithm with us: %s", handshake->name, why);
        return error_remedy(&handshake->err, "update the device's ssh server");
    }
    if (strstr(why, "banner") != NULL) {
        error_set(&handshake->err, ERROR_PROTOCOL,
                  "%s: what answers on port %u is no ssh server (%s)", handshake->name,
                  handshake->settings.port, why);
        return error_remedy(&handshake->err, "check host and port");
    }
    static const char prefix[] = "Socket error: ";
    if (strncmp(why, prefix, sizeof prefix - 1) == 0)
        why += sizeof prefix - 1;
    error_set(&handshake->err, ERROR_NETWORK,
              "%s: the connection to %s port %u ended in the ssh handshake: %s", handshake->name,
              handshake->settings.host, handshake->settings.port, why);
    return error_remedy(&handshake->err, "look at sshd's log on the device; it may be overloaded "
                                         "(MaxStartups) or refuse this address");
}

/* libssh's own waiting will not do even on a thread: when the server says goodbye in the middle of
 * a call, 0.10.6 closes the socket and then waits for its timeout all the same. */
bool handshake_wait(struct handshake *handshake)
{
    uint64_t now = uv_hrtime();
    if (!ssh_is_connected(handshake->session) || now >= handshake->deadline)
        return false;
    struct pollfd poll_fd = {.fd = handshake->watch_fd, .events = POLLIN};
    if ((ssh_get_poll_flags(handshake->session) & SSH_WRITE_PENDING) != 0)
        poll_fd.events |= POLLOUT;
    return poll(&poll_fd, 1, (int)((handshake->deadline - now) / 1000000u) + 1) >= 0 ||
           errno == EINTR;
}

static int exchange_keys(struct handshake *handshake)
{
    handshake->session = ssh_new();
    if (handshake->session == NULL)
        return error_set(&handshake->err, ERROR_IO, "%s: out of memory", handshake->name);
    if (set_options(handshake) != 0)
        return -1;
    ssh_set_blocking(handshake->session, 0);
    int rc;
    while ((rc = ssh_connect(handshake->session)) == SSH_AGAIN && handshake_wait(handshake))
        ;
    return rc == SSH_OK ? 0 : kex_failed(handshake);
}

static int check_host_key(struct handshake *handshake)
{
    ssh_key key = NULL;
    atomic_store(&handshake->stage, STAGE_HOSTKEY);
    if (ssh_get_server_publickey(handshake->session, &key) != SSH_OK)
        return error_set(&handshake->err, ERROR_HOSTKEY, "%s showed no host key", handshake->name);
    hostkey_fingerprint(key, handshake->host_fingerprint, sizeof handshake->host_fingerprint);
    strncpy(handshake->host_key_type, ssh_key_type_to_char(ssh_key_type(key)),
            sizeof handshake->host_key_type - 1);
    int rc =
        hostkey_check(&handshake->settings, handshake->hostkey, handshake->fingerprint, key,
                      handshake->known_hosts_lock, &handshake->host_key_known, &handshake->err);
    ssh_key_free(key);
    return rc;
}

static void handshake_thread(void *arg)
{
    struct handshake *handshake = arg;
    handshake->ok =
        exchange_keys(handshake) == 0 && check_host_key(handshake) == 0 && auth_run(handshake) == 0;
    handshake->finished(handshake, handshake->finished_arg);
}

int handshake_start(struct handshake *handshake)
{
    atomic_store(&handshake->stage, STAGE_KEX);
    handshake->deadline = uv_hrtime() + (handshake->timeout + 1000) * 1000000u;
    handshake->watch_fd = fcntl(handshake->fd, F_DUPFD_CLOEXEC, 3);
    if (handshake->watch_fd < 0)
        return UV_EMFILE;
    return uv_thread_create(&handshake->thread, handshake_thread, handshake);
}

static bool same_socket(int a, int b)
{
    struct stat left, right;
    return fstat(a, &left) == 0 && fstat(b, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

void handshake_end_session(struct handshake *handshake, ssh_session session)
{
    if (session != NULL) {
        ssh_disconnect(session);
        ssh_free(session);
    }
    if (handshake->fd >= 0 &&
        (handshake->watch_fd < 0 || same_socket(handshake->fd, handshake->watch_fd)))
        close(handshake->fd);
    handshake->fd = -1;
}

void handshake_free(struct handshake *handshake)
{
    if (handshake == NULL)
        return;
    handshake_end_session(handshake, handshake->session);
    if (handshake->watch_fd >= 0)
        close(handshake->watch_fd);
    if (handshake->agent_fd >= 0)
        close(handshake->agent_fd);
    agent_keys_free(&handshake->keys);
    settings_free(&handshake->settings);
    free(handshake->name);
    free(handshake->fingerprint);
    free(handshake);
}
