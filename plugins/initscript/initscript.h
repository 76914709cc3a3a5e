/* SPDX-License-Identifier: Apache-2.0 */
/* What the policies `sysv` and `openrc` have in common: services with a script each, stopped one
 * after the other and started again in the reverse order. How the device is asked is the dialect's.
 */
#ifndef INITSCRIPT_H
#define INITSCRIPT_H

#include <fleetflash/policy.h>

/* Exit status of a dialect's texts where the device has no such scripts at all. */
#define INITSCRIPT_NONE 99

/* Shell texts, run as root on the device with the services' names as "$@" and the folder of the
 * parameter `scripts` (/etc/init.d) in $d. */
struct initscript_dialect {
    /* prints "NAME SCRIPT running|stopped" or "NAME - missing" for each; SCRIPT start and SCRIPT
     * stop do it */
    const char *survey;
    /* prints the names in the order in which they have to stop, with those that would stop along
     * with them; NULL: as given, none */
    const char *order;
    /* the reason given with INITSCRIPT_NONE */
    const char *none;
};

/* Members of struct ff_policy; initscript_stop with a dialect that lives as long as the policy.
 * Parameters: stop (list), timeout, scripts. */
void initscript_check(const struct ff_host *host, struct ff_target *target);
void initscript_stop(const struct ff_host *host, struct ff_target *target,
                     const struct initscript_dialect *dialect);
void initscript_undo(const struct ff_host *host, struct ff_target *target);
void initscript_end(const struct ff_host *host, struct ff_target *target);

#endif
