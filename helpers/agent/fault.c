/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>

int fault_set(struct fail *fail, enum fail_code code, const char *format, ...)
{
    if (fail == NULL)
        return -1;
    fail->code = (uint16_t)code;
    fail->state = FAIL_UNTOUCHED;
    fail->remedy[0] = '\0';
    va_list args;
    va_start(args, format);
    vsnprintf(fail->text, sizeof fail->text, format, args);
    va_end(args);
    return -1;
}

int fault_remedy(struct fail *fail, const char *format, ...)
{
    if (fail == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(fail->remedy, sizeof fail->remedy, format, args);
    va_end(args);
    return -1;
}
