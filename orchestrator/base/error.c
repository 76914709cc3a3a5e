/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error *err, enum error_class cls, const char *format, ...)
{
    if (err == NULL)
        return -1;
    err->cls = cls;
    err->remedy[0] = '\0';
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return -1;
}

int error_remedy(struct error *err, const char *format, ...)
{
    if (err == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(err->remedy, sizeof err->remedy, format, args);
    va_end(args);
    return -1;
}

bool error_is_transient(const struct error *err)
{
    return err->cls == ERROR_NETWORK || err->cls == ERROR_TIMEOUT;
}

const char *error_class_name(enum error_class cls)
{
    static const char *const names[] = {
        [ERROR_NONE] = "none",         [ERROR_USAGE] = "usage", [ERROR_NETWORK] = "network",
        [ERROR_TIMEOUT] = "timeout",   [ERROR_AUTH] = "auth",   [ERROR_HOSTKEY] = "hostkey",
        [ERROR_REFUSED] = "refused",   [ERROR_VETO] = "veto",   [ERROR_BUSY] = "busy",
        [ERROR_PROTOCOL] = "protocol", [ERROR_IO] = "io",       [ERROR_CANCELLED] = "cancelled",
    };
    return names[cls];
}
