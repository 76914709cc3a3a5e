/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ssize_t text_read(const char *path, char *out, size_t size)
{
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t at = 0;
    ssize_t n = 0;
    while (at < size - 1 && (n = read(fd, out + at, size - 1 - at)) > 0)
        at += (size_t)n;
    close(fd);
    while (at > 0 && strchr(" \t\r\n", out[at - 1]) != NULL)
        at--;
    out[at] = '\0';
    return n < 0 ? -1 : (ssize_t)at;
}

char *text_read_all(const char *path)
{
    size_t size = 4096, at = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd < 0 ? NULL : malloc(size);
    while (text != NULL) {
        ssize_t n = read(fd, text + at, size - 1 - at);
        if (n <= 0)
            break;
        at += (size_t)n;
        if (at < size - 1)
            continue;
        size *= 2;
        char *larger = size > 8u * 1024u * 1024u ? NULL : realloc(text, size);
        if (larger == NULL)
            break;
        text = larger;
    }
    if (fd >= 0)
        close(fd);
    if (text != NULL)
        text[at] = '\0';
    return text;
}

int text_write(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, value, strlen(value));
    close(fd);
    return n == (ssize_t)strlen(value) ? 0 : -1;
}

int64_t text_read_number(const char *path)
{
    char text[64], *end;
    if (text_read(path, text, sizeof text) <= 0)
        return -1;
    long long value = strtoll(text, &end, 10);
    return *end == '\0' && value >= 0 ? value : -1;
}

void text_copy(char *out, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);
    memcpy(out, text, n);
    out[n] = '\0';
}

bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

const char *text_format(char *out, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(out, size, format, args);
    va_end(args);
    return out;
}

const char *text_time(char out[32], int64_t seconds)
{
    int64_t days = seconds / 86400, rest = seconds % 86400;
    /* Days to a date in years that begin in March (Howard Hinnant, "chrono-compatible date
     * algorithms"). */
    int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = yoe + era * 400 + (month <= 2);
    text_format(out, 32, "%04d-%02d-%02d %02d:%02d:%02d UTC", (int)year % 10000, (int)month,
                (int)day, (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
    return out;
}
