/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody standing in front of the device reads. */
#ifndef CONSOLE_H
#define CONSOLE_H

/* Opens /dev/console, to be kept open; -1 when there is none. */
int console_open(void);
/* Prints "fleetflash: …" without ever waiting; nothing when fd is -1. */
void console_print(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
