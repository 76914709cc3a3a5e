/* SPDX-License-Identifier: Apache-2.0 */
#include "source/beside.h"

#include "source/http.h"
#include "source/url.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a source to its end. 1 or -1 with err. */
static int read_all(struct source *source, struct beside *beside, struct error *err)
{
    size_t capacity = 0;
    for (;;) {
        if (beside->size + 1 >= capacity) {
            capacity = capacity * 2 + 4096;
            uint8_t *larger = realloc(beside->data, capacity);
            if (larger == NULL)
                return error_set(err, ERROR_IO, "out of memory");
            beside->data = larger;
        }
        ssize_t got =
            source_read(source, beside->data + beside->size, capacity - beside->size - 1, err);
        if (got < 0)
            return -1;
        beside->size += (size_t)got;
        beside->data[beside->size] = 0;
        if (got == 0)
            return 1;
        if (beside->size > BESIDE_MAX)
            return error_set(err, ERROR_USAGE, "%.250s has more than %u MiB", beside->name,
                             BESIDE_MAX >> 20);
    }
}

/* Some servers say 403 for what is not there, so that nobody can find out what is. */
static int read_remote(char *url, int cancel_fd, struct beside *beside, struct error *err)
{
    long status;
    beside->name = url_display(url);
    struct source *source = http_source_open(url, cancel_fd, NULL, &status, err);
    free(url);
    if (source == NULL)
        return status == 404 || status == 410 || status == 403 ? 0 : -1;
    int result = beside->name != NULL ? read_all(source, beside, err)
                                      : error_set(err, ERROR_IO, "out of memory");
    source_close(source);
    return result;
}

int beside_read_path(const char *path, struct beside *beside, struct error *err)
{
    memset(beside, 0, sizeof *beside);
    beside->name = strdup(path);
    if (beside->name == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (file == NULL) {
        error_set(err, ERROR_USAGE, "cannot read %.250s: %s", path, strerror(errno));
        return error_remedy(err, "check its permissions");
    }
    size_t got, capacity = 0;
    do {
        capacity = capacity * 2 + 4096;
        uint8_t *larger = realloc(beside->data, capacity);
        if (larger == NULL) {
            fclose(file);
            return error_set(err, ERROR_IO, "out of memory");
        }
        beside->data = larger;
        got = fread(beside->data + beside->size, 1, capacity - beside->size - 1, file);
        beside->size += got;
    } while (got > 0 && beside->size <= BESIDE_MAX);
    beside->data[beside->size] = 0;
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed != 0)
        return error_set(err, ERROR_USAGE, "cannot read %.250s: %s", path, strerror(failed));
    if (beside->size > BESIDE_MAX)
        return error_set(err, ERROR_USAGE, "%.250s has more than %u MiB", path, BESIDE_MAX >> 20);
    return 1;
}

int beside_read(const char *image, const char *file, const char *ending, int cancel_fd,
                struct beside *beside, struct error *err)
{
    memset(beside, 0, sizeof *beside);
    if (strcmp(image, "-") == 0) {
        beside->name = strdup("");
        return beside->name != NULL ? 0 : error_set(err, ERROR_IO, "out of memory");
    }
    if (url_is_http(image)) {
        char *url = url_beside(image, file, ending);
        if (url == NULL)
            return error_set(err, ERROR_USAGE, "the image's address cannot be taken apart");
        return read_remote(url, cancel_fd, beside, err);
    }
    const char *slash = strrchr(image, '/');
    int folder = file == NULL ? (int)strlen(image) : slash != NULL ? (int)(slash + 1 - image) : 0;
    char *path;
    if (asprintf(&path, "%.*s%s%s", folder, image, file != NULL ? file : "", ending) < 0)
        return error_set(err, ERROR_IO, "out of memory");
    int result = beside_read_path(path, beside, err);
    free(path);
    return result;
}

void beside_free(struct beside *beside)
{
    free(beside->name);
    free(beside->data);
    memset(beside, 0, sizeof *beside);
}

char *beside_base_name(const char *image)
{
    if (url_is_http(image))
        return url_base_name(image);
    const char *slash = strrchr(image, '/');
    return strdup(slash != NULL ? slash + 1 : image);
}
