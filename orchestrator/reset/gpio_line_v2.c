/* SPDX-License-Identifier: Apache-2.0 */
/* libgpiod 2.x */
#include "reset/gpio_line.h"

#include "reset/gpio_errors.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <gpiod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 300

struct gpio_line {
    struct gpiod_line_request *request;
    unsigned offset;
    bool active_low;
};

/* --- which chip --------------------------------------------------------------------------------
 */

static bool has_label(const char *path, const char *label)
{
    struct gpiod_chip *chip = gpiod_chip_open(path);
    struct gpiod_chip_info *info = chip != NULL ? gpiod_chip_get_info(chip) : NULL;
    bool fits = info != NULL && strcmp(gpiod_chip_info_get_label(info), label) == 0;
    gpiod_chip_info_free(info);
    if (chip != NULL)
        gpiod_chip_close(chip);
    return fits;
}

/* Looks through /dev for the chip with a label. */
static struct gpiod_chip *open_labelled(const char *label)
{
    DIR *dev = opendir("/dev");
    struct gpiod_chip *chip = NULL;
    char path[PATH_SIZE];
    for (struct dirent *entry; chip == NULL && dev != NULL && (entry = readdir(dev)) != NULL;) {
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        if (gpiod_is_gpiochip_device(path) && has_label(path, label))
            chip = gpiod_chip_open(path);
    }
    if (dev != NULL)
        closedir(dev);
    if (chip == NULL)
        errno = ENOENT;
    return chip;
}

static struct gpiod_chip *open_chip(const char *text)
{
    char path[PATH_SIZE];
    if (text[0] == '/')
        return gpiod_chip_open(text);
    const char *form = isdigit((unsigned char)text[0]) ? "/dev/gpiochip%s" : "/dev/%s";
    snprintf(path, sizeof path, form, text);
    if (strchr(text, '/') == NULL && gpiod_is_gpiochip_device(path))
        return gpiod_chip_open(path);
    return open_labelled(text);
}

/* --- which line --------------------------------------------------------------------------------
 */

static size_t line_count(struct gpiod_chip *chip)
{
    struct gpiod_chip_info *info = gpiod_chip_get_info(chip);
    size_t count = info != NULL ? gpiod_chip_info_get_num_lines(info) : 0;
    gpiod_chip_info_free(info);
    return count;
}

/* The offset of a line, or -1 with errno. */
static int find_line(struct gpiod_chip *chip, const char *text)
{
    char *end;
    unsigned long offset = strtoul(text, &end, 10);
    if (*end != '\0')
        return gpiod_chip_get_line_offset_from_name(chip, text);
    if (offset < line_count(chip))
        return (int)offset;
    errno = ENOENT;
    return -1;
}

/* The chip, opened, and the line's offset, when nobody holds it. */
static struct gpiod_chip *open_line(const char *chip_text, const char *text, unsigned *offset,
                                    struct error *err)
{
    struct gpiod_chip *chip = open_chip(chip_text);
    if (chip == NULL) {
        gpio_error_chip(err, chip_text, errno);
        return NULL;
    }
    int found = find_line(chip, text);
    struct gpiod_line_info *info =
        found >= 0 ? gpiod_chip_get_line_info(chip, (unsigned)found) : NULL;
    int result = 0;
    if (info == NULL)
        result = gpio_error_line(err, chip_text, text, errno, line_count(chip));
    else if (gpiod_line_info_is_used(info))
        result = gpio_error_busy(err, chip_text, text, gpiod_line_info_get_consumer(info));
    gpiod_line_info_free(info);
    *offset = (unsigned)found;
    if (result == 0)
        return chip;
    gpiod_chip_close(chip);
    return NULL;
}

/* --- interface ---------------------------------------------------------------------------------
 */

int gpio_line_check(const char *chip, const char *line, struct error *err)
{
    unsigned offset;
    struct gpiod_chip *opened = open_line(chip, line, &offset, err);
    if (opened == NULL)
        return -1;
    gpiod_chip_close(opened);
    return 0;
}

/* How one line is to be: an active output or, to let go, an input. NULL: no memory. */
static struct gpiod_line_config *line_config(unsigned offset, bool active_low, bool is_output)
{
    struct gpiod_line_settings *settings = gpiod_line_settings_new();
    struct gpiod_line_config *config = gpiod_line_config_new();
    int result = -1;
    if (settings != NULL && config != NULL &&
        gpiod_line_settings_set_direction(settings, is_output ? GPIOD_LINE_DIRECTION_OUTPUT
                                                              : GPIOD_LINE_DIRECTION_INPUT) == 0) {
        gpiod_line_settings_set_active_low(settings, active_low);
        if (is_output)
            gpiod_line_settings_set_output_value(settings, GPIOD_LINE_VALUE_ACTIVE);
        result = gpiod_line_config_add_line_settings(config, &offset, 1, settings);
    }
    gpiod_line_settings_free(settings);
    if (result == 0)
        return config;
    gpiod_line_config_free(config);
    return NULL;
}

struct gpio_line *gpio_line_claim(const char *chip, const char *line, bool active_low,
                                  struct error *err)
{
    unsigned offset;
    struct gpiod_chip *opened = open_line(chip, line, &offset, err);
    if (opened == NULL)
        return NULL;
    struct gpio_line *claimed = calloc(1, sizeof *claimed);
    struct gpiod_request_config *consumer = gpiod_request_config_new();
    struct gpiod_line_config *config = line_config(offset, active_low, true);
    if (claimed == NULL || consumer == NULL || config == NULL) {
        error_set(err, ERROR_IO, "no memory");
    } else {
        gpiod_request_config_set_consumer(consumer, GPIO_CONSUMER);
        claimed->offset = offset;
        claimed->active_low = active_low;
        claimed->request = gpiod_chip_request_lines(opened, consumer, config);
        if (claimed->request == NULL)
            gpio_error_claim(err, chip, line, errno);
    }
    gpiod_line_config_free(config);
    gpiod_request_config_free(consumer);
    gpiod_chip_close(opened); /* the request outlives it */
    if (claimed != NULL && claimed->request != NULL)
        return claimed;
    free(claimed);
    return NULL;
}

int gpio_line_release(struct gpio_line *line, struct error *err)
{
    int result = 0;
    struct gpiod_line_config *config = line_config(line->offset, line->active_low, false);
    if (gpiod_line_request_set_value(line->request, line->offset, GPIOD_LINE_VALUE_INACTIVE) != 0)
        result = gpio_error_release(err, errno);
    if (config == NULL || gpiod_line_request_reconfigure_lines(line->request, config) != 0)
        result = gpio_error_release(err, errno);
    gpiod_line_config_free(config);
    gpiod_line_request_release(line->request);
    free(line);
    return result;
}
