/* SPDX-License-Identifier: Apache-2.0 */
/* libgpiod 1.6 */
#include "reset/gpio_line.h"

#include "reset/gpio_errors.h"

#include <errno.h>
#include <gpiod.h>
#include <stdlib.h>
#include <string.h>

struct gpio_line {
    struct gpiod_chip *chip;
    struct gpiod_line *line;
};

static struct gpiod_line *find_line(struct gpiod_chip *chip, const char *text)
{
    char *end;
    unsigned long offset = strtoul(text, &end, 10);
    if (*end != '\0')
        return gpiod_chip_find_line(chip, text);
    if (offset < gpiod_chip_num_lines(chip))
        return gpiod_chip_get_line(chip, (unsigned)offset);
    errno = ENOENT;
    return NULL;
}

/* The chip and the line as described; on failure the chip is closed. */
static int open_line(const char *chip, const char *line, struct gpio_line *out, struct error *err)
{
    out->chip = gpiod_chip_open_lookup(chip);
    if (out->chip == NULL)
        return gpio_error_chip(err, chip, errno);
    out->line = find_line(out->chip, line);
    int result = 0;
    if (out->line == NULL)
        result = gpio_error_line(err, chip, line, errno, gpiod_chip_num_lines(out->chip));
    else if (gpiod_line_is_used(out->line))
        result = gpio_error_busy(err, chip, line, gpiod_line_consumer(out->line));
    if (result != 0)
        gpiod_chip_close(out->chip);
    return result;
}

int gpio_line_check(const char *chip, const char *line, struct error *err)
{
    struct gpio_line found;
    if (open_line(chip, line, &found, err) != 0)
        return -1;
    gpiod_chip_close(found.chip);
    return 0;
}

struct gpio_line *gpio_line_claim(const char *chip, const char *line, bool active_low,
                                  struct error *err)
{
    struct gpio_line *claimed = malloc(sizeof *claimed);
    if (claimed == NULL) {
        error_set(err, ERROR_IO, "no memory");
        return NULL;
    }
    if (open_line(chip, line, claimed, err) != 0) {
        free(claimed);
        return NULL;
    }
    int flags = active_low ? GPIOD_LINE_REQUEST_FLAG_ACTIVE_LOW : 0;
    if (gpiod_line_request_output_flags(claimed->line, GPIO_CONSUMER, flags, 1) != 0) {
        gpio_error_claim(err, chip, line, errno);
        gpiod_chip_close(claimed->chip);
        free(claimed);
        return NULL;
    }
    return claimed;
}

int gpio_line_release(struct gpio_line *line, struct error *err)
{
    int result = 0;
    if (gpiod_line_set_value(line->line, 0) != 0 || gpiod_line_set_direction_input(line->line) != 0)
        result = gpio_error_release(err, errno);
    gpiod_chip_close(line->chip); /* releases the line as well */
    free(line);
    return result;
}
