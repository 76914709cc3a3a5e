/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel settings that would turn trouble of the old system into a panic. */
#ifndef SYSCTL_H
#define SYSCTL_H

#define SYSCTLS_MAX 8u

struct sysctls {
    char saved[SYSCTLS_MAX][32]; /* "": was not changed */
};

/* Switches panics on oopses, hung tasks, lockups, warnings and memory shortage off. */
void sysctls_calm(struct sysctls *sysctls);
void sysctls_restore(struct sysctls *sysctls);

#endif
