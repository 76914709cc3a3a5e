/* SPDX-License-Identifier: Apache-2.0 */
/* A look at a shared object's ELF header, elf(5), before the dynamic loader maps it: the loader's
 * own words ("invalid ELF header") do not help, and a file that is cut short ends in SIGBUS. */
#ifndef POLICY_ELF_H
#define POLICY_ELF_H

#include <stddef.h>

/* Returns 0 when file is a whole shared object for the machine this program runs on, else -1 with
 * the reason (without the file's name) in why. */
int policy_elf_check(const char *file, char *why, size_t why_size);

#endif
