/* SPDX-License-Identifier: Apache-2.0 */
#include "source/checksum.h"

#include <ctype.h>
#include <errno.h>
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

/* Reads a file of sums. The line that names wanted wins; with any_name the first sum does for a
 * file that has no such line. Returns 1 found, 0 not found, -1 no such file. */
static int file_lookup(const char *path, const char *wanted, bool any_name, char hex[65])
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    int found = 0;
    char *line = NULL;
    size_t capacity = 0;
    for (unsigned lines = 0; lines < 100000 && getline(&line, &capacity, file) >= 0; lines++) {
        char sum[65];
        const char *name;
        if (!line_parse(line, sum, &name))
            continue;
        bool named = strcmp(base_name(name), wanted) == 0;
        if (named || (any_name && found == 0)) {
            memcpy(hex, sum, sizeof sum);
            found = 1;
        }
        if (named)
            break;
    }
    free(line);
    fclose(file);
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

int checksum_find(const char *image, const char *option, struct checksum *checksum,
                  struct error *err)
{
    memset(checksum, 0, sizeof *checksum);
    if (option != NULL)
        return option_parse(option, checksum, err);
    if (strcmp(image, "-") == 0)
        return 0;
    const char *name = base_name(image);
    int size = snprintf(checksum->origin, sizeof checksum->origin, "%s.sha256", image);
    if (size > 0 && (size_t)size < sizeof checksum->origin) {
        int found = file_lookup(checksum->origin, name, true, checksum->hex);
        if (found == 0) {
            error_set(err, ERROR_USAGE, "%s holds no sha256 sum", checksum->origin);
            return error_remedy(err, "fetch it again, or remove it and use --sha256");
        }
        if (found < 0 && errno != ENOENT && errno != ENOTDIR)
            return error_set(err, ERROR_USAGE, "cannot read %s: %s", checksum->origin,
                             strerror(errno));
        if (found > 0)
            return 0;
    }
    size = snprintf(checksum->origin, sizeof checksum->origin, "%.*sSHA256SUMS",
                    (int)(name - image), image);
    if (size > 0 && (size_t)size < sizeof checksum->origin)
        file_lookup(checksum->origin, name, false, checksum->hex);
    return 0;
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
