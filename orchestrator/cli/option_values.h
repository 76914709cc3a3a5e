/* SPDX-License-Identifier: Apache-2.0 */
/* From an option's argument to its value. */
#ifndef CLI_OPTION_VALUES_H
#define CLI_OPTION_VALUES_H

#include "cli/option_table.h"

/* Puts one given option into out; value is NULL for a flag. Returns 0 or -1 with an error. */
int option_take(const struct option_info *option, const char *value, struct options *out,
                struct error *err);

#endif
