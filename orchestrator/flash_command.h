/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that flash, or say what flashing would do. Each returns its exit code. */
#ifndef FLASH_COMMAND_H
#define FLASH_COMMAND_H

#include "cli/options.h"

/* A new run over an inventory, --check and --list. */
int command_on_inventory(const struct options *options);

/* --resume and --retry-failed. */
int command_again(const struct options *options);

/* --local: the machine itself. */
int command_local(const struct options *options);

#endif
