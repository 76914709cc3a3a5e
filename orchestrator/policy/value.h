/* SPDX-License-Identifier: Apache-2.0 */
/* Values of policy parameters by their type. */
#ifndef POLICY_VALUE_H
#define POLICY_VALUE_H

#include <stdint.h>

/* A value of an enum ff_type as a number: ms, or 0 and 1. Returns 0, or -1 when it is none (a text
 * never is). */
int policy_value_parse(int type, const char *text, uint64_t *number);

/* What the type expects, for messages and lists ("a duration such as 90s or 5m"); NULL: anything.
 */
const char *policy_value_expected(int type);

#endif
