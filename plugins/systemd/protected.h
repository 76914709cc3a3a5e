/* SPDX-License-Identifier: Apache-2.0 */
/* Units that a flash itself lives on: never stopped, whatever the patterns say. */
#ifndef SYSTEMD_PROTECTED_H
#define SYSTEMD_PROTECTED_H

#include <stdbool.h>

bool unit_is_protected(const char *name);

#endif
