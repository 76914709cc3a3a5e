/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_file.h"

#include "report/html_report.h"
#include "report/json_report.h"
#include "report/junit_report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- formats ------------------------------------------------------------------------------ */

struct format {
    const char *ending;
    char *(*render)(const struct run_view *run); /* the whole file's text, NULL: out of memory */
};

static const struct format formats[] = {
    {".json", report_text},
    {".xml", junit_report_text},
    {".html", html_report_text},
};

static const struct format *format_for(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    const char *ending = strrchr(slash != NULL ? slash : path, '.');
    for (size_t i = 0; i < sizeof formats / sizeof *formats && ending != NULL; i++) {
        if (strcasecmp(ending, formats[i].ending) == 0)
            return &formats[i];
    }
    error_set(err, ERROR_USAGE,
              "report %s: the format is chosen by the file's ending, and this "
              "one is not known",
              path);
    error_remedy(err, "name it FILE.json, FILE.xml or FILE.html");
    return NULL;
}

/* --- the file ----------------------------------------------------------------------------- */

/* Follows symbolic links, so that the rename does not replace one. 0, or -1 with err. */
static int resolve(const char *path, char out[static PATH_MAX], struct error *err)
{
    struct stat status;
    if (realpath(path, out) != NULL) {
        if (stat(out, &status) == 0 && !S_ISREG(status.st_mode))
            return error_set(err, ERROR_USAGE, "report %s: this is no regular file", path);
        return 0;
    }
    if (errno != ENOENT || lstat(path, &status) == 0) /* a link that leads nowhere */
        return error_set(err, ERROR_USAGE, "report %s: %s", path, strerror(errno));
    if (snprintf(out, PATH_MAX, "%s", path) >= PATH_MAX)
        return error_set(err, ERROR_USAGE, "report %.200s…: the path is too long", path);
    return 0;
}

/* Makes an empty file beside path, readable for whom the umask lets; its name goes to name.
 * Returns the descriptor or -1. */
static int open_beside(const char *path, char *name, size_t name_size)
{
    unsigned mark;
    if (getrandom(&mark, sizeof mark, 0) != sizeof mark)
        return -1;
    if ((size_t)snprintf(name, name_size, "%s.%08x", path, mark) >= name_size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

/* Whoever had made a report private finds it private again. */
static int keep_mode(int fd, const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? fchmod(fd, status.st_mode & 0777) : 0;
}

int report_check_writable(const char *path, struct error *err)
{
    char real[PATH_MAX];
    char name[PATH_MAX + 16];
    if (format_for(path, err) == NULL || resolve(path, real, err) != 0)
        return -1;
    int fd = open_beside(real, name, sizeof name);
    if (fd < 0) {
        error_set(err, ERROR_USAGE, "report %s cannot be written: %s", path, strerror(errno));
        return error_remedy(err, "name a file in a folder that exists and may be written");
    }
    close(fd);
    unlink(name);
    return 0;
}

/* Makes the rename itself last. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    snprintf(folder, sizeof folder, "%.*s.", (int)size, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* Text and a line end to fd. */
static int write_text(int fd, const char *text)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *file = copy >= 0 ? fdopen(copy, "w") : NULL;
    if (file == NULL) {
        if (copy >= 0)
            close(copy);
        return -1;
    }
    bool ok = fprintf(file, "%s\n", text) >= 0;
    return fclose(file) == 0 && ok ? 0 : -1;
}

int report_write(const struct run_view *run, const char *path, struct error *err)
{
    char real[PATH_MAX];
    char name[PATH_MAX + 16];
    const struct format *format = format_for(path, err);
    if (format == NULL || resolve(path, real, err) != 0)
        return -1;
    char *text = format->render(run);
    if (text == NULL)
        return error_set(err, ERROR_IO, "report %s: out of memory", path);
    int fd = open_beside(real, name, sizeof name);
    if (fd < 0) {
        error_set(err, ERROR_IO, "report %s cannot be written: %s", path, strerror(errno));
        free(text);
        return -1;
    }
    int result = 0;
    if (write_text(fd, text) != 0 || keep_mode(fd, real) != 0 || fsync(fd) != 0 ||
        rename(name, real) != 0) {
        result = error_set(err, ERROR_IO, "report %s cannot be written: %s", path, strerror(errno));
        unlink(name);
    }
    close(fd);
    free(text);
    if (result == 0)
        sync_folder(real);
    return result;
}
