/* SPDX-License-Identifier: Apache-2.0 */
/* How the disk work says where it stands; the worker passes it on to the main thread. */
#ifndef REPORT_H
#define REPORT_H

#include "protocol/protocol.h"

struct report {
    void (*phase)(void *arg, enum agent_phase phase);
    void (*log)(void *arg, enum log_level level, const char *text);
    void *arg;
};

void report_phase(const struct report *report, enum agent_phase phase);
void report_log(const struct report *report, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
