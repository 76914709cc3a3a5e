/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>

void report_phase(const struct report *report, enum agent_phase phase)
{
    report->phase(report->arg, phase);
}

void report_log(const struct report *report, enum log_level level, const char *format, ...)
{
    char text[PROTOCOL_TEXT_MAX + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report->log(report->arg, level, text);
}
