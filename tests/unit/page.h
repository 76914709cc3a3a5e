/* SPDX-License-Identifier: Apache-2.0 */
/* Manual page sources, for the tests that compare them with the tables they describe. */
#ifndef TESTS_PAGE_H
#define TESTS_PAGE_H

#include <stdbool.h>
#include <stddef.h>

/* A page's lines between two section headings. */
struct page_section {
    char **lines;
    size_t count;
};

/* Section ".Sh NAME" or ".Ss NAME" of docs/FILE up to the next heading; fails the test when it is
 * not there. */
struct page_section page_read(const char *file, const char *name);
void page_free(struct page_section *section);

bool page_has_line(const struct page_section *section, const char *line);

/* Number of lines that begin with prefix. */
size_t page_count(const struct page_section *section, const char *prefix);

#endif
