/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes are text. */
#ifndef INVENTORY_UTF8_H
#define INVENTORY_UTF8_H

#include <stddef.h>

/* Length in bytes (1 to 4) of the UTF-8 character at text (RFC 3629), of which size bytes are
 * there, at least one; 0 when there is none. */
size_t utf8_length(const unsigned char *text, size_t size);

#endif
