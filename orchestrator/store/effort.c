/* SPDX-License-Identifier: Apache-2.0 */
#include "store/effort.h"

int effort_next(int level, bool waited, bool behind)
{
    if (behind)
        return EFFORT_LEAST; /* at once: the decoder is the one thread that cannot be helped */
    if (waited && level < EFFORT_MOST)
        return level + 1;
    return level;
}
