/* SPDX-License-Identifier: Apache-2.0 */
#include "source/openpgp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_MAX 16384 /* gpgv writes a few lines; a pipe holds them all */
/* The descriptors gpgv gets, and above them ours, so that none is overwritten while they move. */
enum { CHILD_STATUS = 3, CHILD_SIGNATURE, CHILD_KEYRING, CHILD_END };

extern char **environ;

void openpgp_init(struct openpgp *openpgp)
{
    memset(openpgp, 0, sizeof *openpgp);
    openpgp->keyring_fd = openpgp->signature_fd = openpgp->feed_fd = openpgp->status_fd = -1;
}

/* Out of the way of the child's descriptors. */
static int move_up(int fd)
{
    if (fd < 0 || fd >= CHILD_END)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_END);
    close(fd);
    return moved;
}

/* A file in memory with that content; -1 with errno. */
static int memory_file(const void *data, size_t size)
{
    int fd = move_up(memfd_create("fleetflash-openpgp", MFD_CLOEXEC));
    for (size_t done = 0; fd >= 0 && done < size;) {
        ssize_t put = write(fd, (const char *)data + done, size - done);
        if (put < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return fd;
}

int openpgp_open(struct openpgp *openpgp, const char *keyring_name, const void *keyring,
                 size_t keyring_size, const void *signature, size_t signature_size,
                 struct error *err)
{
    if (memmem(keyring, keyring_size, "-----BEGIN PGP", 14) != NULL) {
        error_set(err, ERROR_USAGE, "the keyring %.200s is armoured, which gpgv does not read",
                  keyring_name);
        return error_remedy(err, "convert it: gpg --dearmor < %.80s > keyring.gpg", keyring_name);
    }
    openpgp->keyring_fd = memory_file(keyring, keyring_size);
    openpgp->signature_fd = memory_file(signature, signature_size);
    if (openpgp->keyring_fd < 0 || openpgp->signature_fd < 0)
        return error_set(err, ERROR_IO, "cannot hold a signature in memory: %s", strerror(errno));
    return 0;
}

/* Ends gpgv if it runs; its exit status, -1: it was not there or died. */
static int gpgv_end(struct openpgp *openpgp, bool kill_it)
{
    int status = -1;
    if (openpgp->feed_fd >= 0)
        close(openpgp->feed_fd);
    if (openpgp->status_fd >= 0)
        close(openpgp->status_fd);
    openpgp->feed_fd = openpgp->status_fd = -1;
    if (openpgp->pid <= 0)
        return -1;
    if (kill_it)
        kill(openpgp->pid, SIGKILL);
    while (waitpid(openpgp->pid, &status, 0) < 0 && errno == EINTR)
        ;
    openpgp->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Starts it with these as standard input and status. 0 or an errno. */
static int gpgv_spawn(struct openpgp *openpgp, int in, int status)
{
    char keyring[32], signature[32];
    snprintf(keyring, sizeof keyring, "/proc/self/fd/%d", CHILD_KEYRING);
    snprintf(signature, sizeof signature, "/proc/self/fd/%d", CHILD_SIGNATURE);
    char *argv[] = {"gpgv", "-q", "--status-fd", "3", "--keyring", keyring, signature, "-", NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t signals;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, in, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, status, CHILD_STATUS);
    posix_spawn_file_actions_adddup2(&files, openpgp->signature_fd, CHILD_SIGNATURE);
    posix_spawn_file_actions_adddup2(&files, openpgp->keyring_fd, CHILD_KEYRING);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    /* A ^C is ours to handle. */
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    int error = posix_spawnp(&openpgp->pid, "gpgv", &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (error != 0)
        openpgp->pid = 0;
    return error;
}

int openpgp_begin(struct openpgp *openpgp, struct error *err)
{
    /* A socket, as writing to it when gpgv is gone raises no signal. */
    int feed[2], status[2];
    gpgv_end(openpgp, true);
    openpgp->signer[0] = '\0';
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, feed) < 0)
        return error_set(err, ERROR_IO, "cannot talk to gpgv: %s", strerror(errno));
    if (pipe2(status, O_CLOEXEC) < 0) {
        close(feed[0]);
        close(feed[1]);
        return error_set(err, ERROR_IO, "cannot talk to gpgv: %s", strerror(errno));
    }
    feed[1] = move_up(feed[1]);
    status[1] = move_up(status[1]);
    int error = gpgv_spawn(openpgp, feed[1], status[1]);
    close(feed[1]);
    close(status[1]);
    openpgp->feed_fd = feed[0];
    openpgp->status_fd = status[0];
    if (error == 0)
        return 0;
    gpgv_end(openpgp, false);
    error_set(err, ERROR_USAGE, "cannot start gpgv, which verifies OpenPGP signatures: %s",
              strerror(error));
    return error_remedy(err, "install it (Debian: apt-get install gpgv)");
}

void openpgp_feed(struct openpgp *openpgp, const uint8_t *bytes, size_t size)
{
    while (size > 0 && openpgp->feed_fd >= 0) {
        ssize_t put = send(openpgp->feed_fd, bytes, size, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) { /* it has given up and says so in its status */
            close(openpgp->feed_fd);
            openpgp->feed_fd = -1;
            return;
        }
        bytes += put;
        size -= (size_t)put;
    }
}

/* All status lines. */
static void status_read(int fd, char *text, size_t text_size)
{
    size_t size = 0;
    for (ssize_t got = 1; got != 0 && size < text_size - 1;) {
        got = read(fd, text + size, text_size - 1 - size);
        if (got < 0 && errno != EINTR)
            break;
        size += got > 0 ? (size_t)got : 0;
    }
    text[size] = '\0';
}

/* The first word behind a status keyword, "" when it has none; NULL: no line begins so. Behind
 * other keywords stand names that the owner of a key has chosen. */
static const char *status_word(const char *text, const char *keyword, char word[65])
{
    char wanted[48];
    snprintf(wanted, sizeof wanted, "[GNUPG:] %s", keyword);
    for (const char *line = strstr(text, wanted); line != NULL; line = strstr(line, wanted)) {
        bool begins = line == text || line[-1] == '\n';
        line += strlen(wanted);
        if (!begins)
            continue;
        if (*line != ' ' && *line != '\n')
            continue;
        size_t size = *line == ' ' ? strcspn(line + 1, " \n") : 0;
        size = size > 64 ? 64 : size;
        memcpy(word, line + 1, size);
        word[size] = '\0';
        return word;
    }
    return NULL;
}

/* Why it is not good. */
static int refuse(const char *status, const char *image, const char *name, struct error *err)
{
    char word[65];
    if (status_word(status, "BADSIG", word) != NULL)
        error_set(err, ERROR_USAGE, "%.180s is not what OpenPGP key %.40s signed", image, word);
    else if (status_word(status, "NO_PUBKEY", word) != NULL)
        error_set(err, ERROR_USAGE, "%.180s is signed by OpenPGP key %.40s, not one of the keyring",
                  image, word);
    else if (status_word(status, "EXPSIG", word) != NULL)
        error_set(err, ERROR_USAGE, "the signature %.180s by OpenPGP key %.40s has expired", name,
                  word);
    else if (status_word(status, "EXPKEYSIG", word) != NULL ||
             status_word(status, "REVKEYSIG", word) != NULL)
        error_set(err, ERROR_USAGE,
                  "%.180s is signed by OpenPGP key %.40s, which has expired or was revoked", image,
                  word);
    else
        error_set(err, ERROR_USAGE, "%.200s is no OpenPGP signature that gpgv can verify", name);
    return error_remedy(err, "do not use the image; fetch image and signature again, check the "
                             "keyring");
}

int openpgp_finish(struct openpgp *openpgp, const char *image, const char *name, struct error *err)
{
    char *status = malloc(STATUS_MAX), word[65];
    if (status == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    if (openpgp->feed_fd >= 0)
        close(openpgp->feed_fd);
    openpgp->feed_fd = -1;
    status_read(openpgp->status_fd, status, STATUS_MAX);
    int code = gpgv_end(openpgp, false);
    /* GOODSIG is not said for expired and revoked keys. */
    bool good = code == 0 && status_word(status, "GOODSIG", word) != NULL &&
                status_word(status, "VALIDSIG", openpgp->signer) != NULL;
    int result = good ? 0 : refuse(status, image, name, err);
    free(status);
    return result;
}

void openpgp_close(struct openpgp *openpgp)
{
    gpgv_end(openpgp, true);
    if (openpgp->keyring_fd >= 0)
        close(openpgp->keyring_fd);
    if (openpgp->signature_fd >= 0)
        close(openpgp->signature_fd);
    openpgp_init(openpgp);
}
