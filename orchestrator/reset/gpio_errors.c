/* SPDX-License-Identifier: Apache-2.0 */
#include "reset/gpio_errors.h"

#include <errno.h>
#include <string.h>

int gpio_error_chip(struct error *err, const char *chip, int code)
{
    if (code == EACCES || code == EPERM) {
        error_set(err, ERROR_IO, "the GPIO chip '%s' cannot be opened: %s", chip, strerror(code));
        return error_remedy(err, "run as root, or as a member of the group that owns it");
    }
    if (code == ENOENT || code == ENODEV || code == ENOTTY || code == EINVAL)
        error_set(err, ERROR_USAGE, "there is no GPIO chip '%s'", chip);
    else
        error_set(err, ERROR_IO, "the GPIO chip '%s' cannot be opened: %s", chip, strerror(code));
    return error_remedy(err, "gpiodetect lists the chips of this machine");
}

int gpio_error_line(struct error *err, const char *chip, const char *line, int code, size_t count)
{
    if (code != ENOENT && code != 0)
        error_set(err, ERROR_IO, "line '%s' of the GPIO chip '%s' cannot be looked at: %s", line,
                  chip, strerror(code));
    else
        error_set(err, ERROR_USAGE, "the GPIO chip '%s' has no line '%s' among its %zu", chip, line,
                  count);
    return error_remedy(err, "gpioinfo lists its lines by number and name");
}

int gpio_error_busy(struct error *err, const char *chip, const char *line, const char *holder)
{
    /* Not ERROR_BUSY: it is the line that is held, not the device by another run. */
    error_set(err, ERROR_IO, "line '%s' of the GPIO chip '%s' is held by %s", line, chip,
              holder != NULL ? holder : "the kernel or another program");
    return error_remedy(err, "end what holds it (gpioinfo shows it), or use another line");
}

int gpio_error_claim(struct error *err, const char *chip, const char *line, int code)
{
    if (code == EBUSY) /* somebody was faster since we looked */
        return gpio_error_busy(err, chip, line, NULL);
    error_set(err, ERROR_IO, "line '%s' of the GPIO chip '%s' cannot be made an output: %s", line,
              chip, strerror(code));
    return error_remedy(err, "look whether the line can be driven (gpioset)");
}

int gpio_error_release(struct error *err, int code)
{
    error_set(err, ERROR_IO, "the reset line could not be let go: %s", strerror(code));
    return error_remedy(err, "look at it with gpioinfo: the board may still be held in reset");
}
