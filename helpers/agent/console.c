/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

int console_open(void)
{
    return open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

void console_print(int fd, const char *format, ...)
{
    char text[1200];
    if (fd < 0)
        return;
    int n = snprintf(text, sizeof text, "fleetflash: ");
    va_list args;
    va_start(args, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n - 2, format, args);
    va_end(args);
    if (n > (int)sizeof text - 3)
        n = (int)sizeof text - 3;
    text[n++] = '\r';
    text[n++] = '\n';
    ssize_t ignored = write(fd, text, (size_t)n);
    (void)ignored;
}
