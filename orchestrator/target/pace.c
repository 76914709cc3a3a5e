/* SPDX-License-Identifier: Apache-2.0 */
#include "target/pace.h"

#define NS_PER_MS 1000000u
#define SAVED_MAX (200ull * NS_PER_MS)

uint64_t pace_wait(struct pace *pace, uint64_t now)
{
    uint64_t now_ns = now * NS_PER_MS;
    if (pace->rate == 0)
        return 0;
    if (pace->free_at + SAVED_MAX < now_ns)
        pace->free_at = now_ns - SAVED_MAX;
    return pace->free_at > now_ns ? (pace->free_at - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
}

/* In ns: a block takes less than a ms where the limit is above 128 MB/s, or where it is packed
 * small, and what is rounded off every block would be the whole limit. */
void pace_spend(struct pace *pace, size_t bytes)
{
    if (pace->rate != 0)
        pace->free_at += (uint64_t)bytes * 1000 * NS_PER_MS / pace->rate;
}
