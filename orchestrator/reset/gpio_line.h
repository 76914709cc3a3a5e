/* SPDX-License-Identifier: Apache-2.0 */
/* One line of a GPIO chip, claimed as an output for as long as a reset takes. The two files that
 * implement it are for the two interfaces of libgpiod: 1.6 (gpio_line_v1.c) and 2.x
 * (gpio_line_v2.c); the build takes the one that fits the library found.
 *
 * Calls may wait for the chip (an expander on a slow bus): not for the loop's thread. */
#ifndef RESET_GPIO_LINE_H
#define RESET_GPIO_LINE_H

#include "base/error.h"

#include <stdbool.h>

struct gpio_line;

/* Looks whether the line is there and nobody holds it; claims nothing.
 * chip: "gpiochip0", "0", "/dev/gpiochip0" or a label as gpiodetect(1) shows it. line: its offset
 * or its name. Returns 0, or -1 with ERROR_USAGE (no such chip or line) or ERROR_IO (held, and by
 * whom; the chip does not answer). */
int gpio_line_check(const char *chip, const char *line, struct error *err);

/* Claims the line and drives it active at once. active_low: a low level is the active one.
 * The caller releases it. NULL and an error as above. */
struct gpio_line *gpio_line_claim(const char *chip, const char *line, bool active_low,
                                  struct error *err);

/* Drives the line inactive, makes it an input again (so that the board's own pull-up or another
 * controller has it) and gives it back. Returns 0, or -1 when the chip refused a step: the line is
 * given back in any case. */
int gpio_line_release(struct gpio_line *line, struct error *err);

#endif
