/* SPDX-License-Identifier: Apache-2.0 */
/* Host addresses, MAC addresses and reset lines as people write them. */
#ifndef INVENTORY_ADDRESS_H
#define INVENTORY_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* Accepts host names, IPv4 and IPv6 addresses (with %zone). Returns 0, or -1 and a sentence. */
int address_check(const char *text, char *why, size_t why_size);

/* Is it an address in numbers? An IPv6 address may have a %zone. */
bool address_is_ipv4(const char *text);
bool address_is_number(const char *text);

/* The same address written in one way only, to compare: lower case, IPv6 shortened. Returns out. */
char *address_canonical(const char *text, char *out, size_t out_size);

/* Reads aa:bb:cc:dd:ee:ff, AA-BB-…, aabb.ccdd.eeff or aabbccddeeff into "aa:bb:cc:dd:ee:ff".
 * Returns 0, or -1 and a sentence. */
#define MAC_TEXT_SIZE 18
int mac_canonical(const char *text, char out[MAC_TEXT_SIZE], char *why, size_t why_size);

/* The same line written in one way only, to compare: "17 of gpiochip0" for the line 017 of 0,
 * gpiochip0 or /dev/gpiochip0. What a label or a line's name stands for is not known. Returns out.
 */
char *reset_line_canonical(const char *chip, const char *line, char *out, size_t out_size);

#endif
