/* SPDX-License-Identifier: Apache-2.0 */
#include "netboot/netboot_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_PREFIX   "rpi_image_part_"
#define REPORT_PREFIX "report/"

static const char *skip_here(const char *text)
{
    for (;;) {
        if (text[0] == '/')
            text++;
        else if (text[0] == '.' && text[1] == '/')
            text += 2;
        else
            return text;
    }
}

static bool mac_parse(const char *text, size_t length, char mac[MAC_TEXT_SIZE])
{
    char word[24], why[160];
    if (length == 20 && strncmp(text, "01-", 3) == 0) {
        text += 3;
        length -= 3;
    }
    if (length >= sizeof word)
        return false;
    memcpy(word, text, length);
    word[length] = '\0';
    return mac_canonical(word, mac, why, sizeof why) == 0;
}

/* "rpi_image_part_12" or "rpi_image_part_12.gz". */
static bool part_parse(struct netboot_name *name)
{
    if (strncmp(name->file, PART_PREFIX, strlen(PART_PREFIX)) != 0)
        return false;
    const char *number = name->file + strlen(PART_PREFIX);
    size_t digits = strspn(number, "0123456789");
    if (digits == 0 || digits > 5)
        return false;
    name->part = (unsigned)strtoul(number, NULL, 10);
    name->gzip = strcmp(number + digits, ".gz") == 0;
    return name->gzip || number[digits] == '\0';
}

int netboot_name_parse(const char *text, struct netboot_name *name)
{
    memset(name, 0, sizeof *name);
    text = skip_here(text);
    size_t length = strcspn(text, "/");
    if (text[length] == '\0' || !mac_parse(text, length, name->mac))
        return -1;
    text = skip_here(text + length);
    if (*text == '\0' || strlen(text) >= sizeof name->file)
        return -1;
    strcpy(name->file, text);
    if (part_parse(name))
        name->kind = NAME_PART;
    else if (strcmp(text, "report") == 0)
        name->kind = NAME_REPORT_FILE;
    else if (strncmp(text, REPORT_PREFIX, strlen(REPORT_PREFIX)) == 0 &&
             report_text_parse(text + strlen(REPORT_PREFIX), '-', &name->report) == 0)
        name->kind = NAME_REPORT;
    else
        name->kind = NAME_FILE;
    return 0;
}
