/* SPDX-License-Identifier: Apache-2.0 */
#include "choose.h"

#include "fault.h"
#include "text.h"

#include <string.h>

uint64_t choose_room(const struct memory_info *memory, uint64_t lifeline)
{
    uint64_t taken = CHOOSE_RESERVE + lifeline + memory->total / 10;
    return memory->available > taken ? memory->available - taken : 0;
}

uint64_t choose_need(uint64_t wire_bytes, uint32_t blocks)
{
    return wire_bytes + (uint64_t)blocks * STAGED_OVERHEAD;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1024 * 1024);
}

int choose_mode(enum flash_mode asked, bool force, const struct scan_result *found, uint64_t room,
                struct mode_reply *reply, struct fail *fail)
{
    uint64_t need = choose_need(found->wire_bytes, found->travelling);
    memset(reply, 0, sizeof *reply);
    reply->differing_blocks = found->differing;
    reply->wire_bytes = found->wire_bytes;
    reply->memory_available = room;
    if (found->differing == 0 && !force) {
        reply->mode = MODE_UNCHANGED;
        text_copy(reply->reason, sizeof reply->reason, "every block is on the disk already");
        return 0;
    }
    if (asked == MODE_STREAM) {
        reply->mode = MODE_STREAM;
        text_copy(reply->reason, sizeof reply->reason, "stream mode, as asked");
        return 0;
    }
    if (need > room && found->whole) {
        fault_set(fail, FAILCODE_MEMORY,
                  "the whole image has to be held in memory, which is %.1f MiB, and only %.1f MiB "
                  "can be",
                  mib(need), mib(room));
        return fault_remedy(fail, "stop services that use memory, or flash this machine from "
                                  "another one");
    }
    if (need <= room) {
        reply->mode = MODE_STAGE;
        text_format(reply->reason, sizeof reply->reason,
                    "%s%.1f MiB%s fit into %.1f MiB of free memory",
                    found->whole ? "the whole image's " : "", mib(need),
                    found->whole ? "" : " differ and", mib(room));
        return 0;
    }
    if (asked == MODE_STAGE) {
        fault_set(fail, FAILCODE_MEMORY,
                  "%.1f MiB differ, but only %.1f MiB of memory can hold them", mib(need),
                  mib(room));
        return fault_remedy(fail, "use mode stream or auto, or stop services that use memory");
    }
    reply->mode = MODE_STREAM;
    text_format(reply->reason, sizeof reply->reason,
                "%.1f MiB may differ, more than the %.1f MiB of memory that can hold them",
                mib(need), mib(room));
    return 0;
}
