/* SPDX-License-Identifier: Apache-2.0 */
/* What a board's boot script tells of its work, as the text of a file it sends or as the name of a
 * file it asks for: boot loaders without tftpput have no other way. Grammar: docs/netboot.md. */
#ifndef NETBOOT_REPORT_TEXT_H
#define NETBOOT_REPORT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

enum report_kind {
    REPORT_OK,     /* everything is written */
    REPORT_FAILED, /* and reason says why */
    REPORT_PART,   /* one part is in place */
};

/* The last word of a reason where a part could not be fetched. */
#define REPORT_FETCH "fetch"

struct netboot_report {
    enum report_kind kind;
    unsigned part;    /* with REPORT_PART, from 0 */
    uint64_t bytes;   /* written so far; of the part with REPORT_PART */
    bool has_crc;     /* always with REPORT_PART */
    uint32_t crc;     /* crc32 (as zlib's) of those bytes; see report_crc_equals */
    char reason[120]; /* printable; "" where none was given */
    bool no_fetch;    /* with REPORT_FAILED: it ends with REPORT_FETCH */
};

/* Reads "OK 123456 cbf43926", "FAILED 0x1f000 no memory", "PART 3 0x2ee00000 cbf43926" (separator
 * ' ', ended by a line end) or the same as a name, "OK-123456-cbf43926" (separator '-'). 0, or -1:
 * it is none of these. */
int report_text_parse(const char *text, char separator, struct netboot_report *report);

/* Is that the reported crc? A boot loader that can only look at the sum in memory tells it with its
 * bytes turned round, so that counts too. */
bool report_crc_equals(const struct netboot_report *report, uint32_t crc);

#endif
