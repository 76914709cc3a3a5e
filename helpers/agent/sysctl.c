/* SPDX-License-Identifier: Apache-2.0 */
#include "sysctl.h"

#include "text.h"

#include <string.h>

static const char *const paths[SYSCTLS_MAX] = {
    "/proc/sys/kernel/panic_on_oops",      "/proc/sys/kernel/hung_task_panic",
    "/proc/sys/kernel/softlockup_panic",   "/proc/sys/kernel/hardlockup_panic",
    "/proc/sys/kernel/panic_on_warn",      "/proc/sys/vm/panic_on_oom",
    "/proc/sys/kernel/panic_on_rcu_stall", "/proc/sys/kernel/panic_on_io_nmi",
};

void sysctls_calm(struct sysctls *sysctls)
{
    for (unsigned i = 0; i < SYSCTLS_MAX; i++) {
        char *saved = sysctls->saved[i];
        if (text_read(paths[i], saved, sizeof sysctls->saved[i]) <= 0 || strcmp(saved, "0") == 0 ||
            text_write(paths[i], "0") != 0)
            saved[0] = '\0';
    }
}

void sysctls_restore(struct sysctls *sysctls)
{
    for (unsigned i = 0; i < SYSCTLS_MAX; i++)
        if (sysctls->saved[i][0] != '\0')
            text_write(paths[i], sysctls->saved[i]);
    memset(sysctls, 0, sizeof *sysctls);
}
