/* SPDX-License-Identifier: Apache-2.0 */
/* Host addresses and MAC addresses as people write them. */
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

#endif
