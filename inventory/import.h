/* SPDX-License-Identifier: Apache-2.0 */
/* A table of boards (MAC address, IP address, reset line) made into an inventory. */
#ifndef INVENTORY_IMPORT_H
#define INVENTORY_IMPORT_H

#include "inventory.h"

#include <stdio.h>

/* Reads size bytes of text; file is its name in messages. One board a line, in any of the usual
 * spellings: cells divided by ';', tab, ',', '|' or blanks; a first line with names of columns in
 * any order ("mac", "ip", "gpio", "name" and what is meant by them), or without one the columns
 * mac, ip, gpio, name; a line "sep=;" in front; empty lines and lines that begin with '#' are left
 * out. At most as many boards as an inventory may have.
 *
 * Returns the inventory as YAML, to be freed by the caller, or NULL when there is any mistake: all
 * of them are in mistakes, each with line and column; what only repeats one is left out. */
char *import_text(const char *file, const char *text, size_t size, struct diagnostics *mistakes);

/* The same from a file. */
char *import_file(const char *path, struct diagnostics *mistakes);

#endif
