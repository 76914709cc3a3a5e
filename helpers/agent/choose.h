/* SPDX-License-Identifier: Apache-2.0 */
/* Stage or stream: whether what differs can be held in memory. */
#ifndef CHOOSE_H
#define CHOOSE_H

#include "memory.h"
#include "scan.h"

#define CHOOSE_RESERVE (24u * 1024u * 1024u) /* the agent itself, and the kernel's needs */

/* Bytes that may be staged: what is available, less the reserve, the lifeline (pinned bytes that
 * are to come) and a tenth of all memory. */
uint64_t choose_room(const struct memory_info *memory, uint64_t lifeline);
/* What staging these blocks takes. */
uint64_t choose_need(uint64_t wire_bytes, uint32_t blocks);
/* Fills reply from what was asked for and found. Fault (FAILCODE_MEMORY): staging was asked for and
 * does not fit. */
int choose_mode(enum flash_mode asked, bool force, const struct scan_result *found, uint64_t room,
                struct mode_reply *reply, struct fail *fail);

#endif
