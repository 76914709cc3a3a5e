/* SPDX-License-Identifier: Apache-2.0 */
/* Faults as values: the struct fail that the protocol carries, filled where something goes wrong.
 */
#ifndef FAULT_H
#define FAULT_H

#include "protocol/protocol.h"

/* Sets code and sentence, clears the remedy; state FAIL_UNTOUCHED. fail may be NULL. Returns -1. */
int fault_set(struct fail *fail, enum fail_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Says what the user can do about it. Returns -1. */
int fault_remedy(struct fail *fail, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
