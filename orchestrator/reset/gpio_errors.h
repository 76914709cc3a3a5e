/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of chips and lines, the same for both versions of libgpiod. All return -1. */
#ifndef RESET_GPIO_ERRORS_H
#define RESET_GPIO_ERRORS_H

#include "base/error.h"

#include <stddef.h>

#define GPIO_CONSUMER "fleetflash" /* who holds a line, as gpioinfo(1) shows it */

/* code: an errno. */
int gpio_error_chip(struct error *err, const char *chip, int code);
int gpio_error_line(struct error *err, const char *chip, const char *line, int code, size_t count);
/* holder: NULL when the kernel does not say. */
int gpio_error_busy(struct error *err, const char *chip, const char *line, const char *holder);
int gpio_error_claim(struct error *err, const char *chip, const char *line, int code);
int gpio_error_release(struct error *err, int code);

#endif
