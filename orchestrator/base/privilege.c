/* SPDX-License-Identifier: Apache-2.0 */
#include "base/privilege.h"

#include <cap-ng.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

/* Files: an image or a key in the folder of the user who called sudo. */
static const unsigned kept[] = {
    CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN, CAP_KILL, CAP_NET_BIND_SERVICE,
};

static bool is_kept(unsigned capability)
{
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (kept[i] == capability)
            return true;
    return false;
}

void privilege_reduce(void)
{
    if (geteuid() != 0 || capng_get_caps_process() != 0)
        return;
    for (unsigned i = 0; i <= (unsigned)CAP_LAST_CAP; i++)
        if (!is_kept(i))
            capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, i);
    capng_apply(CAPNG_SELECT_CAPS); /* where it fails, all is as it was */
}
