/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool is_heading(const char *line)
{
    return strncmp(line, ".Sh ", 4) == 0 || strncmp(line, ".Ss ", 4) == 0;
}

struct page_section page_read(const char *file, const char *name)
{
    struct page_section section = {NULL, 0};
    char path[600], *line = NULL;
    size_t room = 0;
    bool is_inside = false;
    snprintf(path, sizeof path, SOURCE_DIR "/docs/%s", file);
    FILE *page = fopen(path, "r");
    if (page == NULL)
        fail_msg("cannot read %s", path);
    while (getline(&line, &room, page) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (is_heading(line)) {
            is_inside = strcmp(line + 4, name) == 0;
            continue;
        }
        if (!is_inside)
            continue;
        section.lines = realloc(section.lines, (section.count + 1) * sizeof *section.lines);
        assert_non_null(section.lines);
        section.lines[section.count++] = strdup(line);
    }
    free(line);
    fclose(page);
    if (section.count == 0)
        fail_msg("%s has no section %s", path, name);
    return section;
}

void page_free(struct page_section *section)
{
    for (size_t i = 0; i < section->count; i++)
        free(section->lines[i]);
    free(section->lines);
}

bool page_has_line(const struct page_section *section, const char *line)
{
    for (size_t i = 0; i < section->count; i++) {
        if (strcmp(section->lines[i], line) == 0)
            return true;
    }
    return false;
}

size_t page_count(const struct page_section *section, const char *prefix)
{
    size_t count = 0;
    for (size_t i = 0; i < section->count; i++)
        count += strncmp(section->lines[i], prefix, strlen(prefix)) == 0 ? 1 : 0;
    return count;
}
