/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include "source/http.h"
#include "source/url.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A descriptor: a path that was opened, or standard input. */
struct file_source {
    struct source base;
    int fd;
    int cancel_fd;
    bool may_wait; /* pipes, terminals, sockets: poll first, so that cancelling works */
};

static int64_t time_nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static void identity_fill(struct source_identity *identity, const struct stat *status)
{
    identity->size = (uint64_t)status->st_size;
    identity->inode = (uint64_t)status->st_ino;
    identity->modified = time_nanoseconds(&status->st_mtim);
    identity->changed = time_nanoseconds(&status->st_ctim);
}

static int file_wait(struct file_source *file, struct error *err)
{
    struct pollfd fds[2] = {
        {.fd = file->fd, .events = POLLIN},
        {.fd = file->cancel_fd, .events = POLLIN},
    };
    while (poll(fds, 2, -1) < 0) {
        if (errno != EINTR)
            return error_set(err, ERROR_IO, "cannot wait for %s: %s", file->base.name,
                             strerror(errno));
    }
    if (fds[1].revents != 0)
        return error_set(err, ERROR_CANCELLED, "reading %s was cancelled", file->base.name);
    return 0;
}

static ssize_t file_read(struct source *source, uint8_t *out, size_t size, struct error *err)
{
    struct file_source *file = (struct file_source *)source;
    for (;;) {
        if (file->may_wait && file_wait(file, err) < 0)
            return -1;
        ssize_t got = read(file->fd, out, size);
        if (got >= 0)
            return got;
        if (errno != EINTR && errno != EAGAIN)
            return error_set(err, ERROR_USAGE, "cannot read %s at byte %llu: %s", source->name,
                             (unsigned long long)source->offset, strerror(errno));
    }
}

static int file_check(struct source *source, struct error *err)
{
    struct file_source *file = (struct file_source *)source;
    struct stat status;
    struct source_identity now = {0};
    if (!source->identity.known)
        return 0;
    if (fstat(file->fd, &status) < 0)
        return error_set(err, ERROR_IO, "cannot look at %s: %s", source->name, strerror(errno));
    identity_fill(&now, &status);
    if (now.size == source->identity.size && now.modified == source->identity.modified)
        return 0;
    error_set(err, ERROR_USAGE, "%s changed while it was being read", source->name);
    return error_remedy(err, "wait until whatever writes it is done, then start again");
}

static void file_close(struct source *source)
{
    struct file_source *file = (struct file_source *)source;
    if (file->fd != STDIN_FILENO)
        close(file->fd);
    free(file);
}

static const struct source_ops file_ops = {
    .read = file_read,
    .check = file_check,
    .close = file_close,
};

/* Opens without waiting for a FIFO's writer (file_wait does that, and can be cancelled). */
static int file_open(struct file_source *file, const char *image, struct error *err)
{
    struct stat status;
    bool is_stdin = strcmp(image, "-") == 0;
    file->fd = is_stdin ? STDIN_FILENO : open(image, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0) {
        error_set(err, ERROR_USAGE, "cannot open the image %s: %s", image, strerror(errno));
        return error_remedy(err, strstr(image, "://") != NULL
                                     ? "of addresses, only http:// and https:// are known"
                                     : "check the path and its permissions");
    }
    if (fstat(file->fd, &status) < 0)
        return error_set(err, ERROR_USAGE, "cannot look at %s: %s", image, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return error_set(err, ERROR_USAGE, "the image %s is a directory", image);
    if (is_stdin && isatty(file->fd)) {
        error_set(err, ERROR_USAGE,
                  "the image should come from standard input, which is a terminal");
        return error_remedy(err, "pipe the image in, or give its path");
    }
    file->may_wait = !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode);
    if (!S_ISREG(status.st_mode))
        return 0;
    file->base.size = (uint64_t)status.st_size;
    identity_fill(&file->base.identity, &status);
    file->base.identity.known = !is_stdin && realpath(image, file->base.identity.path) != NULL;
    posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

struct source *source_open(const char *image, int cancel_fd, struct error *err)
{
    if (url_is_http(image))
        return http_source_open(image, cancel_fd, NULL, NULL, err);
    struct file_source *file = calloc(1, sizeof *file);
    if (file == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    file->base.ops = &file_ops;
    file->cancel_fd = cancel_fd;
    file->base.name = strdup(strcmp(image, "-") == 0 ? "standard input" : image);
    if (file->base.name == NULL || source_begin_digest(&file->base) != 0)
        error_set(err, ERROR_IO, "out of memory");
    else if (file_open(file, image, err) == 0)
        return &file->base;
    if (file->fd > STDIN_FILENO)
        close(file->fd);
    EVP_MD_CTX_free(file->base.digest);
    free(file->base.name);
    free(file);
    return NULL;
}

int source_begin_digest(struct source *source)
{
    source->digest = EVP_MD_CTX_new();
    if (source->digest == NULL)
        return -1;
    return EVP_DigestInit_ex(source->digest, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

ssize_t source_read(struct source *source, uint8_t *out, size_t size, struct error *err)
{
    ssize_t got = source->ops->read(source, out, size, err);
    if (got > 0) {
        EVP_DigestUpdate(source->digest, out, (size_t)got);
        source->offset += (uint64_t)got;
        if (source->tap != NULL && source->tap->feed(source->tap, out, (size_t)got, err) < 0)
            return -1;
    }
    return got;
}

int source_check(struct source *source, struct error *err)
{
    return source->ops->check(source, err);
}

void source_digest(struct source *source, char hex[65])
{
    uint8_t sum[crypto_hash_sha256_BYTES];
    EVP_DigestFinal_ex(source->digest, sum, NULL);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
}

void source_close(struct source *source)
{
    if (source == NULL)
        return;
    char *name = source->name;
    EVP_MD_CTX *digest = source->digest;
    source->ops->close(source);
    EVP_MD_CTX_free(digest);
    free(name);
}
