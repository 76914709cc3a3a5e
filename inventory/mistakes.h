/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a file, collected in any order and handed out in the file's. */
#ifndef INVENTORY_MISTAKES_H
#define INVENTORY_MISTAKES_H

#include "inventory.h"

struct mistake {
    struct position at;
    size_t sequence;
    char *text;
};

struct mistakes {
    size_t count, room;
    struct mistake *items;
};

/* Notes a mistake. Always returns -1, so that a reader can end in `return mistakes_add(…)`. */
int mistakes_add(struct mistakes *mistakes, struct position at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Moves everything into list in file order and empties mistakes. Of several at one place only the
 * first noted is told: the others are its consequences. */
void mistakes_tell(struct mistakes *mistakes, const char *file, struct diagnostics *list);

#endif
