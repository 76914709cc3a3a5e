/* SPDX-License-Identifier: Apache-2.0 */
#include "source/checksum.h"

#include "source/beside.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUM_DIGITS 64u

/* Copies 64 hex digits that end there, in lower case. */
static bool sum_copy(const char *text, char hex[65])
{
    for (unsigned i = 0; i < SUM_DIGITS; i++) {
        if (!isxdigit((unsigned char)text[i]))
            return false;
        hex[i] = (char)tolower((unsigned char)text[i]);
    }
    hex[SUM_DIGITS] = '\0';
    return !isxdigit((unsigned char)text[SUM_DIGITS]);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* One line: "<sum>  name", "<sum> *name", "<sum>", or "SHA256 (name) = <sum>". name is "" when the
 * line has none. Lines of another kind (comments, PGP armour) are no sums. */
static bool line_parse(char *line, char hex[65], const char **name)
{
    line[strcspn(line, "\r\n")] = '\0';
    while (*line == ' ' || *line == '\t' || *line == '\\')
        line++;
    *name = "";
    if (strncasecmp(line, "SHA256 (", 8) == 0) {
        char *end = strstr(line, ") = ");
        if (end == NULL)
            return false;
        *end = '\0';
        *name = line + 8;
        return sum_copy(end + 4, hex);
    }
    if (!sum_copy(line, hex))
        return false;
    line += SUM_DIGITS;
    while (*line == ' ' || *line == '\t' || *line == '*')
        line++;
    *name = line;
    return true;
}

/* Looks for a sum in text, which is taken apart. The line that names wanted wins; with any_name the
 * first sum does for a file that has no such line. */
static bool text_lookup(char *text, const char *wanted, bool any_name, char hex[65])
{
    bool found = false;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char sum[65];
        const char *name;
        if (!line_parse(line, sum, &name))
            continue;
        bool named = strcmp(base_name(name), wanted) == 0;
        if (named || (any_name && !found)) {
            memcpy(hex, sum, sizeof sum);
            found = true;
        }
        if (named)
            break;
    }
    return found;
}

static int option_parse(const char *option, struct checksum *checksum, struct error *err)
{
    const char *digits = strncasecmp(option, "sha256:", 7) == 0 ? option + 7 : option;
    if (!sum_copy(digits, checksum->hex) || digits[SUM_DIGITS] != '\0') {
        checksum->hex[0] = '\0';
        error_set(err, ERROR_USAGE,
                  "'%.80s' is no sha256: that has 64 hex digits, this has %zu characters", option,
                  strlen(digits));
        return error_remedy(err, "give the sum that `sha256sum IMAGE` prints, without the name");
    }
    strcpy(checksum->origin, "--sha256");
    return 0;
}

/* Looks into one file beside the image. 1 found, 0 not, -1 with err. */
static int file_lookup(const char *image, const char *file, int cancel_fd,
                       struct checksum *checksum, struct error *err)
{
    struct beside beside;
    int result = beside_read(image, file, file != NULL ? "" : ".sha256", cancel_fd, &beside, err);
    char *name = beside_base_name(image);
    if (result > 0 && name != NULL)
        result = text_lookup((char *)beside.data, name, file == NULL, checksum->hex);
    if (result > 0)
        snprintf(checksum->origin, sizeof checksum->origin, "%s", beside.name);
    else if (result == 0 && beside.data != NULL && file == NULL) {
        result = error_set(err, ERROR_USAGE, "%.250s holds no sha256 sum", beside.name);
        error_remedy(err, "fetch it again, or remove it and use --sha256");
    }
    free(name);
    beside_free(&beside);
    return result;
}

int checksum_find(const char *image, const char *option, int cancel_fd, struct checksum *checksum,
                  struct error *err)
{
    memset(checksum, 0, sizeof *checksum);
    if (option != NULL)
        return option_parse(option, checksum, err);
    int found = file_lookup(image, NULL, cancel_fd, checksum, err);
    if (found == 0)
        found = file_lookup(image, "SHA256SUMS", cancel_fd, checksum, err);
    return found < 0 ? -1 : 0;
}

int checksum_compare(const struct checksum *checksum, const char *name, const char *hex,
                     struct error *err)
{
    if (checksum->hex[0] == '\0' || strcmp(checksum->hex, hex) == 0)
        return 0;
    error_set(err, ERROR_USAGE, "%.80s has the wrong sha256: %.80s expects %s, the file has %s",
              name, checksum->origin, checksum->hex, hex);
    return error_remedy(err,
                        "the image or its sum is damaged or of another version: fetch both again");
}
